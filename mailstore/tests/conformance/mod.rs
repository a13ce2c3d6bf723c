//! What every backend must do, as checks over the storage traits: a backend's own test calls [`run`] and [`run_model`]
//! with a function that makes an empty storage of one user, new each time.
//!
//! Only what the traits promise is checked. Where they leave freedom (which of two errors, whether a change that changes
//! nothing counts) the checks take either.

#![allow(clippy::print_stdout, clippy::unwrap_used, unreachable_pub, reason = "in a test's helper as in the test")]

mod changes;
mod commits;
mod identities;
mod messages;
mod model;
mod names;
mod views;

use std::{collections::BTreeSet, sync::Arc};

use mailstore::{
    Batch, Columns, Committed, Cursor, Expunges, FlagAction, FlagChange, MailStorage, Mailbox, Rows, SaveMeta, Saved,
    ScanBudget, View, ViewAs,
};
use mailtypes::{Flags, InternalDate, Keyword, MailboxName, Uid, UidSet};

/// Makes an empty storage.
pub type Make<'a> = &'a dyn Fn() -> Arc<dyn MailStorage>;

type Check = fn(&dyn MailStorage);

/// Runs every check, each with a storage of its own, but for those that the format cannot pass.
pub fn run(make: Make<'_>, but: &[&str]) {
    let groups = [names::CHECKS, messages::CHECKS, commits::CHECKS, identities::CHECKS, views::CHECKS, changes::CHECKS];
    let all = || groups.into_iter().flatten();
    assert!(but.iter().all(|but| all().any(|(what, _)| what == but)), "no such check: {but:?}");
    for &(what, check) in all().filter(|(what, _)| !but.contains(what)) {
        println!("conformance: {what}");
        check(&*make());
    }
}

/// Compares `cases` random histories with a model.
pub fn run_model(make: Make<'_>, cases: u32) {
    model::run(make, cases);
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn set(uids: impl IntoIterator<Item = Uid>) -> UidSet {
    uids.into_iter().collect()
}

fn keyword(name: &str) -> Keyword {
    Keyword::new(name).unwrap()
}

fn inbox(storage: &dyn MailStorage) -> Arc<dyn Mailbox> {
    storage.mailbox(&MailboxName::inbox()).unwrap()
}

fn made(storage: &dyn MailStorage, mailbox: &str) -> Arc<dyn Mailbox> {
    storage.create(&name(mailbox)).unwrap();
    storage.mailbox(&name(mailbox)).unwrap()
}

fn view(mailbox: &dyn Mailbox) -> Box<dyn View> {
    mailbox.view(&ViewAs::default()).unwrap()
}

fn message(n: u32) -> Vec<u8> {
    format!("Subject: message {n}\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nbody {n}\r\n").into_bytes()
}

fn save(mailbox: &dyn Mailbox, bytes: &[u8], internal_date: Option<InternalDate>) -> Saved {
    let mut save = mailbox
        .begin_save(SaveMeta { internal_date, guid: None, ..SaveMeta::default() }, Some(bytes.len() as u64))
        .unwrap();
    save.write(bytes).unwrap();
    save.finish().unwrap()
}

fn commit(mailbox: &dyn Mailbox, batch: Batch) -> Committed {
    mailbox.submit(batch).unwrap().wait().unwrap()
}

/// Appends [`message`] `n`.
fn append(mailbox: &dyn Mailbox, n: u32) -> Uid {
    append_with(mailbox, n, Flags::NONE, &[])
}

fn append_with(mailbox: &dyn Mailbox, n: u32, flags: Flags, keywords: &[&str]) -> Uid {
    let keywords = keywords.iter().map(|name| keyword(name)).collect();
    let committed = commit(mailbox, Batch::new().save(save(mailbox, &message(n), None), flags, keywords));
    committed.saved[0]
}

fn change(uids: UidSet, action: FlagAction, flags: impl Into<Flags>, keywords: &[&str]) -> FlagChange {
    let keywords = keywords.iter().map(|name| keyword(name)).collect();
    FlagChange { uids, action, flags: flags.into(), keywords, unchanged_since: None }
}

/// All that a view shows, in however many steps of `budget`.
fn scan_with(view: &dyn View, uids: &UidSet, columns: &Columns, budget: ScanBudget) -> Vec<Rows> {
    let (mut steps, mut at) = (Vec::new(), Some(Cursor::START));
    while let Some(cursor) = at {
        let mut rows = Rows::new();
        at = view.scan(uids, cursor, columns, budget, &mut rows).unwrap();
        steps.push(rows);
    }
    steps
}

fn scan(view: &dyn View, columns: &Columns) -> Rows {
    let budget = ScanBudget { bytes: 1 << 30, rows: 1 << 30, until: None };
    scan_with(view, &view.uids(), columns, budget).pop().unwrap()
}

/// Flags and keywords (in small letters) of a message.
fn flags_of(view: &dyn View, uid: Uid) -> (Flags, BTreeSet<String>) {
    let rows = scan(view, &Columns::flags());
    let row = rows.rows.iter().find(|row| row.uid == uid).unwrap();
    (row.flags, rows.keywords(row).iter().map(|keyword| keyword.as_str().to_ascii_lowercase()).collect())
}

/// The message's bytes, read in pieces of `piece_len`.
fn read(view: &dyn View, uid: Uid, piece_len: usize) -> Vec<u8> {
    let mut body = view.body(uid).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; piece_len]);
    loop {
        let len = body.read_at(mailstore::Section::WHOLE, bytes.len() as u64, &mut piece).unwrap();
        bytes.extend_from_slice(&piece[..len]);
        if len < piece_len {
            assert_eq!(body.size(), bytes.len() as u64, "Body::size is the size with CRLF line ends");
            return bytes;
        }
    }
}

fn sync(view: &mut dyn View) -> mailstore::Changes {
    view.sync(Expunges::Apply).unwrap()
}
