//! An sdbox whose index files are lost: flags, keywords, UIDs and which messages there are come back from their second
//! names, and Dovecot leaves those alone. Where Dovecot alone was at work, its backup of the index makes up for a damaged one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, and say what came back")]

mod dovecot;
mod dovecot_shown;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use dovecot::Shared;
use dovecot_shown::{Mailboxes, assert_same, contains, one, shown_by_dovecot, shown_by_us};
use mailfs::{
    FileSystem, RealDisk,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, MailStorage, Store, StoreOptions,
    check::{CheckOptions, check_storage},
    mailtypes::{Flag, Keyword, MailboxName, Uid, UidSet},
};

fn real() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

fn open(env: &Env, root: &Path) -> Store {
    Store::create_in(env, root, &StoreOptions::default()).unwrap()
}

fn uids(numbers: &[u32]) -> UidSet {
    numbers.iter().filter_map(|number| Uid::new(*number)).collect()
}

/// Seven messages with flags and keywords, of which the third is gone.
fn fill(store: &Store) {
    let inbox = store.mailbox("INBOX").unwrap();
    for number in 1..=7 {
        let text = format!("Subject: number {number}\r\n\r\nbody\r\n");
        inbox.append(Append::new(text.as_bytes()).flag(Flag::Seen)).unwrap();
    }
    let view = inbox.view().unwrap();
    view.update(&uids(&[2, 4])).add(Flag::Flagged).commit().unwrap();
    view.update(&one(Uid::new(5).unwrap())).add_keyword(Keyword::new("$Work").unwrap()).commit().unwrap();
    view.expunge(&one(Uid::new(3).unwrap())).unwrap();
    store.flush().unwrap();
}

/// All that must come back.
fn told(store: &Store) -> String {
    let inbox = store.storage().mailbox(&MailboxName::inbox()).unwrap();
    let status = inbox.status().unwrap();
    format!("{status:?} {} {:?}", inbox.guid(), shown_by_us(&**store.storage()))
}

fn files_of_index(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("mailboxes/INBOX/dbox-Mails");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.index")).collect()
}

fn lose_index(root: &Path) {
    files_of_index(root).iter().for_each(|path| fs::remove_file(path).unwrap());
}

fn kept(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("mailboxes/INBOX/dbox-Mails")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("culver.")).collect();
    names.sort();
    names
}

#[test]
fn an_index_that_was_lost_is_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    fill(&open(&real(), &root));
    let before = told(&open(&real(), &root));
    lose_index(&root);
    assert_eq!(told(&open(&real(), &root)), before, "mod-sequences included");
    // Again and again: what came back has second names too.
    open(&real(), &root).mailbox("INBOX").unwrap().append(Append::new(b"Subject: 8\r\n\r\n8\r\n")).unwrap();
    let before = told(&open(&real(), &root));
    lose_index(&root);
    let report = Store::recover(&root).unwrap();
    assert_eq!(report.repaired.len(), 1, "{report:?}");
    assert_eq!(told(&open(&real(), &root)), before);
}

/// A store for each index file, and for several, that were lost; `then` is told what was shown before, and which.
fn after_each_loss(then: impl Fn(&Path, &str, String)) {
    let options = EnvOptions {
        snapshot_log_len_min: 300,
        rotate_len_min: 300,
        rotate_len_max: 300,
        background: Background::Manual,
        ..EnvOptions::default()
    };
    for lost in ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.log*", "dovecot.index*"] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mail");
        let env = Env::new(Arc::new(RealDisk::new()), options.clone());
        let store = open(&env, &root);
        for _ in 0..3 {
            fill(&store);
            env.drain();
        }
        drop((store, env));
        assert!(files_of_index(&root).len() >= 3, "{:?}", files_of_index(&root));
        let before = told(&open(&real(), &root));
        for path in files_of_index(&root) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name == lost || lost.strip_suffix('*').is_some_and(|start| name.starts_with(start)) {
                fs::remove_file(path).unwrap();
            }
        }
        then(&root, lost, before);
    }
}

#[test]
fn one_file_that_was_lost_is_back_as_it_was() {
    after_each_loss(|root, lost, before| {
        assert_eq!(told(&open(&real(), root)), before, "without {lost}");
    });
}

/// By `culver check --repair`, before anybody opens the mailbox.
#[test]
fn a_check_brings_back_what_was_lost() {
    after_each_loss(|root, lost, before| {
        let repair = CheckOptions { repair: true, deep: true, mailbox: None };
        let report = check_storage(&real(), root, &StoreOptions::default(), &repair, &mut |_| {}).unwrap();
        assert!(report.is_whole(), "without {lost}: {report:#?}");
        let after = told(&open(&real(), root));
        let status = |told: &str| told.split(" {").take(2).collect::<String>();
        assert_eq!(status(&after), status(&before), "without {lost}: {report:#?}");
        assert_eq!(after, before, "without {lost}");
        let look = CheckOptions { deep: true, ..CheckOptions::default() };
        let report = check_storage(&real(), root, &StoreOptions::default(), &look, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "without {lost}: {report:#?}");
    });
}

fn doveadm(shared: &Shared, arguments: &[&str]) {
    let output = run_doveadm(shared, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn run_doveadm(shared: &Shared, arguments: &[&str]) -> Output {
    shared.own();
    let mut command = Command::new("doveadm");
    command.arg("-c").arg(shared.dir.path().join("dovecot.conf")).args(arguments);
    command.env_clear().env("HOME", shared.dir.path()).env("USER", "nobody").env("PATH", "/usr/bin:/bin:/usr/sbin");
    if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
        use std::os::unix::process::CommandExt;
        command.uid(65534).gid(65534);
    }
    command.output().unwrap()
}

fn in_dovecot_words(shared: &Shared) -> Mailboxes {
    shown_by_dovecot(&mut shared.imap())
}

/// With logs that Dovecot rotates after every few changes.
fn shared() -> Shared {
    let shared = Shared::new();
    let path = shared.dir.path().join("dovecot.conf");
    let config = fs::read_to_string(&path).unwrap();
    let rotation = "mail_index_log_rotate_min_age = 0\nmail_index_log_rotate_min_size = 1 k\n";
    fs::write(path, config + rotation + "mail_index_log_rotate_max_size = 2 k\n").unwrap();
    shared
}

/// Dovecot's log is rotated, the mailbox rebuilt, renamed and deleted: the second names stay, but with the mailbox.
#[test]
fn dovecot_leaves_second_names_alone() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = shared();
    let root = shared.root();
    fill(&open(&real(), &root));
    let names = kept(&root);
    assert!(names.contains(&"culver.kept.dovecot.index.log".to_owned()), "{names:?}");
    let mut imap = shared.imap();
    imap.run("SELECT INBOX");
    for _ in 0..60 {
        imap.run("UID STORE 1 +FLAGS (\\Answered kw)");
        imap.run("UID STORE 1 -FLAGS (\\Answered kw)");
    }
    imap.run("UID STORE 1 +FLAGS (\\Answered)");
    imap.append("INBOX", "", b"Subject: of Dovecot\r\n\r\nx\r\n");
    drop(imap);
    assert!(root.join("mailboxes/INBOX/dbox-Mails/dovecot.index.log.2").exists(), "Dovecot has rotated");
    assert_eq!(kept(&root), names);
    doveadm(&shared, &["force-resync", "INBOX"]);
    assert_eq!(kept(&root), names);
    assert_eq!(shared.complaints(), Vec::<String>::new());
    // The second names of old logs are brought up to date at the next opening.
    let before = in_dovecot_words(&shared);
    assert_same(&shown_by_us(&**open(&real(), &root).storage()), &before, "after Dovecot's rotations");
    lose_index(&root);
    let ours = shown_by_us(&**open(&real(), &root).storage());
    assert_same(&ours, &before, "without index");
    assert_same(&ours, &in_dovecot_words(&shared), "given back, as Dovecot sees it");
    let mut imap = shared.imap();
    open(&real(), &root).create_mailbox("old").unwrap();
    shared.own();
    imap.run("RENAME old new");
    assert!(root.join("mailboxes/new/dbox-Mails/culver.kept.dovecot.index.log").exists());
    imap.run("DELETE new");
    assert!(!root.join("mailboxes/new").exists(), "nothing is left behind");
    assert_eq!(shared.complaints(), Vec::<String>::new());
}

/// What Dovecot did after its last rotation, with no opening of ours behind it, is known by the messages alone.
#[test]
fn what_dovecot_did_since_is_found_by_the_messages() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = shared();
    let root = shared.root();
    fill(&open(&real(), &root));
    let mut imap = shared.imap();
    imap.run("SELECT INBOX");
    for _ in 0..60 {
        imap.run("UID STORE 1 +FLAGS (kw)");
        imap.run("UID STORE 1 -FLAGS (kw)");
    }
    imap.append("INBOX", "", b"Subject: of Dovecot\r\n\r\nx\r\n");
    imap.run("UID STORE 7 +FLAGS (\\Deleted)");
    imap.run("EXPUNGE");
    drop(imap);
    let before = in_dovecot_words(&shared);
    lose_index(&root);
    let ours = shown_by_us(&**open(&real(), &root).storage());
    let uids_of = |mailboxes: &Mailboxes| mailboxes["INBOX"].keys().copied().collect::<Vec<_>>();
    assert_eq!(uids_of(&ours), uids_of(&before));
    assert_eq!(uids_of(&ours), [1, 2, 4, 5, 6, 8]);
    assert!(ours["INBOX"][&5].flags.contains(&"$Work".to_owned()), "{:?}", ours["INBOX"][&5].flags);
    shared.own();
    assert_eq!(in_dovecot_words(&shared)["INBOX"].len(), 6);
}

/// Dovecot comes first after the loss, and makes an empty mailbox of it: the old one is back when we come.
#[test]
fn a_dovecot_that_came_first_has_hidden_nothing_for_good() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let root = shared.root();
    fill(&open(&real(), &root));
    let before = in_dovecot_words(&shared);
    let uid_validity = |shared: &Shared| {
        let status = shared.imap().run("STATUS INBOX (UIDVALIDITY)");
        status.into_iter().find(|line| contains(line, b"UIDVALIDITY")).unwrap()
    };
    let validity = uid_validity(&shared);
    lose_index(&root);
    assert!(in_dovecot_words(&shared)["INBOX"].is_empty(), "Dovecot does not look for files by itself");
    assert_eq!(shown_by_us(&**open(&real(), &root).storage()), before);
    shared.own();
    assert_eq!((in_dovecot_words(&shared), uid_validity(&shared)), (before, validity));
}

/// A mailbox with a snapshot, a backup, and logs that do not reach back to its beginning.
fn filled_by_dovecot(shared: &Shared) {
    let mut imap = shared.imap();
    for number in 1..=30 {
        let flags = if number % 3 == 0 { "\\Flagged kw" } else { "\\Seen" };
        imap.append("INBOX", flags, format!("Subject: {number}\r\n\r\nbody\r\n").as_bytes());
    }
    drop(imap);
    // Dovecot makes a backup of a snapshot that was there when the session began.
    for _ in 0..20 {
        let mut imap = shared.imap();
        imap.run("SELECT INBOX");
        for uid in [1, 2, 4] {
            imap.run(format!("UID STORE {uid} +FLAGS (\\Answered a{uid})"));
        }
        imap.run("UID STORE 1:30 +FLAGS (\\Draft)");
        imap.run("UID STORE 1:30 -FLAGS (\\Draft)");
        drop(imap);
        if folder(&shared.root()).join("dovecot.index.backup").exists() {
            break;
        }
    }
    let mut imap = shared.imap();
    imap.run("SELECT INBOX");
    imap.run("UID STORE 5 +FLAGS (\\Deleted)");
    imap.run("EXPUNGE");
}

fn folder(root: &Path) -> PathBuf {
    root.join("mailboxes/INBOX/dbox-Mails")
}

/// What a file becomes.
type Harm = fn(Vec<u8>) -> Vec<u8>;

/// What can befall a file.
fn damages() -> [(&'static str, Harm); 5] {
    [
        ("emptied", |_| Vec::new()),
        ("cut in its header", |bytes| bytes[..100].to_vec()),
        ("cut in its records", |bytes| bytes[..bytes.len() * 3 / 4].to_vec()),
        ("its header zeroed", |mut bytes| {
            bytes[..120].fill(0);
            bytes
        }),
        ("of another version", |mut bytes| {
            bytes[0] = 9;
            bytes
        }),
    ]
}

#[test]
fn a_damaged_index_is_made_up_for_by_its_backup() {
    if !dovecot::is_installed() {
        return;
    }
    for (what, damage) in damages() {
        let shared = shared();
        filled_by_dovecot(&shared);
        let root = shared.root();
        assert!(folder(&root).join("dovecot.index.backup").exists());
        let before = in_dovecot_words(&shared);
        let index = folder(&root).join("dovecot.index");
        fs::write(&index, damage(fs::read(&index).unwrap())).unwrap();
        let copy = shared.dir.path().join("copy");
        assert!(Command::new("cp").arg("-a").args([&root, &copy]).status().unwrap().success());

        let ours = shown_by_us(&**open(&real(), &copy).storage());
        // The first command may fail, and only then the mailbox is repaired.
        run_doveadm(&shared, &["force-resync", "INBOX"]);
        let theirs = in_dovecot_words(&shared);
        let kept = |shown: &Mailboxes| {
            let same = |uid: &u32, flags: &Vec<String>| before["INBOX"].get(uid).is_some_and(|m| m.flags == *flags);
            shown["INBOX"].iter().filter(|(uid, message)| same(uid, &message.flags)).count()
        };
        println!("{what}: {} of {} as before, with Dovecot {}", kept(&ours), before["INBOX"].len(), kept(&theirs));
        assert_eq!(ours["INBOX"].len(), before["INBOX"].len(), "{what}");
        assert!(kept(&ours) >= kept(&theirs), "{what}: {ours:?}");
        // And what we made of it, Dovecot reads.
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&copy, &root).unwrap();
        assert_same(&ours, &in_dovecot_words(&shared), what);
    }
}

fn simulated(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

/// A store without its index files.
fn prepare(disk: &SimDisk) {
    let fs = disk.as_file_system();
    fill(&open(&simulated(&fs), Path::new("/mail")));
    let folder = Path::new("/mail/mailboxes/INBOX/dbox-Mails");
    for entry in fs.read_dir(folder).unwrap() {
        if entry.name.to_str().unwrap().starts_with("dovecot.index") {
            fs.unlink(&folder.join(entry.name)).unwrap();
        }
    }
    disk.sync_all();
}

fn expected() -> Mailboxes {
    let disk = SimDisk::new();
    fill(&open(&simulated(&disk.as_file_system()), Path::new("/mail")));
    shown_by_us(&**open(&simulated(&disk.as_file_system()), Path::new("/mail")).storage())
}

fn without_dates(mut mailboxes: Mailboxes) -> Mailboxes {
    mailboxes.values_mut().flat_map(|messages| messages.values_mut()).for_each(|message| message.date.clear());
    mailboxes
}

fn work(fs: &Arc<dyn FileSystem>) -> Result<(), BoxError> {
    let store = Store::open_in(&simulated(fs), "/mail", &StoreOptions::default())?;
    let storage: &dyn MailStorage = &**store.storage();
    storage.mailbox(&MailboxName::inbox())?.status()?;
    Ok(())
}

fn check(disk: &SimDisk, expected: &Mailboxes) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    mailstore::recover_storage(&simulated(&fs), Path::new("/mail"), &StoreOptions::default())?;
    let shown = without_dates(shown_by_us(&**open(&simulated(&fs), Path::new("/mail")).storage()));
    if shown == *expected { Ok(()) } else { Err(format!("{shown:?}").into()) }
}

#[test]
fn giving_an_index_back_is_safe() {
    let expected = without_dates(expected());
    let runner = CrashRunner { choices: CrashChoice::list(4), ..CrashRunner::default() };
    let report = runner.run(prepare, |fs, _: &Acks<()>| work(&fs), |disk, _| check(disk, &expected));
    assert!(report.is_sound(), "{report}");
    let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
    let report = runner.run(prepare, |fs, _: &Acks<()>| work(&fs), |disk, _| check(disk, &expected));
    assert!(report.is_sound(), "{report}");
}
