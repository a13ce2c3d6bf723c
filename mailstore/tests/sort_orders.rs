//! Orders that are kept between sorts, ours and Dovecot's, change no answer.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod dovecot;

use std::sync::Arc;

use dovecot::Shared;
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions, Fsync};
use mailstore::{
    Append, Store, StoreOptions, View, ViewAs,
    mailtypes::{MailboxName, SearchKey, SortCriterion, SortKey, Uid, UidSet},
    sort::sort,
};

fn env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() })
}

fn by(key: SortKey, reverse: bool) -> SortCriterion {
    SortCriterion { key, reverse }
}

/// Subjects and addresses that often meet, some empty, some replies.
fn message(number: u64) -> String {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let re = if mixed.is_multiple_of(3) { "Re: " } else { "" };
    let subject = if mixed.is_multiple_of(11) { String::new() } else { format!("{re}topic {}", mixed % 97) };
    format!("Subject: {subject}\r\nFrom: u{} <u{}@example.org>\r\n\r\nx\r\n", mixed % 13, mixed % 29)
}

fn add(store: &Store, numbers: std::ops::Range<u64>) {
    let inbox = store.mailbox("INBOX").unwrap();
    for number in numbers {
        inbox.append(Append::new(message(number).as_bytes())).unwrap();
    }
}

fn uids_of(view: &dyn View, criteria: &[SortCriterion]) -> Vec<Uid> {
    sort(SearchKey::All, criteria, view).unwrap().iter().map(|message| message.uid).collect()
}

/// By what is kept, and by a store that has kept nothing.
fn agree(store: &Store, root: &std::path::Path, criteria: &[SortCriterion]) {
    let fresh = Store::open_in(&env(), root, &StoreOptions::default()).unwrap();
    let inbox = |store: &Store| store.storage().mailbox(&MailboxName::inbox()).unwrap();
    let kept = inbox(store).view(&ViewAs::default()).unwrap();
    let (ours, anew) = (uids_of(&*kept, criteria), inbox(&fresh).view(&ViewAs::default()).unwrap());
    assert_eq!(ours, uids_of(&*anew, criteria), "{criteria:?}");
    assert_eq!(ours.len(), kept.message_count() as usize);
}

#[test]
fn a_second_sort_has_the_order_of_a_first() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    let store = Store::create_in(&env(), &root, &StoreOptions::default()).unwrap();
    let subject = by(SortKey::Subject, false);
    let all = [
        vec![subject],
        vec![by(SortKey::Subject, true)],
        vec![subject, by(SortKey::From, true)],
        vec![by(SortKey::From, true), subject],
        vec![by(SortKey::DisplayFrom, false), by(SortKey::Size, true)],
    ];
    add(&store, 0..300);
    let mut from = 300;
    // Few come, many come, some go.
    for count in [0, 1, 20, 100, 3] {
        add(&store, from..from + count);
        from += count;
        for criteria in &all {
            agree(&store, &root, criteria);
        }
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        let some: UidSet = view.view().uids().iter().filter(|uid| uid.value() % 7 == 0).take(10).collect();
        view.expunge(&some).unwrap();
    }
    let inbox = store.storage().mailbox(&MailboxName::inbox()).unwrap();
    let view = inbox.view(&ViewAs::default()).unwrap();
    let order = view.sort_order(SortKey::Subject).unwrap();
    assert!(view.uids().iter().filter(|uid| order.rank(*uid).is_some()).count() > 300);
}

/// What Dovecot has left in the index is used, and is of the order that we would have found.
#[test]
fn orders_of_dovecot_are_those_of_ours() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let root = shared.dir.path().join("mail");
    add(&Store::create_in(&env(), &root, &StoreOptions::default()).unwrap(), 0..300);
    let mut imap = shared.imap();
    imap.run("SELECT INBOX");
    let sorts = ["SUBJECT", "FROM", "DISPLAYFROM", "REVERSE SUBJECT"];
    let told = sorts.map(|by| {
        let lines = imap.run(format!("UID SORT ({by}) UTF-8 ALL"));
        let line = lines.into_iter().find_map(|line| line.strip_prefix(b"* SORT").map(<[u8]>::to_vec)).unwrap();
        let numbers = String::from_utf8(line).unwrap();
        numbers.split_whitespace().map(|n| n.parse().ok().and_then(Uid::new).unwrap()).collect::<Vec<_>>()
    });
    drop(imap);
    assert_eq!(shared.complaints(), Vec::<String>::new());
    let store = Store::open_in(&env(), &root, &StoreOptions::default()).unwrap();
    let inbox = store.storage().mailbox(&MailboxName::inbox()).unwrap();
    let view = inbox.view(&ViewAs::default()).unwrap();
    let keys =
        [(SortKey::Subject, false), (SortKey::From, false), (SortKey::DisplayFrom, false), (SortKey::Subject, true)];
    for ((key, reverse), told) in keys.into_iter().zip(told) {
        let order = view.sort_order(key).unwrap();
        assert!(order.len() >= 300, "{key:?}");
        assert_eq!(uids_of(&*view, &[by(key, reverse)]), told, "{key:?}");
        add(&store, 1000..1010);
        agree(&store, &root, &[by(key, reverse)]);
    }
}
