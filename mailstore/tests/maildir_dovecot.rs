//! Maildir beside a real Dovecot 2.3, with a third party that moves, links and removes files: what any of them does the
//! others show, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod dovecot;
mod dovecot_shown;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use dovecot::{Imap, Shared};
use dovecot_shown::{Numbers, assert_same, contains, messages, name, one, shown_by_dovecot, shown_by_us};
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Batch, FlagAction, FlagChange, MailStorage, Mailbox, SaveMeta, ViewAs,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
};
use mailtypes::{Flag, Flags, InternalDate, Keyword, Uid};

/// A folder in which Dovecot is told to find a Maildir.
fn shared_maildir() -> Shared {
    let shared = Shared::new();
    let config = shared.root().with_file_name("dovecot.conf");
    let text = fs::read_to_string(&config).unwrap().replace("sdbox:", "maildir:");
    fs::write(&config, text).unwrap();
    shared
}

fn open(shared: &Shared) -> MaildirStorage {
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    MaildirStorage::create(&env, &shared.root(), &MaildirPlaces::default(), MaildirOptions::default()).unwrap()
}

fn append(mailbox: &dyn Mailbox, message: &[u8], flags: Flags, keywords: &[&str], unix: i64) {
    let meta = SaveMeta { internal_date: Some(InternalDate::utc(unix)), ..SaveMeta::default() };
    let mut save = mailbox.begin_save(meta, None).unwrap();
    save.write(message).unwrap();
    let keywords = keywords.iter().map(|k| Keyword::new(k).unwrap()).collect();
    mailbox.submit(Batch::new().save(save.finish().unwrap(), flags, keywords)).unwrap().wait().unwrap();
}

/// Compares what both show, either looking first.
fn compare(shared: &Shared, store: &MaildirStorage, imap: &mut Imap, when: &str, dovecot_first: bool) {
    if dovecot_first {
        shared.own();
        let theirs = shown_by_dovecot(imap);
        assert_same(&shown_by_us(store), &theirs, when);
        shared.own();
    } else {
        let ours = shown_by_us(store);
        shared.own();
        assert_same(&ours, &shown_by_dovecot(imap), when);
    }
}

#[test]
fn dovecot_reads_what_we_write() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = shared_maildir();
    let store = open(&shared);
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    for (n, message) in messages().iter().enumerate() {
        let flags = if n % 2 == 0 { Flag::Seen.into() } else { Flags::NONE };
        append(&*inbox, message, flags, if n % 3 == 0 { &["$Forwarded"] } else { &[] }, 1_600_000_000 + n as i64);
    }
    for mailbox in ["Work/2024", "gone", "before"] {
        store.create(&name(mailbox)).unwrap();
    }
    let uids = inbox.view(&ViewAs::default()).unwrap().uids();
    let target = store.mailbox(&name("Work/2024")).unwrap();
    target.submit(Batch::new().copy(Arc::clone(&inbox), uids.clone())).unwrap().wait().unwrap();
    target.submit(Batch::new().copy(Arc::clone(&inbox), uids)).unwrap().wait().unwrap();
    inbox.submit(Batch::new().expunge(one(Uid::new(2).unwrap()))).unwrap().wait().unwrap();
    let keywords: Vec<_> = (0..30).map(|n| Keyword::new(&format!("key{n}")).unwrap()).collect();
    let change = FlagChange {
        uids: one(Uid::new(3).unwrap()),
        action: FlagAction::Add,
        flags: Flag::Answered.into(),
        keywords,
        unchanged_since: None,
    };
    inbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
    store.delete(&name("gone")).unwrap();
    store.rename(&name("before"), &name("after")).unwrap();
    let mut imap = shared.imap();
    compare(&shared, &store, &mut imap, "after our changes", false);
    compare(&shared, &store, &mut imap, "the second time", true);
    assert_eq!(shared.complaints(), [""; 0]);
}

#[test]
fn we_read_what_dovecot_writes() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = shared_maildir();
    let mut imap = shared.imap();
    for (n, message) in messages().iter().enumerate() {
        imap.append("INBOX", if n % 3 == 0 { "\\Seen $Label1" } else { "" }, message);
    }
    imap.run("CREATE \"Work/2024\"");
    imap.run("SELECT INBOX");
    imap.run("COPY 1:5 \"Work/2024\"");
    imap.run("COPY 1:5 \"Work/2024\"");
    imap.run("STORE 2:3 +FLAGS (\\Deleted custom)");
    imap.run("STORE 4 FLAGS (\\Draft)");
    let many: Vec<_> = (0..30).map(|n| format!("key{n}")).collect();
    imap.run(format!("STORE 5 +FLAGS ({})", many.join(" ")));
    imap.run("EXPUNGE");
    imap.run("UNSELECT");
    let store = open(&shared);
    compare(&shared, &store, &mut imap, "after Dovecot's changes", false);
    compare(&shared, &store, &mut imap, "the second time", true);
    assert_eq!(shared.complaints(), [""; 0]);
}

const CHANGES: usize = 240;

#[test]
fn turn_about_with_a_third_party() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = shared_maildir();
    let store = open(&shared);
    for mailbox in ["a", "b"] {
        store.create(&name(mailbox)).unwrap();
    }
    let mut numbers = Numbers(20_240_102);
    let mut imap = shared.imap();
    for n in 0..CHANGES {
        let mailbox = ["INBOX", "a", "b"][numbers.below(3)];
        let what = match numbers.below(3) {
            0 => {
                shared.own();
                by_dovecot(&mut imap, mailbox, &mut numbers, n)
            }
            1 => by_us(&store, mailbox, &mut numbers, n),
            _ => by_others(&shared.root(), mailbox, &mut numbers, n),
        };
        println!("{n}: {what}");
        compare(&shared, &store, &mut imap, &format!("after change {n}: {what}"), n % 2 == 0);
        assert_eq!(shared.complaints(), [""; 0], "after change {n}: {what}");
    }
}

fn by_dovecot(imap: &mut Imap, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let all = messages();
    let seq = numbers.below(4) + 1;
    let selected = imap.run(format!("SELECT {mailbox}"));
    let exists = selected.iter().any(|line| contains(line, format!("* {seq} EXISTS").as_bytes()));
    let command = match numbers.below(5) {
        0 if exists => format!("STORE {seq} +FLAGS (\\Flagged k{})", n % 7),
        1 if exists => format!("STORE 1:{seq} FLAGS (\\Answered)"),
        2 if exists => format!("COPY {seq} {}", ["INBOX", "a", "b"][numbers.below(3)]),
        3 if exists => {
            imap.run(format!("STORE {seq} +FLAGS (\\Deleted)"));
            "EXPUNGE".to_owned()
        }
        _ => {
            imap.run("UNSELECT");
            imap.append(mailbox, if n % 2 == 0 { "\\Seen" } else { "" }, &all[n % all.len()]);
            return format!("Dovecot appended to {mailbox}");
        }
    };
    imap.run(&command);
    imap.run("UNSELECT");
    format!("Dovecot in {mailbox}: {command}")
}

fn by_us(store: &MaildirStorage, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let opened: Arc<dyn Mailbox> = store.mailbox(&name(mailbox)).unwrap();
    let takes_recent = n.is_multiple_of(3);
    let view = opened.view(&ViewAs { takes_recent }).unwrap();
    let uids = view.uids();
    let pick = numbers.below(4);
    let Some(uid) = uids.iter().nth(pick).filter(|_| numbers.below(5) > 0) else {
        let all = messages();
        let flags = if n.is_multiple_of(2) { Flag::Flagged.into() } else { Flags::NONE };
        append(&*opened, &all[(n * 5) % all.len()], flags, &[], 1_500_000_000 + n as i64);
        return format!("we appended to {mailbox}");
    };
    let change = |action, flags: Flags, keyword: &str| {
        let keywords = vec![Keyword::new(keyword).unwrap()];
        Batch::new().flags(FlagChange { uids: one(uid), action, flags, keywords, unchanged_since: None })
    };
    let (what, batch) = match numbers.below(4) {
        0 => ("added flags", change(FlagAction::Add, Flag::Seen.into(), &format!("k{}", n % 9))),
        1 => ("replaced flags", change(FlagAction::Replace, Flag::Draft.into(), "other")),
        2 => {
            let to = ["INBOX", "a", "b"][numbers.below(3)];
            let target = store.mailbox(&name(to)).unwrap();
            target.submit(Batch::new().copy(opened, one(uid))).unwrap().wait().unwrap();
            return format!("we copied {uid} from {mailbox} to {to}");
        }
        _ => ("expunged", Batch::new().expunge(one(uid))),
    };
    opened.submit(batch).unwrap().wait().unwrap();
    format!("we {what} {uid} in {mailbox}")
}

/// What mail programs and shell scripts do to the files.
fn by_others(root: &Path, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
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
