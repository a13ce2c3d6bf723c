//! Maildir beside a real Dovecot 2.3, with a third party that moves, links and removes files: what any of them does the
//! others show, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use beside_dovecot::{Kind, compare};
use dovecot::Imap;
use dovecot_shown::{one, shown_by_us};
use mailstore::{
    Batch, FlagAction, FlagChange, ListLayout, ListOptions, MailStorage, SaveMeta, ViewAs,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
};
use mailtypes::{Flag, Flags, Keyword};
use sample_mail::{Numbers, messages, name};

const MAILDIR: Kind = Kind {
    location: |root| format!("maildir:{}", root.display()),
    open: |env, root| {
        Arc::new(MaildirStorage::create(env, root, &MaildirPlaces::default(), MaildirOptions::default()).unwrap())
    },
};

const BY_GUID: Kind = Kind {
    location: |root| format!("maildir:{}:LAYOUT=index", root.display()),
    open: |env, root| {
        let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
        let places = MaildirPlaces { list, ..MaildirPlaces::default() };
        Arc::new(MaildirStorage::create(env, root, &places, MaildirOptions::default()).unwrap())
    },
};

#[test]
fn with_names_in_the_list_index() {
    if dovecot::is_installed() {
        // Where Dovecot itself makes INBOX in such a store it gives it two UIDVALIDITYs, and complains: so we make it.
        beside_dovecot::dovecot_reads_what_we_write(&BY_GUID);
        beside_dovecot::turn_about(&BY_GUID, 60, 20_240_109, None);
    }
}

#[test]
fn dovecot_reads_what_we_write() {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&MAILDIR);
    }
}

#[test]
fn we_read_what_dovecot_writes() {
    if dovecot::is_installed() {
        beside_dovecot::we_read_what_dovecot_writes(&MAILDIR);
    }
}

#[test]
fn turn_about_with_a_third_party() {
    if dovecot::is_installed() {
        beside_dovecot::turn_about(&MAILDIR, 240, 20_240_102, Some(by_others));
    }
}

/// What mail programs and shell scripts do to the files.
fn by_others(root: &Path, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    // A change in one step of the kernel's clock with one of ours is seen a second later only.
    std::thread::sleep(std::time::Duration::from_millis(25));
    let dir = if mailbox == "INBOX" { root.to_owned() } else { root.join(format!(".{mailbox}")) };
    let mut files: Vec<PathBuf> = ["new", "cur"]
        .iter()
        .flat_map(|sub| fs::read_dir(dir.join(sub)).unwrap().map(|entry| entry.unwrap().path()))
        .collect();
    files.sort();
    let picked = (!files.is_empty()).then(|| files[numbers.below(files.len())].clone());
    let file_name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let base = |path: &Path| file_name(path).split(':').next().unwrap().to_owned();
    let all = messages();
    let lf = |message: &[u8]| String::from_utf8_lossy(message).replace("\r\n", "\n").into_bytes();
    match (numbers.below(6), picked) {
        (0, Some(path)) => {
            fs::remove_file(&path).unwrap();
            format!("others removed {}", path.display())
        }
        (1, Some(path)) => {
            let flags = ["", "S", "FS", "RSa", "Tz"][numbers.below(5)];
            let to = dir.join("cur").join(format!("{}:2,{flags}", base(&path)));
            fs::rename(&path, &to).unwrap();
            format!("others renamed {} to {}", path.display(), to.display())
        }
        (2, Some(path)) => {
            let to = ["INBOX", "a", "b"][numbers.below(3)];
            let to_dir = if to == "INBOX" { root.to_owned() } else { root.join(format!(".{to}")) };
            let target = to_dir.join("cur").join(format!("{}.linked{n}:2,S", n));
            fs::hard_link(&path, &target).unwrap();
            format!("others linked {} to {}", path.display(), target.display())
        }
        (3, _) => {
            let path = dir.join("cur").join(format!("{}.other{n}.host:2,S", 1_400_000_000 + n));
            fs::write(&path, lf(&all[n % all.len()])).unwrap();
            format!("others put {}", path.display())
        }
        _ => {
            let temp = dir.join("tmp").join(format!("{}.delivered{n}.host", 1_400_000_000 + n));
            fs::write(&temp, lf(&all[n % all.len()])).unwrap();
            let path = dir.join("new").join(file_name(&temp));
            fs::rename(&temp, &path).unwrap();
            format!("others delivered {}", path.display())
        }
    }
}

/// Messages that each party of [`all_at_once`] puts in.
const EACH: usize = 40;

fn numbered(party: &str, n: usize) -> Vec<u8> {
    format!("Subject: {party} {n}\r\n\r\nbody of {party} {n}\r\n").into_bytes()
}

/// Two sessions of ours, two of Dovecot's and a delivery agent work on one mailbox at once: nothing is lost, nothing is
/// there twice, and at the end all see the same.
#[test]
fn all_at_once() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = MAILDIR.shared();
    let root = shared.root();
    drop(MAILDIR.open(&shared).mailbox(&name("INBOX")).unwrap());
    shared.own();
    // Dovecot runs as somebody else where the tests run as root: files are to be for all.
    for dir in ["", "tmp", "new", "cur"] {
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).for_each(|path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    });
    std::thread::scope(|scope| {
        for party in ["ours0", "ours1"] {
            // Each as another process would be.
            let store = MAILDIR.open(&shared);
            scope.spawn(move || we_work(&*store, party));
        }
        for party in ["dovecot0", "dovecot1"] {
            let mut imap = shared.imap();
            scope.spawn(move || dovecot_works(&mut imap, party));
        }
        let root = &root;
        scope.spawn(move || others_work(root));
    });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let store = MAILDIR.open(&shared);
    shared.own();
    let mut imap = shared.imap();
    compare(&shared, &*store, &mut imap, "after all at once", true);
    let ours = shown_by_us(&*store);
    let mut subjects: Vec<String> =
        ours["INBOX"].values().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect();
    subjects.sort();
    let parties = ["ours0", "ours1", "dovecot0", "dovecot1", "others"];
    // Each of them has expunged one message of its own in four, but the delivery agent, who cannot.
    let kept = |party: &str, n: usize| party == "others" || n % 4 != 3;
    let mut expect: Vec<String> = parties
        .iter()
        .flat_map(|party| (0..EACH).filter(|n| kept(party, *n)).map(|n| numbered(party, n)))
        .map(|message| String::from_utf8(message).unwrap())
        .collect();
    expect.sort();
    assert_eq!(subjects, expect);
    assert_eq!(shared.complaints(), [""; 0]);
}

fn we_work(store: &dyn MailStorage, party: &str) {
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    let mut view = inbox.view(&ViewAs { takes_recent: true }).unwrap();
    for n in 0..EACH {
        let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
        save.write(&numbered(party, n)).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new());
        let uid = inbox.submit(batch).unwrap().wait().unwrap().saved[0];
        view.sync(mailstore::Expunges::Apply).unwrap();
        let change = FlagChange {
            uids: one(uid),
            action: FlagAction::Add,
            flags: Flag::Seen.into(),
            keywords: vec![Keyword::new(party).unwrap()],
            unchanged_since: None,
        };
        inbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
        if n % 4 == 3 {
            inbox.submit(Batch::new().expunge(one(uid))).unwrap().wait().unwrap();
        }
    }
}

fn dovecot_works(imap: &mut Imap, party: &str) {
    imap.run("SELECT INBOX");
    for n in 0..EACH {
        imap.append("INBOX", "", &numbered(party, n));
        imap.run("NOOP");
        let found = imap.run(format!("UID SEARCH SUBJECT \"{party} {n}\""));
        let found = found.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        let line = found.rev().find(|line| line.starts_with("* SEARCH ")).unwrap();
        // Whatever else begins so came before.
        let uid = line.rsplit(' ').next().unwrap().to_owned();
        imap.run(format!("UID STORE {uid} +FLAGS ({party})"));
        if n % 4 == 3 {
            imap.run(format!("UID STORE {uid} +FLAGS (\\Deleted)"));
            imap.run(format!("UID EXPUNGE {uid}"));
        }
    }
}

fn others_work(root: &Path) {
    for n in 0..EACH {
        let file = format!("{}.M{n}P1.others", 1_400_000_000 + n);
        let text = String::from_utf8(numbered("others", n)).unwrap().replace("\r\n", "\n");
        fs::write(root.join("tmp").join(&file), text).unwrap();
        fs::rename(root.join("tmp").join(&file), root.join("new").join(&file)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// `\Recent` counts as Dovecot counts it, wherever files were put.
#[test]
fn recent_messages_are_dovecots() {
    if !dovecot::is_installed() {
        return;
    }
    let counts = |by_dovecot: bool| {
        let shared = MAILDIR.shared();
        let store = MAILDIR.open(&shared);
        let root = shared.root();
        let put = |path: &str| fs::write(root.join(path), "Subject: x\n\nbody\n").unwrap();
        let mut seen = Vec::new();
        let mut look = |select: bool| {
            if by_dovecot {
                let mut imap = shared.imap();
                let lines = imap.run(if select { "SELECT INBOX" } else { "EXAMINE INBOX" });
                let recent =
                    lines.iter().map(|l| String::from_utf8_lossy(l).into_owned()).find(|l| l.ends_with(" RECENT"));
                seen.push(recent.unwrap().split(' ').nth(1).unwrap().parse::<u32>().unwrap());
            } else {
                let inbox = store.mailbox(&name("INBOX")).unwrap();
                seen.push(inbox.view(&ViewAs { takes_recent: select }).unwrap().recent_count());
            }
        };
        look(true);
        put("new/1.a");
        put("cur/2.b:2,");
        put("cur/3.c:2,S");
        put("new/4.d");
        look(false);
        look(true);
        look(false);
        put("cur/5.e:2,");
        look(false);
        put("new/6.f");
        look(true);
        look(true);
        seen
    };
    assert_eq!(counts(false), counts(true));
}
