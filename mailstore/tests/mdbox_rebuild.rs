//! An mdbox whose map, indexes or files of messages are lost or damaged comes back, and a crash or a failing disk while that
//! is done costs nothing. Beside a real Dovecot 2.3: we bring back what it does and more, and it finds nothing to mend
//! afterwards.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, and say what was tried")]

mod dovecot;
mod dovecot_shown;
mod mdbox_losses;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use dovecot::Shared;
use dovecot_shown::{Mailboxes, Shown, assert_same, one, shown_by_dovecot, shown_by_us};
use mailfs::{
    FileSystem, FileSystemExt, OpenMode, RealDisk,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Batch, FlagAction, FlagChange, MailStorage, Mailbox, SaveMeta, StoreOptions, ViewAs,
    check::{CheckOptions, check_storage},
    mdbox::{MdboxOptions, MdboxStorage},
};
use mailtypes::{Flag, Flags, InternalDate, Keyword, MailboxName, Uid, UidSet};

const ROOT: &str = "/mail";

fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

fn options() -> MdboxOptions {
    MdboxOptions { rotate_size: 1500, ..MdboxOptions::default() }
}

fn store(fs: &Arc<dyn FileSystem>) -> MdboxStorage {
    MdboxStorage::create(&env(fs), Path::new(ROOT), options()).unwrap()
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn uids(numbers: &[u32]) -> UidSet {
    numbers.iter().filter_map(|number| Uid::new(*number)).collect()
}

fn commit(mailbox: &Arc<dyn Mailbox>, batch: Batch) {
    mailbox.submit(batch).unwrap().wait().unwrap();
}

/// INBOX with eight messages of which two were expunged, and copies of four in another mailbox, in several files.
fn fill(fs: &Arc<dyn FileSystem>) {
    let storage = store(fs);
    let inbox = storage.mailbox(&name("INBOX")).unwrap();
    for number in 1..=8 {
        let text = format!("Subject: number {number}\r\n\r\n{}", "some text\r\n".repeat(number * 8));
        let meta = SaveMeta { internal_date: Some(InternalDate::utc(1_600_000_000)), ..SaveMeta::default() };
        let mut save = inbox.begin_save(meta, None).unwrap();
        save.write(text.as_bytes()).unwrap();
        let flags = if number % 2 == 0 { Flag::Seen.into() } else { Flags::NONE };
        let keywords = if number % 3 == 0 { vec![Keyword::new("$Work").unwrap()] } else { Vec::new() };
        commit(&inbox, Batch::new().save(save.finish().unwrap(), flags, keywords));
    }
    storage.create(&name("Work")).unwrap();
    let work = storage.mailbox(&name("Work")).unwrap();
    commit(&work, Batch::new().copy(Arc::clone(&inbox), uids(&[2, 3, 5, 8])));
    commit(&inbox, Batch::new().expunge(uids(&[3, 6])));
    let change = FlagChange {
        uids: one(Uid::MIN),
        action: FlagAction::Add,
        flags: Flag::Flagged.into(),
        keywords: Vec::new(),
        unchanged_since: None,
    };
    commit(&work, Batch::new().flags(change));
    // A mailbox whose folder makes another one below it.
    storage.create(&name("Work/deep")).unwrap();
}

/// All that is shown, and each mailbox's status with its mod-sequence.
fn told(fs: &Arc<dyn FileSystem>) -> (Mailboxes, Vec<String>) {
    let storage = store(fs);
    let shown = shown_by_us(&storage);
    let status = shown.keys().map(|mailbox| {
        let mailbox = storage.mailbox(&name(mailbox)).unwrap();
        format!("{} {:?}", mailbox.guid(), mailbox.status().unwrap())
    });
    let status = status.collect();
    (shown, status)
}

fn remove(fs: &Arc<dyn FileSystem>, folder: &str, start: &str) -> usize {
    let folder = Path::new(ROOT).join(folder);
    let entries = fs.read_dir(&folder).unwrap();
    let named = entries.iter().filter(|entry| entry.name.to_str().unwrap().starts_with(start));
    named.map(|entry| fs.unlink(&folder.join(&entry.name)).unwrap()).count()
}

fn remove_map(fs: &Arc<dyn FileSystem>) {
    assert!(remove(fs, "storage", "dovecot.map.index") > 0);
}

fn remove_second_names(fs: &Arc<dyn FileSystem>) {
    for folder in
        ["storage", "mailboxes/INBOX/dbox-Mails", "mailboxes/Work/dbox-Mails", "mailboxes/Work/deep/dbox-Mails"]
    {
        assert!(remove(fs, folder, "culver.kept.") > 0, "{folder}");
    }
}

fn change(fs: &Arc<dyn FileSystem>, file: &str, how: impl FnOnce(&mut Vec<u8>)) {
    let path = Path::new(ROOT).join(file);
    let mut bytes = fs.read_all(&path, 1 << 20).unwrap();
    how(&mut bytes);
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&bytes, 0).unwrap();
}

/// Where the second message of a file begins.
fn second(bytes: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, b"\x01\x02N ").nth(1).unwrap()
}

type Harm = fn(&Arc<dyn FileSystem>);

/// What is all mended, so that nothing can be told from before.
const HARMLESS: &[(&str, Harm)] = &[
    ("the map is gone", remove_map),
    ("the map is gone, and its second names", |fs| {
        remove_map(fs);
        remove_second_names(fs);
    }),
    ("the map is empty", |fs| change(fs, "storage/dovecot.map.index.log", Vec::clear)),
    ("the map is damaged in the middle", |fs| {
        change(fs, "storage/dovecot.map.index.log", |bytes| {
            let half = bytes.len() / 2;
            bytes[half..half + 200].fill(0xff);
        });
    }),
    ("there is rubbish in a file", |fs| {
        change(fs, "storage/m.1", |bytes| {
            let at = second(bytes);
            bytes.splice(at..at, *b"rubbish");
        });
        remove_map(fs);
    }),
    ("a header is damaged", |fs| {
        change(fs, "storage/m.1", |bytes| {
            let at = second(bytes);
            bytes[at..at + 25].fill(b'?');
        });
        remove_map(fs);
    }),
    ("a header is damaged, and the map knows nothing", |fs| {
        change(fs, "storage/m.1", |bytes| {
            let at = second(bytes);
            bytes[at + 20] = b'?';
        });
        remove_map(fs);
        remove_second_names(fs);
    }),
    ("a header is damaged beside a message that was expunged", |fs| {
        let file = (1..20).map(|id| format!("storage/m.{id}")).find(|file| {
            let bytes = fs.read_all(&Path::new(ROOT).join(file), 1 << 20).unwrap();
            memchr::memmem::find(&bytes, b"Subject: number 6\n").is_some()
        });
        change(fs, &file.unwrap(), |bytes| {
            let expunged = memchr::memmem::find(bytes, b"Subject: number 6\n").unwrap();
            let headers: Vec<usize> = memchr::memmem::find_iter(bytes, b"\x01\x02N ").collect();
            let other = headers.into_iter().find(|at| !(expunged - 40..expunged).contains(at)).unwrap();
            bytes[other..other + 25].fill(b'?');
        });
        remove_map(fs);
    }),
    ("all indexes are gone", |fs| {
        remove_map(fs);
        for folder in ["mailboxes/INBOX/dbox-Mails", "mailboxes/Work/dbox-Mails", "mailboxes/Work/deep/dbox-Mails"] {
            assert!(remove(fs, folder, "dovecot.index") > 0, "{folder}");
        }
    }),
    ("a mailbox's index is gone", |fs| assert!(remove(fs, "mailboxes/Work/dbox-Mails", "dovecot.index") > 0)),
];

#[test]
fn what_is_lost_comes_back_as_it_was() {
    for (what, harm) in HARMLESS {
        let fs = SimDisk::new().as_file_system();
        fill(&fs);
        let before = told(&fs);
        harm(&fs);
        let storage = MdboxStorage::open(&env(&fs), Path::new(ROOT), options()).unwrap();
        storage.recover().unwrap();
        drop(storage);
        let after = told(&fs);
        // Where the map did not tell, the two that were expunged and not purged may be back; as with Dovecot.
        let back = |shown: &Mailboxes| shown["INBOX"].keys().filter(|uid| **uid > 8).count();
        let may_be_back =
            ["second names", "knows nothing", "empty", "in the middle"].iter().any(|words| what.contains(words));
        assert_eq!(back(&after.0), if may_be_back { 1 } else { 0 }, "{what}");
        let mut shown = after.0.clone();
        shown.get_mut("INBOX").unwrap().retain(|uid, _| *uid <= 8);
        assert_eq!(shown, before.0, "{what}");
        if !may_be_back {
            assert_eq!(after.1, before.1, "mod-sequences and UIDVALIDITY: {what}");
        }
        // And it can be written to, purged, and rebuilt again without anything changing.
        let storage = store(&fs);
        storage.purge().unwrap();
        storage.recover().unwrap();
        drop(storage);
        assert_eq!(told(&fs).0, after.0, "{what}, purged");
    }
}

#[test]
fn no_number_of_a_mailbox_is_given_to_another_message() {
    let fs = SimDisk::new().as_file_system();
    fill(&fs);
    let log = Path::new(ROOT).join("storage/dovecot.map.index.log");
    let old = fs.read_all(&log, 1 << 20).unwrap();
    let inbox = store(&fs).mailbox(&name("INBOX")).unwrap();
    let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
    save.write(b"Subject: later\r\n\r\nlater\r\n").unwrap();
    commit(&inbox, Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new()));
    drop(inbox);
    let before = told(&fs);
    // An older copy of the map's log comes back from a backup.
    change(&fs, "storage/dovecot.map.index.log", |bytes| *bytes = old);
    let inbox = store(&fs).mailbox(&name("INBOX")).unwrap();
    let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
    save.write(b"Subject: latest\r\n\r\nlatest\r\n").unwrap();
    commit(&inbox, Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new()));
    drop(inbox);
    let mut after = told(&fs).0;
    let latest = after.get_mut("INBOX").unwrap().remove(&10).unwrap();
    assert!(latest.body.starts_with(b"Subject: latest"));
    assert_eq!(after, before.0);
}

#[test]
fn a_message_that_no_mailbox_has_goes_where_it_came_from() {
    let fs = SimDisk::new().as_file_system();
    fill(&fs);
    let before = told(&fs).0;
    for file in ["dovecot.index", "culver.kept."] {
        remove(&fs, "mailboxes/INBOX/dbox-Mails", file);
    }
    remove_map(&fs);
    store(&fs).recover().unwrap();
    let after = told(&fs).0;
    let bodies = |shown: &Mailboxes, mailbox: &str| {
        let mut bodies: Vec<_> = shown[mailbox].values().map(|message| message.body.clone()).collect();
        bodies.sort();
        bodies
    };
    // Those of which the other mailbox has copies are there, and not in INBOX; as with Dovecot.
    let in_work = bodies(&before, "Work");
    let expected: Vec<_> = bodies(&before, "INBOX").into_iter().filter(|body| !in_work.contains(body)).collect();
    assert_eq!((bodies(&after, "INBOX"), &after["Work"]), (expected, &before["Work"]));
}

fn work(fs: &Arc<dyn FileSystem>) -> Result<(), BoxError> {
    let storage = MdboxStorage::open(&env(fs), Path::new(ROOT), options())?;
    storage.mailbox(&name("INBOX"))?.view(&ViewAs::default())?;
    Ok(())
}

fn brief(shown: &Mailboxes) -> Vec<String> {
    let of = |(uid, message): (&u32, &Shown)| format!("{uid} {:?} {}", message.flags, message.size);
    shown.iter().map(|(name, all)| format!("{name}: {:?}", all.iter().map(of).collect::<Vec<_>>())).collect()
}

fn check(disk: &SimDisk, expected: &Mailboxes) -> Result<(), BoxError> {
    let fs = disk.as_file_system();
    let storage = MdboxStorage::open(&env(&fs), Path::new(ROOT), options())?;
    storage.recover()?;
    drop(storage);
    let shown = told(&fs).0;
    if shown == *expected { Ok(()) } else { Err(format!("{:?}, not {:?}", brief(&shown), brief(expected)).into()) }
}

/// Damage that takes every way through a rebuild: the map made anew, files written anew, mailboxes told.
const FOR_CRASHES: [usize; 5] = [0, 5, 6, 7, 8];

fn prepared(harm: Harm) -> impl Fn(&SimDisk) {
    move |disk| {
        let fs = disk.as_file_system();
        fill(&fs);
        harm(&fs);
        disk.sync_all();
    }
}

/// What is there in the end when nothing comes between.
fn undisturbed(harm: Harm) -> Mailboxes {
    let disk = SimDisk::new();
    prepared(harm)(&disk);
    let fs = disk.as_file_system();
    work(&fs).unwrap();
    store(&fs).recover().unwrap();
    told(&fs).0
}

#[test]
fn a_power_cut_while_it_is_rebuilt_costs_nothing() {
    for (what, harm) in FOR_CRASHES.map(|at| HARMLESS[at]) {
        let expected = undisturbed(harm);
        let runner = CrashRunner { choices: CrashChoice::list(3), ..CrashRunner::default() };
        let report = runner.run(prepared(harm), |fs, _: &Acks<()>| work(&fs), |disk, _| check(disk, &expected));
        println!("{what}: {report}");
        assert!(report.is_sound(), "{what}: {report}");
    }
}

#[test]
fn a_failing_call_while_it_is_rebuilt_costs_nothing() {
    for (what, harm) in FOR_CRASHES.map(|at| HARMLESS[at]) {
        let expected = undisturbed(harm);
        let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
        let report = runner.run(prepared(harm), |fs, _: &Acks<()>| work(&fs), |disk, _| check(disk, &expected));
        println!("{what}: {report}");
        assert!(report.is_sound(), "{what}: {report}");
    }
}

fn shared() -> Shared {
    let shared = Shared::new();
    let config = shared.root().with_file_name("dovecot.conf");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("sdbox:", "mdbox:") + "mdbox_rotate_size = 3000\n";
    fs::write(&config, text).unwrap();
    shared
}

fn open_real(shared: &Shared) -> MdboxStorage {
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    MdboxStorage::create(&env, &shared.root(), MdboxOptions { rotate_size: 3000, ..MdboxOptions::default() }).unwrap()
}

fn doveadm(shared: &Shared, arguments: &[&str]) -> String {
    shared.own();
    let mut command = Command::new("/usr/bin/doveadm");
    command.arg("-c").arg(shared.dir.path().join("dovecot.conf")).args(arguments);
    command.env_clear().env("HOME", shared.dir.path()).env("USER", "nobody").env("TZ", "UTC");
    shared.as_dovecot(&mut command);
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a rebuild that was asked for says, whatever it finds.
fn said_more(said: &str) -> Vec<String> {
    let usual = ["fscking index file", "rebuilding indexes"];
    said.lines().filter(|line| !usual.iter().any(|words| line.contains(words))).map(str::to_owned).collect()
}

fn text(number: usize) -> Vec<u8> {
    format!("Subject: number {number}\r\n\r\n{}", "some text\r\n".repeat(number * 9)).into_bytes()
}

/// Messages in three mailboxes, in several files, copies among them, flags and keywords, and some that were expunged.
fn fill_by_dovecot(shared: &Shared) {
    let mut imap = shared.imap();
    imap.run("CREATE Work");
    imap.run("CREATE \"&ANw-ber/sub\"");
    for (n, message) in (1..=8).map(text).enumerate() {
        let flags = ["\\Seen $Label1", "", "\\Flagged"][n % 3];
        imap.append("INBOX", flags, &message);
        imap.append(if n % 2 == 0 { "Work" } else { "&ANw-ber/sub" }, "\\Answered $Work", &message);
    }
    imap.run("SELECT INBOX");
    imap.run("UID COPY 2:5 Work");
    imap.run("UID STORE 3 +FLAGS (\\Deleted)");
    imap.run("EXPUNGE");
    imap.run("UID STORE 8 +FLAGS (\\Deleted custom)");
    imap.run("EXPUNGE");
    imap.run("SELECT Work");
    imap.run("UID STORE 1,3 +FLAGS (\\Draft)");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(fs::copy(entry.path(), target))
        }
    }
}

fn map_files(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("storage")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.map.index")).collect()
}

fn remove_real_map(root: &Path) {
    map_files(root).iter().for_each(|path| fs::remove_file(path).unwrap());
}

fn indexes(root: &Path, mailbox: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("mailboxes").join(mailbox).join("dbox-Mails")).unwrap();
    let entries = entries.map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.index")).collect()
}

fn change_real(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: &[Damage] = &[
    ("the map is gone", |root| remove_real_map(root)),
    ("the map is empty", |root| map_files(root).iter().for_each(|path| fs::write(path, b"").unwrap())),
    ("the map's log is empty", |root| fs::write(root.join("storage/dovecot.map.index.log"), b"").unwrap()),
    ("the map's log is cut", |root| {
        change_real(&root.join("storage/dovecot.map.index.log"), |b| b.truncate(b.len() / 2))
    }),
    ("the map's log is zeroed in part", |root| {
        change_real(&root.join("storage/dovecot.map.index.log"), |b| {
            let half = b.len() / 2;
            b[half..half + 64].fill(0);
        });
    }),
    ("a file of messages is gone", |root| fs::remove_file(root.join("storage/m.2")).unwrap()),
    ("a file of messages is empty", |root| fs::write(root.join("storage/m.2"), b"").unwrap()),
    ("a file of messages is cut", |root| change_real(&root.join("storage/m.2"), |b| b.truncate(b.len() - 40))),
    ("there is rubbish in a file of messages", |root| {
        change_real(&root.join("storage/m.2"), |b| {
            let at = memchr::memmem::find_iter(b, b"\x01\x02N ").nth(1).unwrap();
            b.splice(at..at, *b"rubbish");
        });
    }),
    ("a message's header is damaged", |root| {
        change_real(&root.join("storage/m.2"), |b| {
            let at = memchr::memmem::find_iter(b, b"\x01\x02N ").nth(1).unwrap();
            b[at..at + 20].fill(b'?');
        });
    }),
    ("the map is gone, and a message's header damaged", |root| {
        remove_real_map(root);
        change_real(&root.join("storage/m.2"), |b| {
            let at = memchr::memmem::find_iter(b, b"\x01\x02N ").nth(1).unwrap();
            b[at + 13..at + 20].fill(b'?');
        });
    }),
    ("a mailbox's index is gone", |root| {
        indexes(root, "Work").iter().for_each(|path| fs::remove_file(path).unwrap());
    }),
    ("the map and a mailbox's index are gone", |root| {
        remove_real_map(root);
        indexes(root, "Work").iter().for_each(|path| fs::remove_file(path).unwrap());
    }),
    ("a mailbox is gone", |root| fs::remove_dir_all(root.join("mailboxes/Work")).unwrap()),
    ("the map is gone, and a mailbox", |root| {
        remove_real_map(root);
        fs::remove_dir_all(root.join("mailboxes/Work")).unwrap();
    }),
    ("a mailbox's log is cut", |root| {
        change_real(&root.join("mailboxes/INBOX/dbox-Mails/dovecot.index.log"), |b| b.truncate(b.len() / 3 * 2));
    }),
];

/// Bodies that are there, in their mailbox; bodies with the right flags, bodies with the right UID.
fn count(before: &Mailboxes, after: &Mailboxes) -> [usize; 3] {
    let mut counts = [0; 3];
    for (name, messages) in before {
        let Some(there) = after.get(name) else { continue };
        let mut bodies: BTreeMap<&[u8], usize> = BTreeMap::new();
        there.values().for_each(|message| *bodies.entry(&message.body).or_default() += 1);
        for (uid, message) in messages {
            if let Some(left) = bodies.get_mut(&message.body[..]).filter(|left| **left > 0) {
                *left -= 1;
                counts[0] += 1;
            }
            let same = there.get(uid).filter(|other| other.body == message.body);
            counts[1] += usize::from(same.is_some_and(|other| other.flags == message.flags));
            counts[2] += usize::from(same.is_some());
        }
    }
    counts
}

#[test]
fn a_damaged_storage_comes_back_at_least_as_with_dovecot() {
    if !dovecot::is_installed() {
        return;
    }
    let original = shared();
    fill_by_dovecot(&original);
    let before = shown_by_dovecot(&mut original.imap());
    let all: usize = before.values().map(BTreeMap::len).sum();
    for (what, damage) in DAMAGES {
        let (ours, theirs) = (shared(), shared());
        for copied in [&ours, &theirs] {
            copy(&original.root(), &copied.root());
            damage(&copied.root());
        }
        // Theirs opens the mailboxes first, as its users would.
        theirs.own();
        let _ = doveadm(&theirs, &["mailbox", "status", "messages", "*"]);
        let _ = doveadm(&theirs, &["force-resync", "*"]);
        // Some damage has a session of its die; the next one goes on.
        let shown = || std::panic::catch_unwind(|| shown_by_dovecot(&mut theirs.imap()));
        let by_dovecot = shown().or_else(|_| shown()).map_or([0; 3], |shown| count(&before, &shown));
        let store = open_real(&ours);
        store.recover().unwrap();
        drop(store);
        let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
        let repair = CheckOptions { repair: true, ..CheckOptions::default() };
        let report = check_storage(&env, &ours.root(), &StoreOptions::default(), &repair, &mut |_| {}).unwrap();
        report.findings.iter().for_each(|finding| println!("  {:?} {}", finding.outcome, finding.what));
        drop(env);
        let shown = shown_by_us(&open_real(&ours));
        let by_us = count(&before, &shown);
        println!("{what}: bodies, flags, UIDs of {all}: {by_us:?}, Dovecot {by_dovecot:?}");
        assert!(by_us.iter().zip(by_dovecot).all(|(us, dovecot)| *us >= dovecot), "{what}: {by_us:?} {by_dovecot:?}");
        let said = doveadm(&ours, &["force-resync", "*"]);
        assert_eq!(said_more(&said), [""; 0], "{what}");
        assert_same(&shown, &shown_by_dovecot(&mut ours.imap()), what);
        assert_eq!(said_more(&ours.complaints().join("\n")), [""; 0], "{what}");
    }
}
