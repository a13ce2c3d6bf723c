//! sdbox beside a real Dovecot 2.3: what either writes the other one reads, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod dovecot;
mod dovecot_shown;

use std::sync::Arc;

use dovecot::{Imap, Shared};
use dovecot_shown::{Numbers, assert_same, contains, messages, name, one, shown_by_dovecot, shown_by_us};
use mailstore::{Append, Batch, FlagAction, FlagChange, Mailbox, Store, ViewAs};
use mailtypes::{Flag, Flags, Keyword, Uid};

/// Compares what both show; what we cached meanwhile is Dovecot's to read.
fn compare(shared: &Shared, store: &Store, imap: &mut Imap, when: &str) {
    let ours = shown_by_us(&**store.storage());
    shared.own();
    assert_same(&ours, &shown_by_dovecot(imap), when);
}

#[test]
fn dovecot_reads_what_we_write() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let store = Store::create(shared.root()).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    for (n, message) in messages().iter().enumerate() {
        let date = mailtypes::InternalDate::utc(1_600_000_000 + n as i64);
        let append = Append::new(message).internal_date(date).keyword(Keyword::new("$Forwarded").unwrap());
        inbox.append(if n % 2 == 0 { append.flag(Flag::Seen) } else { append }).unwrap();
    }
    for mailbox in ["Work/2024", "Überblick & Co", "日本語", "gone", "before"] {
        store.create_mailbox(mailbox).unwrap();
    }
    let source = store.storage().mailbox(&name("INBOX")).unwrap();
    let uids = source.view(&ViewAs::default()).unwrap().uids();
    let target = store.storage().mailbox(&name("Work/2024")).unwrap();
    target.submit(Batch::new().copy(source, uids)).unwrap().wait().unwrap();
    inbox.view().unwrap().expunge(&one(Uid::new(2).unwrap())).unwrap();
    let answered = inbox.view().unwrap();
    answered
        .update_one(Uid::new(3).unwrap())
        .add(Flag::Answered)
        .add_keyword(Keyword::new("Mine").unwrap())
        .commit()
        .unwrap();
    store.delete_mailbox("gone").unwrap();
    store.rename_mailbox("before", "after/wards").unwrap();
    store.storage().subscribe(&name("Work/2024")).unwrap();
    store.storage().subscribe(&name("日本語")).unwrap();

    let mut imap = shared.imap();
    compare(&shared, &store, &mut imap, "after our changes");
    let subscribed: Vec<_> = imap.run("LSUB \"\" *").into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    assert_eq!(subscribed.len(), 2, "{subscribed:?}");
    for expect in ["Work/2024", "&ZeVnLIqe-"] {
        assert!(subscribed.iter().any(|line| line.ends_with(expect)), "{expect} in {subscribed:?}");
    }
    assert_eq!(shared.complaints(), [""; 0]);
}

#[test]
fn we_read_what_dovecot_writes() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let mut imap = shared.imap();
    for (n, message) in messages().iter().enumerate() {
        imap.append("INBOX", if n % 3 == 0 { "\\Seen $Label1" } else { "" }, message);
    }
    imap.run("CREATE \"Work/2024\"");
    imap.run("CREATE \"&ANw-berblick &- Co\"");
    imap.run("SELECT INBOX");
    imap.run("COPY 1:5 \"Work/2024\"");
    imap.run("STORE 2:3 +FLAGS (\\Deleted custom)");
    imap.run("STORE 4 FLAGS (\\Draft)");
    imap.run("EXPUNGE");
    imap.run("UNSELECT");
    imap.run("CREATE old");
    imap.run("RENAME old new");
    imap.run("CREATE gone");
    imap.run("DELETE gone");
    imap.run("SUBSCRIBE \"Work/2024\"");
    let store = Store::open(shared.root()).unwrap();
    compare(&shared, &store, &mut imap, "after Dovecot's changes");
    assert_eq!(store.storage().subscriptions().unwrap(), [name("Work/2024")]);
    // From what is cached by now, too.
    compare(&shared, &store, &mut imap, "the second time");
    assert_eq!(shared.complaints(), [""; 0]);
}

const CHANGES: usize = 150;

#[test]
fn turn_about() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let store = Store::create(shared.root()).unwrap();
    for mailbox in ["a", "b"] {
        store.create_mailbox(mailbox).unwrap();
    }
    let mut numbers = Numbers(20_240_101);
    let mut imap = shared.imap();
    for n in 0..CHANGES {
        let mailbox = ["INBOX", "a", "b"][numbers.below(3)];
        let what = if numbers.below(2) == 0 {
            shared.own();
            by_dovecot(&mut imap, mailbox, &mut numbers, n)
        } else {
            by_us(&store, mailbox, &mut numbers, n)
        };
        compare(&shared, &store, &mut imap, &format!("after change {n}: {what}"));
        assert_eq!(shared.complaints(), [""; 0], "after change {n}: {what}");
    }
}

fn by_dovecot(imap: &mut Imap, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let all = messages();
    let seq = numbers.below(4) + 1;
    let exists =
        imap.run(format!("SELECT {mailbox}")).iter().any(|line| contains(line, format!("* {seq} EXISTS").as_bytes()));
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
            imap.append(mailbox, "\\Seen", &all[n % all.len()]);
            return format!("Dovecot appended to {mailbox}");
        }
    };
    imap.run(&command);
    imap.run("UNSELECT");
    format!("Dovecot in {mailbox}: {command}")
}

fn by_us(store: &Store, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let opened: Arc<dyn Mailbox> = store.storage().mailbox(&name(mailbox)).unwrap();
    let view = opened.view(&ViewAs::default()).unwrap();
    let uids = view.uids();
    let pick = numbers.below(4);
    let Some(uid) = uids.iter().nth(pick).filter(|_| numbers.below(5) > 0) else {
        let all = messages();
        let message = &all[(n * 5) % all.len()];
        store.mailbox(mailbox).unwrap().append(Append::new(message).flag(Flag::Flagged)).unwrap();
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
            let target = store.storage().mailbox(&name(to)).unwrap();
            target.submit(Batch::new().copy(opened, one(uid))).unwrap().wait().unwrap();
            return format!("we copied {uid} from {mailbox} to {to}");
        }
        _ => ("expunged", Batch::new().expunge(one(uid))),
    };
    opened.submit(batch).unwrap().wait().unwrap();
    format!("we {what} {uid} in {mailbox}")
}
