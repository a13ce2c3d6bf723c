//! Maildir beside a real Dovecot 2.3, with a third party that moves, links and removes files: what any of them does the
//! others show, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod dovecot;
mod dovecot_shown;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
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
            imap.append(mailbox, if n.is_multiple_of(2) { "\\Seen" } else { "" }, &all[n % all.len()]);
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
    let shared = shared_maildir();
    let root = shared.root();
    drop(open(&shared).mailbox(&name("INBOX")).unwrap());
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
            let store = open(&shared);
            scope.spawn(move || we_work(&store, party));
        }
        for party in ["dovecot0", "dovecot1"] {
            let mut imap = shared.imap();
            scope.spawn(move || dovecot_works(&mut imap, party));
        }
        let root = &root;
        scope.spawn(move || others_work(root));
    });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let store = open(&shared);
    shared.own();
    let mut imap = shared.imap();
    compare(&shared, &store, &mut imap, "after all at once", true);
    let ours = shown_by_us(&store);
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

fn we_work(store: &MaildirStorage, party: &str) {
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
        let shared = shared_maildir();
        let store = open(&shared);
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
