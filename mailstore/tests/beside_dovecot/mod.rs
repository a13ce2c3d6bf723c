//! A store of any format beside a real Dovecot 2.3: what either writes the other one reads, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{fs, path::Path, sync::Arc};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{Batch, FlagAction, FlagChange, MailStorage, Mailbox, SaveMeta, ViewAs};
use mailtypes::{Flag, Flags, InternalDate, Keyword, Uid};

use crate::{
    dovecot::{Imap, Shared},
    dovecot_shown::{assert_same, contains, one, shown_by_dovecot, shown_by_us},
    sample_mail::{Numbers, messages, name},
};

/// What is beside Dovecot.
pub struct Kind {
    /// Dovecot's `mail_location` for a store in a folder.
    pub location: fn(&Path) -> String,
    /// The same store, made if it is not there.
    pub open: fn(&Env, &Path) -> Arc<dyn MailStorage>,
}

impl Kind {
    /// A folder in which Dovecot is told to find such a store.
    pub fn shared(&self) -> Shared {
        let shared = Shared::new();
        let config = shared.root().with_file_name("dovecot.conf");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace(&format!("sdbox:{}", shared.root().display()), &(self.location)(&shared.root()));
        fs::write(&config, text).unwrap();
        shared
    }

    /// As another process would, each time.
    pub fn open(&self, shared: &Shared) -> Arc<dyn MailStorage> {
        (self.open)(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), &shared.root())
    }
}

pub fn append(mailbox: &dyn Mailbox, message: &[u8], flags: Flags, keywords: &[&str], unix: i64) {
    let meta = SaveMeta { internal_date: Some(InternalDate::utc(unix)), ..SaveMeta::default() };
    let mut save = mailbox.begin_save(meta, None).unwrap();
    save.write(message).unwrap();
    let keywords = keywords.iter().map(|k| Keyword::new(k).unwrap()).collect();
    mailbox.submit(Batch::new().save(save.finish().unwrap(), flags, keywords)).unwrap().wait().unwrap();
}

/// Compares what both show, either looking first; what we cached meanwhile is Dovecot's to read.
pub fn compare(shared: &Shared, store: &dyn MailStorage, imap: &mut Imap, when: &str, dovecot_first: bool) {
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

pub fn dovecot_reads_what_we_write(kind: &Kind) {
    let shared = kind.shared();
    let store = kind.open(&shared);
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    for (n, message) in messages().iter().enumerate() {
        let flags = if n % 2 == 0 { Flag::Seen.into() } else { Flags::NONE };
        append(&*inbox, message, flags, if n % 3 == 0 { &["$Forwarded"] } else { &[] }, 1_600_000_000 + n as i64);
    }
    for mailbox in ["Work/2024", "Überblick & Co", "日本語", "gone", "before"] {
        store.create(&name(mailbox)).unwrap();
    }
    let uids = inbox.view(&ViewAs::default()).unwrap().uids();
    let target = store.mailbox(&name("Work/2024")).unwrap();
    for _ in 0..2 {
        target.submit(Batch::new().copy(Arc::clone(&inbox), uids.clone())).unwrap().wait().unwrap();
    }
    inbox.submit(Batch::new().expunge(one(Uid::new(2).unwrap()))).unwrap().wait().unwrap();
    let change = FlagChange {
        uids: one(Uid::new(3).unwrap()),
        action: FlagAction::Add,
        flags: Flag::Answered.into(),
        keywords: (0..30).map(|n| Keyword::new(&format!("key{n}")).unwrap()).collect(),
        unchanged_since: None,
    };
    inbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
    store.delete(&name("gone")).unwrap();
    store.rename(&name("before"), &name("after/wards")).unwrap();
    store.subscribe(&name("Work/2024")).unwrap();
    store.subscribe(&name("日本語")).unwrap();

    let mut imap = shared.imap();
    compare(&shared, &*store, &mut imap, "after our changes", false);
    compare(&shared, &*store, &mut imap, "the second time", true);
    let subscribed: Vec<_> = imap.run("LSUB \"\" *").into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    assert_eq!(subscribed.len(), 2, "{subscribed:?}");
    for expect in ["Work/2024", "&ZeVnLIqe-"] {
        assert!(subscribed.iter().any(|line| line.ends_with(expect)), "{expect} in {subscribed:?}");
    }
    assert_eq!(shared.complaints(), [""; 0]);
}

pub fn we_read_what_dovecot_writes(kind: &Kind) {
    let shared = kind.shared();
    let mut imap = shared.imap();
    for (n, message) in messages().iter().enumerate() {
        imap.append("INBOX", if n % 3 == 0 { "\\Seen $Label1" } else { "" }, message);
    }
    imap.run("CREATE \"Work/2024\"");
    imap.run("CREATE \"&ANw-berblick &- Co\"");
    imap.run("SELECT INBOX");
    imap.run("COPY 1:5 \"Work/2024\"");
    imap.run("COPY 1:5 \"Work/2024\"");
    imap.run("STORE 2:3 +FLAGS (\\Deleted custom)");
    imap.run("STORE 4 FLAGS (\\Draft)");
    // Of many keywords Dovecot 2.3.19 gives some to other messages of an mbox, in its index and in the file.
    let is_mbox = (kind.location)(&shared.root()).starts_with("mbox:");
    let many: Vec<_> = (0..if is_mbox { 3 } else { 30 }).map(|n| format!("key{n}")).collect();
    imap.run(format!("STORE 5 +FLAGS ({})", many.join(" ")));
    imap.run("EXPUNGE");
    imap.run("UNSELECT");
    imap.run("CREATE old");
    imap.run("RENAME old new");
    imap.run("CREATE gone");
    imap.run("DELETE gone");
    imap.run("SUBSCRIBE \"Work/2024\"");
    let store = kind.open(&shared);
    compare(&shared, &*store, &mut imap, "after Dovecot's changes", false);
    assert_eq!(store.subscriptions().unwrap(), [name("Work/2024")]);
    // From what is cached by now, too.
    compare(&shared, &*store, &mut imap, "the second time", true);
    assert_eq!(shared.complaints(), [""; 0]);
}

/// Somebody else who changes a store's files: what was done.
pub type ThirdParty = fn(&Path, &str, &mut Numbers, usize) -> String;

/// Changes by Dovecot, by us and by a third party if there is one, compared after each.
pub fn turn_about(kind: &Kind, changes: usize, seed: u64, others: Option<ThirdParty>) {
    let shared = kind.shared();
    let store = kind.open(&shared);
    for mailbox in ["a", "b"] {
        store.create(&name(mailbox)).unwrap();
    }
    let mut numbers = Numbers(seed);
    let mut imap = shared.imap();
    for n in 0..changes {
        let mailbox = ["INBOX", "a", "b"][numbers.below(3)];
        let what = match (numbers.below(if others.is_some() { 3 } else { 2 }), others) {
            (0, _) => {
                shared.own();
                by_dovecot(&mut imap, mailbox, &mut numbers, n)
            }
            (2, Some(others)) => others(&shared.root(), mailbox, &mut numbers, n),
            _ => by_us(&*store, mailbox, &mut numbers, n),
        };
        println!("{n}: {what}");
        compare(&shared, &*store, &mut imap, &format!("after change {n}: {what}"), n % 2 == 0);
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

fn by_us(store: &dyn MailStorage, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let opened: Arc<dyn Mailbox> = store.mailbox(&name(mailbox)).unwrap();
    let view = opened.view(&ViewAs { takes_recent: n.is_multiple_of(3) }).unwrap();
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
