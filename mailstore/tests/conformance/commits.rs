//! Batches and tickets: what a commit does and says.

use std::sync::{Arc, mpsc};

use mailstore::{Batch, Column, Columns, FlagAction, FlagChange, MailStorage};
use mailtypes::{Flag, Flags, InternalDate};

use super::{
    Check, append, append_with, change, commit, flags_of, inbox, keyword, made, message, name, read, save, scan, set,
    uid, view,
};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("UIDs grow in the batch's order", uids_grow),
    ("UIDs are not used again", uids_are_not_used_again),
    ("flag changes add, remove, replace", flag_changes),
    ("keywords compare without case and keep their spelling", keywords),
    ("mod-sequences grow with changes", modseqs_grow),
    ("unchanged_since leaves the newer alone", unchanged_since),
    ("a batch is carried out in order", a_batch_in_order),
    ("copies keep all but UID and place", copies_keep_all),
    ("copies within a mailbox", copies_within_a_mailbox),
    ("expunges tell what was there", expunges),
    ("tickets can be waited for, called back, dropped", tickets),
    ("status counts", status),
];

fn uids_grow(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let next = mailbox.status().unwrap().uid_next;
    let batch =
        (1..=3).fold(Batch::new(), |batch, n| batch.save(save(&*mailbox, &message(n), None), Flags::NONE, vec![]));
    let first = commit(&*mailbox, batch);
    assert_eq!(first.uid_validity, mailbox.uid_validity());
    assert!(first.saved[0] >= next);
    assert!(first.saved.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(append(&*mailbox, 4) > first.saved[2]);
    let view = view(&*mailbox);
    for (n, &uid) in first.saved.iter().enumerate() {
        assert_eq!(read(&*view, uid, 100), message(n as u32 + 1), "UIDs follow the batch's order");
    }
}

fn uids_are_not_used_again(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let last = (1..=3).map(|n| append(&*mailbox, n)).max().unwrap();
    super::names::expunge_all(&*mailbox);
    assert!(mailbox.status().unwrap().uid_next > last);
    assert!(append(&*mailbox, 4) > last);
}

fn flag_changes(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let uid = append_with(&*mailbox, 1, Flag::Seen.into(), &["one"]);
    let check = |change: FlagChange, flags: Flags, keywords: &[&str]| {
        let committed = commit(&*mailbox, Batch::new().flags(change));
        assert!(committed.modified.is_empty());
        let keywords = keywords.iter().map(|&keyword| keyword.to_owned()).collect();
        assert_eq!(flags_of(&*view(&*mailbox), uid), (flags, keywords));
    };
    let seen = Flags::from(Flag::Seen);
    check(change(set([uid]), FlagAction::Add, Flag::Flagged, &["two"]), seen | Flag::Flagged.into(), &["one", "two"]);
    check(change(set([uid]), FlagAction::Remove, Flag::Seen, &["one", "three"]), Flag::Flagged.into(), &["two"]);
    check(change(set([uid]), FlagAction::Replace, Flag::Draft, &["four"]), Flag::Draft.into(), &["four"]);
    check(change(set([uid]), FlagAction::Replace, Flags::NONE, &[]), Flags::NONE, &[]);
    check(change(set([uid]), FlagAction::Add, Flags::ALL, &[]), Flags::ALL, &[]);
    let missing = change(set([super::uid(77)]), FlagAction::Add, Flag::Seen, &["five"]);
    commit(&*mailbox, Batch::new().flags(missing));
}

fn keywords(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let uid = append_with(&*mailbox, 1, Flags::NONE, &["$Junk", "Second"]);
    commit(&*mailbox, Batch::new().flags(change(set([uid]), FlagAction::Add, Flags::NONE, &["$JUNK", "third"])));
    let view = view(&*mailbox);
    let names: Vec<String> = view.keywords().iter().map(|keyword| keyword.as_str().to_owned()).collect();
    assert_eq!(names, ["$Junk", "Second", "third"]);
    let rows = scan(&*view, &Columns::flags());
    assert_eq!(rows.keywords(&rows.rows[0]), ["$Junk", "Second", "third"].map(keyword));
    commit(&*mailbox, Batch::new().flags(change(set([uid]), FlagAction::Remove, Flags::NONE, &["SECOND"])));
    assert_eq!(flags_of(&*super::view(&*mailbox), uid).1.len(), 2);
}

fn modseqs_grow(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let mut highest = mailbox.status().unwrap().highest_modseq;
    let mut grown = |batch: Batch| {
        let now = commit(&*mailbox, batch).highest_modseq;
        assert!(now > highest);
        assert_eq!(mailbox.status().unwrap().highest_modseq, now);
        highest = now;
        now
    };
    let batch = Batch::new().save(save(&*mailbox, &message(1), None), Flags::NONE, vec![]);
    grown(batch.save(save(&*mailbox, &message(2), None), Flags::NONE, vec![]));
    let flagged = grown(Batch::new().flags(change(set([uid(1)]), FlagAction::Add, Flag::Seen, &[])));
    let rows = scan(&*view(&*mailbox), &Columns::flags()).rows;
    assert_eq!(rows[0].modseq, flagged);
    assert!(rows[1].modseq < flagged);
    let keyword = grown(Batch::new().flags(change(set([uid(2)]), FlagAction::Add, Flags::NONE, &["kw"])));
    assert_eq!(scan(&*view(&*mailbox), &Columns::flags()).rows[1].modseq, keyword);
    grown(Batch::new().expunge(set([uid(1)])));
    assert_eq!(scan(&*view(&*mailbox), &Columns::flags()).rows[0].modseq, keyword, "an expunge touches nobody else");
}

fn unchanged_since(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=3).for_each(|n| _ = append(&*mailbox, n));
    let before = mailbox.status().unwrap().highest_modseq;
    commit(&*mailbox, Batch::new().flags(change(set([uid(2)]), FlagAction::Add, Flag::Answered, &[])));
    let mut conditional = change(set([1, 2, 3, 9].map(uid)), FlagAction::Add, Flag::Flagged, &[]);
    conditional.unchanged_since = Some(before);
    let committed = commit(&*mailbox, Batch::new().flags(conditional));
    assert_eq!(committed.modified, set([uid(2)]));
    let view = view(&*mailbox);
    let flags: Vec<Flags> = (1..=3).map(|n| flags_of(&*view, uid(n)).0).collect();
    assert_eq!(flags, [Flag::Flagged.into(), Flag::Answered.into(), Flag::Flagged.into()]);
}

fn a_batch_in_order(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    append(&*mailbox, 1);
    let batch = Batch::new()
        .flags(change(set([uid(1)]), FlagAction::Add, Flag::Seen, &[]))
        .copy(Arc::clone(&mailbox), set([uid(1)]))
        .flags(change(set([uid(1)]), FlagAction::Replace, Flag::Deleted, &[]))
        .save(save(&*mailbox, &message(2), None), Flag::Draft.into(), vec![])
        .expunge(set([uid(1)]));
    let committed = commit(&*mailbox, batch);
    let [(source, copy)] = committed.copied[..] else { panic!("one copy: {committed:?}") };
    assert_eq!((source, committed.expunged), (uid(1), set([uid(1)])));
    let view = view(&*mailbox);
    assert_eq!(view.uids(), set([copy, committed.saved[0]]));
    assert_eq!(flags_of(&*view, copy).0, Flag::Seen.into(), "copied after the first change and before the second");
    assert_eq!(flags_of(&*view, committed.saved[0]).0, Flag::Draft.into());
}

fn copies_keep_all(storage: &dyn MailStorage) {
    let (source, target) = (inbox(storage), made(storage, "target"));
    append(&*target, 9);
    let saved = save(&*source, &message(1), Some(InternalDate::utc(1_500_000_000)));
    commit(&*source, Batch::new().save(saved, Flag::Answered.into(), vec![keyword("kw")]));
    append(&*source, 2);
    append(&*source, 3);
    let committed = commit(&*target, Batch::new().copy(Arc::clone(&source), set([1, 3, 50].map(uid))));
    let (sources, copies): (Vec<_>, Vec<_>) = committed.copied.iter().copied().unzip();
    assert_eq!(sources, [uid(1), uid(3)], "what is not there is passed over");
    let columns = Columns::flags() | Column::InternalDate | Column::Guid | Column::Size;
    let (from, to) = (scan(&*view(&*source), &columns), scan(&*view(&*target), &columns));
    for (source, copy) in [(0, 1), (2, 2)] {
        let (source, copy) = (from.rows[source], to.rows[copy]);
        assert_eq!(
            (copy.flags, copy.internal_date.unwrap().unix, copy.guid, copy.size),
            (source.flags, source.internal_date.unwrap().unix, source.guid, source.size)
        );
        assert_eq!(from.keywords(&source), to.keywords(&copy));
    }
    commit(&*source, Batch::new().expunge(set([uid(1)])));
    storage.delete(&name("target")).unwrap_or_default();
    assert_eq!(read(&*view(&*source), uid(3), 100), message(3), "a copy's end is not the original's");
    assert_eq!(copies.len(), 2);
}

fn copies_within_a_mailbox(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=3).for_each(|n| _ = append(&*mailbox, n));
    let committed = commit(&*mailbox, Batch::new().copy(Arc::clone(&mailbox), set([uid(1), uid(3)])));
    assert_eq!(committed.copied.iter().map(|&(source, _)| source).collect::<Vec<_>>(), [uid(1), uid(3)]);
    let copies: Vec<_> = committed.copied.iter().map(|&(_, copy)| copy).collect();
    commit(&*mailbox, Batch::new().expunge(set((1..=3).map(uid))));
    let view = view(&*mailbox);
    assert_eq!(read(&*view, copies[0], 10), message(1));
    assert_eq!(read(&*view, copies[1], 10), message(3));
}

fn expunges(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=4).for_each(|n| _ = append(&*mailbox, n));
    let first = commit(&*mailbox, Batch::new().expunge(set([2, 4, 40].map(uid))));
    assert_eq!(first.expunged, set([uid(2), uid(4)]));
    let again = commit(&*mailbox, Batch::new().expunge(set([2, 3].map(uid))));
    assert_eq!(again.expunged, set([uid(3)]));
    assert_eq!(view(&*mailbox).uids(), set([uid(1)]));
}

fn tickets(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let batch = |n| Batch::new().save(save(&*mailbox, &message(n), None), Flags::NONE, vec![]);
    let (tell, told) = mpsc::channel();
    for n in 1..=5 {
        let tell = tell.clone();
        mailbox.submit(batch(n)).unwrap().on_done(move |outcome| tell.send(outcome.unwrap().saved[0]).unwrap());
    }
    let waited = mailbox.submit(batch(6)).unwrap().wait().unwrap().saved[0];
    let mut uids: Vec<_> = told.iter().take(5).collect();
    uids.push(waited);
    uids.sort_unstable();
    assert!(uids.windows(2).all(|pair| pair[0] < pair[1]), "every commit had its own UID: {uids:?}");
    drop(mailbox.submit(batch(7)).unwrap());
    let after = mailbox.submit(batch(8)).unwrap().wait().unwrap().saved[0];
    assert_eq!(view(&*mailbox).message_count(), 8, "a ticket dropped is a commit nobody waits for");
    assert_eq!(read(&*view(&*mailbox), after, 100), message(8));
}

fn status(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    append_with(&*mailbox, 1, Flag::Seen.into(), &[]);
    append_with(&*mailbox, 2, Flag::Deleted.into(), &[]);
    append(&*mailbox, 3);
    let status = mailbox.status().unwrap();
    assert_eq!((status.messages, status.unseen, status.deleted, status.recent), (3, 2, 1, 3));
    assert_eq!(status.uid_next, uid(4));
    assert_eq!(status.uid_validity, mailbox.uid_validity());
    assert_eq!(mailbox.size().unwrap(), 3 * message(1).len() as u64);
}
