//! What mail of another store keeps.

use mailstore::{
    Batch, Column, Columns, Judged, Kept, MailStorage, Mailbox, MailboxIdentity, OnlyIf, Pop3Identity, SaveMeta, Saved,
    Stamp, StorageError,
};
use mailtypes::{Flag, Guid, InternalDate, MailboxName, ModSeq, UidValidity};

use super::{Check, append, change, commit, flags_of, inbox, keyword, made, message, name, read, scan, set, uid, view};

pub const CHECKS: &[(&str, Check)] = &[
    ("a mailbox is made with the identity of another store's", identity_is_kept),
    ("INBOX gives way to one with another identity", inbox_is_replaced),
    ("a mailbox goes only as it was judged", only_as_judged),
    ("messages keep their UIDs", uids_are_kept),
    ("a UID that is not free is not given", taken_uids_are_refused),
    ("mod-sequences are those of another store, and go on from there", stamps_are_kept),
    ("what POP3 knew of a message is kept or not there", pop3_is_kept),
];

const IDENTITY: MailboxIdentity = identity(7);

/// Of a mailbox; no two have the same GUID.
const fn identity(guid: u8) -> MailboxIdentity {
    MailboxIdentity { guid: Guid([guid; 16]), uid_validity: UidValidity::MIN }
}

fn modseq(n: u64) -> ModSeq {
    ModSeq::new(n).unwrap()
}

fn saved(mailbox: &dyn Mailbox, n: u32, pop3: Pop3Identity) -> Saved {
    let meta = SaveMeta { internal_date: Some(InternalDate::utc(1_500_000_000)), pop3, ..SaveMeta::default() };
    let mut save = mailbox.begin_save(meta, None).unwrap();
    save.write(&message(n)).unwrap();
    save.finish().unwrap()
}

/// Saves message `n` as UID `n`.
fn with(batch: Batch, mailbox: &dyn Mailbox, n: u32) -> Batch {
    let message = saved(mailbox, n, Pop3Identity::default());
    batch.save_as(message, Flag::Seen.into(), vec![], Kept { uid: uid(n), save_date: Some(1_600_000_000) })
}

fn identity_of(mailbox: &dyn Mailbox) -> MailboxIdentity {
    MailboxIdentity { guid: mailbox.guid(), uid_validity: mailbox.uid_validity() }
}

fn identity_is_kept(storage: &dyn MailStorage) {
    let there = made(storage, "there");
    append(&*there, 1);
    for (mailbox, identity) in [("a", IDENTITY), ("there", identity(8))] {
        storage.replace(&name(mailbox), &identity, OnlyIf::Anything).unwrap();
        let made = storage.mailbox(&name(mailbox)).unwrap();
        assert_eq!(identity_of(&*made), identity);
        assert_eq!(made.status().unwrap().messages, 0);
        assert_eq!(append(&*made, 2), uid(1));
    }
    // A mailbox to come has a UIDVALIDITY of its own.
    let far = MailboxIdentity { uid_validity: UidValidity::new(0xf000_0000).unwrap(), ..identity(9) };
    storage.replace(&name("b"), &far, OnlyIf::Anything).unwrap();
    let later = made(storage, "c");
    assert!(later.uid_validity() > far.uid_validity);
    storage.replace(&name("there"), &identity(8), OnlyIf::Anything).unwrap();
    storage.delete(&name("there")).unwrap();
}

fn inbox_is_replaced(storage: &dyn MailStorage) {
    append(&*inbox(storage), 1);
    storage.subscribe(&name("x")).unwrap();
    made(storage, "x");
    storage.replace(&MailboxName::inbox(), &IDENTITY, OnlyIf::Anything).unwrap();
    let inbox = inbox(storage);
    assert_eq!((identity_of(&*inbox), inbox.status().unwrap().messages), (IDENTITY, 0));
    assert_eq!(storage.subscriptions().unwrap(), [name("x")]);
    assert!(storage.mailbox(&name("x")).is_ok());
}

fn judged(mailbox: &dyn Mailbox) -> Judged {
    let status = mailbox.status().unwrap();
    let (uid_next, highest_modseq, messages) = (status.uid_next, status.highest_modseq, status.messages);
    Judged { identity: identity_of(mailbox), uid_next, highest_modseq, messages }
}

fn only_as_judged(storage: &dyn MailStorage) {
    let is_changed = |outcome| matches!(outcome, Err(StorageError::Changed(there)) if there == name("a"));
    let mailbox = made(storage, "a");
    for n in 1..=3 {
        append(&*mailbox, n);
    }
    let before = judged(&*mailbox);
    let _ =
        commit(&*mailbox, Batch::new().flags(change(set([uid(2)]), mailstore::FlagAction::Add, Flag::Flagged, &[])));
    let flagged = judged(&*mailbox);
    let _ = commit(&*mailbox, Batch::new().expunge(set([uid(3)])));
    append(&*mailbox, 4);
    for then in [before, flagged] {
        assert!(is_changed(storage.delete_only_if(&name("a"), &then)));
        assert!(is_changed(storage.replace(&name("a"), &IDENTITY, OnlyIf::As(then))));
    }
    assert!(is_changed(storage.replace(&name("a"), &IDENTITY, OnlyIf::Nothing)));
    let now = judged(&*mailbox);
    assert_eq!((now.identity, now.messages), (before.identity, 3));
    let another = Judged { identity: identity(5), ..now };
    assert!(is_changed(storage.delete_only_if(&name("a"), &another)));
    storage.replace(&name("a"), &IDENTITY, OnlyIf::As(now)).unwrap();
    let mailbox = storage.mailbox(&name("a")).unwrap();
    assert_eq!(identity_of(&*mailbox), IDENTITY);
    append(&*mailbox, 5);
    let now = judged(&*mailbox);
    storage.delete_only_if(&name("a"), &now).unwrap();
    assert!(mailbox.status().is_err() && storage.mailbox(&name("a")).is_err());
    // Where there is none, there is nothing to be lost.
    storage.replace(&name("a"), &identity(6), OnlyIf::As(now)).unwrap();
    storage.replace(&name("b"), &identity(7), OnlyIf::Nothing).unwrap();
}

fn uids_are_kept(storage: &dyn MailStorage) {
    let mailbox = made(storage, "a");
    let committed = commit(&*mailbox, with(with(Batch::new(), &*mailbox, 3), &*mailbox, 7));
    assert_eq!(committed.saved, [uid(3), uid(7)]);
    let batch = with(with(Batch::new(), &*mailbox, 8), &*mailbox, 100);
    let batch = batch.flags(change(set([uid(3)]), mailstore::FlagAction::Add, Flag::Flagged, &["kw"]));
    assert_eq!(commit(&*mailbox, batch).saved, [uid(8), uid(100)]);
    assert_eq!(append(&*mailbox, 9), uid(101));
    let view = view(&*mailbox);
    assert_eq!(view.uids(), set([3, 7, 8, 100, 101].map(uid)));
    for n in [3, 7, 8, 100] {
        assert_eq!(read(&*view, uid(n), 1000), message(n));
        assert!(flags_of(&*view, uid(n)).0.contains(Flag::Seen));
    }
    let rows = scan(&*view, &(Columns::flags() | Column::SaveDate | Column::InternalDate));
    let dates = |n: usize| (rows.rows[n].internal_date.unwrap().unix, rows.rows[n].save_date);
    assert_eq!(dates(0), (1_500_000_000, Some(1_600_000_000)));
}

fn taken_uids_are_refused(storage: &dyn MailStorage) {
    let mailbox = made(storage, "a");
    let _ = commit(&*mailbox, with(Batch::new(), &*mailbox, 5));
    for n in [5, 2] {
        assert!(mailbox.submit(with(Batch::new(), &*mailbox, n)).and_then(|ticket| ticket.wait()).is_err());
    }
    let descending = with(with(Batch::new(), &*mailbox, 9), &*mailbox, 8);
    assert!(mailbox.submit(descending).and_then(|ticket| ticket.wait()).is_err());
    assert_eq!(view(&*mailbox).uids(), set([uid(5)]));
    assert_eq!(commit(&*mailbox, with(Batch::new(), &*mailbox, 6)).saved, [uid(6)]);
}

fn stamps_are_kept(storage: &dyn MailStorage) {
    storage.replace(&name("a"), &IDENTITY, OnlyIf::Anything).unwrap();
    let mailbox = storage.mailbox(&name("a")).unwrap();
    for n in 1..=6 {
        let message = saved(&*mailbox, n, Pop3Identity::default());
        let kept = Kept { uid: uid(n), save_date: None };
        let _ = commit(&*mailbox, Batch::new().save_as(message, Flag::Seen.into(), vec![keyword("kw")], kept));
    }
    let modseqs = [4, 2, 1, 9, 3, 3];
    let stamp = Stamp {
        uid_next: uid(20),
        recent_from: uid(5),
        highest_modseq: modseq(9),
        modseqs: (1..=6).map(uid).zip(modseqs.map(modseq)).collect(),
    };
    let check = |mailbox: &dyn Mailbox, modseqs: [u64; 6]| {
        let view = view(mailbox);
        let rows = scan(&*view, &Columns::flags());
        assert_eq!(rows.rows.iter().map(|row| row.modseq.value()).collect::<Vec<_>>(), modseqs);
        assert!(flags_of(&*view, uid(6)).1.contains("kw"));
        assert_eq!(read(&*view, uid(6), 1000), message(6));
    };
    for _ in 0..2 {
        mailbox.stamp(&stamp).unwrap();
        let status = mailbox.status().unwrap();
        assert_eq!((status.uid_next, status.highest_modseq, status.recent), (uid(20), modseq(9), 2));
        check(&*mailbox, modseqs);
        check(&*storage.mailbox(&name("a")).unwrap(), modseqs);
    }
    // And on it goes from there, with a smaller counter once more.
    let _ =
        commit(&*mailbox, Batch::new().flags(change(set([uid(2)]), mailstore::FlagAction::Add, Flag::Flagged, &[])));
    assert_eq!(mailbox.status().unwrap().highest_modseq, modseq(10));
    check(&*mailbox, [4, 10, 1, 9, 3, 3]);
    let low = Stamp { highest_modseq: modseq(5), modseqs: vec![(uid(2), modseq(5)), (uid(4), modseq(1))], ..stamp };
    mailbox.stamp(&low).unwrap();
    check(&*mailbox, [4, 5, 1, 1, 3, 3]);
    assert_eq!(append(&*mailbox, 7), uid(20));
    assert_eq!(mailbox.status().unwrap().highest_modseq, modseq(6));
}

fn pop3_is_kept(storage: &dyn MailStorage) {
    let mailbox = made(storage, "a");
    let given = Pop3Identity { uidl: Some(b"an-id:7".to_vec()), order: Some(3) };
    let bad = Pop3Identity { uidl: Some(b"no id".to_vec()), order: None };
    let mut batch = Batch::new();
    for (n, pop3) in [(1, given), (2, bad), (3, Pop3Identity::default())] {
        batch =
            batch.save_as(saved(&*mailbox, n, pop3), Flag::Seen.into(), vec![], Kept { uid: uid(n), save_date: None });
    }
    let _ = commit(&*mailbox, batch);
    let view = view(&*mailbox);
    let saved = |n: u32| (view.saved_uidl(uid(n)).unwrap(), view.saved_pop3_order(uid(n)).unwrap());
    assert!([(Some(b"an-id:7".to_vec()), Some(3)), (None, None)].contains(&saved(1)));
    assert_eq!((saved(2), saved(3)), ((None, None), (None, None)));
}
