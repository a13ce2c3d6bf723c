//! Views: snapshots that change when they are synced, and only then.

use mailstore::{Batch, Changes, Column, Columns, Expunges, FlagAction, Freshness, MailStorage, StorageError, ViewAs};
use mailtypes::{Flag, Flags, SeqNum};

use super::{Check, append, append_with, change, commit, flags_of, inbox, message, read, scan, set, sync, uid, view};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a view is a snapshot", a_view_is_a_snapshot),
    ("a sync tells what changed", a_sync_tells_what_changed),
    ("expunges are told last first", expunges_are_told_last_first),
    ("held expunges stay as ghosts", held_expunges_stay_as_ghosts),
    ("new messages come while expunges are held", new_messages_while_held),
    ("numbers and UIDs agree", numbers_and_uids_agree),
    ("freshness", freshness),
    ("recent goes to one session", recent_goes_to_one_session),
    ("the first unseen", the_first_unseen),
];

fn seqs(numbers: &[u32]) -> Vec<SeqNum> {
    numbers.iter().map(|&n| SeqNum::new(n).unwrap()).collect()
}

fn a_view_is_a_snapshot(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=3).for_each(|n| _ = append(&*mailbox, n));
    let view = view(&*mailbox);
    let highest = view.highest_modseq();
    append(&*mailbox, 4);
    commit(&*mailbox, Batch::new().flags(change(set([uid(1)]), FlagAction::Add, Flag::Seen, &["new"])));
    commit(&*mailbox, Batch::new().expunge(set([uid(2)])));
    assert_eq!(view.message_count(), 3);
    assert_eq!(view.uids(), set([1, 2, 3].map(uid)));
    assert_eq!(view.uid_next(), uid(4));
    assert_eq!(view.highest_modseq(), highest);
    assert_eq!(flags_of(&*view, uid(1)), (Flags::NONE, Default::default()));
    assert!(view.keywords().is_empty());
    assert_eq!(view.seq_of(uid(3)), SeqNum::new(3));
    assert_eq!(read(&*view, uid(3), 100), message(3));
    // The body of what went may be there still or not; another's bytes it may not be.
    match view.body(uid(2)) {
        Err(StorageError::Expunged { uid: which }) => assert_eq!(which, uid(2)),
        Err(error) => panic!("{error}"),
        Ok(_) => assert_eq!(read(&*view, uid(2), 100), message(2)),
    }
}

fn a_sync_tells_what_changed(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=3).for_each(|n| _ = append(&*mailbox, n));
    let mut view = view(&*mailbox);
    assert!(sync(&mut *view).is_empty());
    append_with(&*mailbox, 4, Flag::Seen.into(), &[]);
    commit(&*mailbox, Batch::new().flags(change(set([uid(2), uid(4)]), FlagAction::Add, Flag::Flagged, &["kw"])));
    let changes = sync(&mut *view);
    let expect = Changes { flags: set([uid(2)]), appended: set([uid(4)]), keywords_grew: true, ..Changes::default() };
    assert_eq!(changes, expect, "a message that is new is not changed as well");
    assert_eq!(flags_of(&*view, uid(2)).0, Flag::Flagged.into());
    assert!(sync(&mut *view).is_empty());
    commit(&*mailbox, Batch::new().flags(change(set([uid(3)]), FlagAction::Add, Flag::Seen, &[])));
    commit(&*mailbox, Batch::new().expunge(set([uid(3)])));
    let changes = sync(&mut *view);
    assert_eq!((changes.expunged, changes.flags.is_empty()), (seqs(&[3]), true), "of what went only that is told");
    append(&*mailbox, 5);
    commit(&*mailbox, Batch::new().expunge(set([uid(5)])));
    let changes = sync(&mut *view);
    assert!(changes.appended.is_empty() && changes.expunged.is_empty(), "what came and went was never shown");
    assert_eq!(view.uid_next(), uid(6));
}

fn expunges_are_told_last_first(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=6).for_each(|n| _ = append(&*mailbox, n));
    let mut view = view(&*mailbox);
    let mut mirror: Vec<u32> = (1..=6).collect();
    commit(&*mailbox, Batch::new().expunge(set([uid(5)])));
    commit(&*mailbox, Batch::new().expunge(set([1, 2, 6].map(uid))));
    let changes = sync(&mut *view);
    assert_eq!(changes.expunged, seqs(&[6, 5, 2, 1]));
    assert_eq!(changes.expunged_uids, set([1, 2, 5, 6].map(uid)));
    for seq in changes.expunged {
        mirror.remove(seq.index() as usize);
    }
    assert_eq!(set(mirror.into_iter().map(uid)), view.uids());
}

fn held_expunges_stay_as_ghosts(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=3).for_each(|n| _ = append(&*mailbox, n));
    let mut view = view(&*mailbox);
    commit(&*mailbox, Batch::new().expunge(set([uid(2)])));
    for _ in 0..2 {
        let changes = view.sync(Expunges::Hold).unwrap();
        assert!(changes.expunged.is_empty() && changes.expunged_uids.is_empty());
        assert_eq!(view.message_count(), 3);
        assert_eq!(view.uid_at(SeqNum::new(3).unwrap()), Some(uid(3)));
        let rows = scan(&*view, &(Columns::flags() | Column::Size)).rows;
        assert_eq!(rows.iter().map(|row| row.expunged).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(rows[1].size, None);
        assert!(matches!(view.body(uid(2)), Err(StorageError::Expunged { .. })));
    }
    let changes = sync(&mut *view);
    assert_eq!((changes.expunged, changes.expunged_uids), (seqs(&[2]), set([uid(2)])));
    assert_eq!(view.message_count(), 2);
    assert_eq!(view.uid_at(SeqNum::new(2).unwrap()), Some(uid(3)));
    assert!(sync(&mut *view).is_empty());
}

fn new_messages_while_held(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=3).for_each(|n| _ = append(&*mailbox, n));
    let mut view = view(&*mailbox);
    commit(&*mailbox, Batch::new().expunge(set([uid(1), uid(3)])));
    append(&*mailbox, 4);
    commit(&*mailbox, Batch::new().flags(change(set([uid(2)]), FlagAction::Add, Flag::Seen, &[])));
    let changes = view.sync(Expunges::Hold).unwrap();
    assert_eq!((changes.appended, changes.flags), (set([uid(4)]), set([uid(2)])));
    assert_eq!(view.uids(), set([1, 2, 3, 4].map(uid)));
    assert_eq!(view.seq_of(uid(4)), SeqNum::new(4));
    assert_eq!(view.uids_at(&set([3, 4, 9].map(uid))), set([uid(3), uid(4)]));
    commit(&*mailbox, Batch::new().expunge(set([uid(4)])));
    view.sync(Expunges::Hold).unwrap();
    assert_eq!(view.message_count(), 4);
    assert_eq!(sync(&mut *view).expunged, seqs(&[4, 3, 1]));
    assert_eq!(view.uids(), set([uid(2)]));
}

fn numbers_and_uids_agree(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    (1..=6).for_each(|n| _ = append(&*mailbox, n));
    commit(&*mailbox, Batch::new().expunge(set([1, 4].map(uid))));
    let view = view(&*mailbox);
    let by_seq: Vec<_> = (1..=4).filter_map(|n| view.uid_at(SeqNum::new(n).unwrap())).collect();
    assert_eq!(by_seq, [2, 3, 5, 6].map(uid));
    for (at, &which) in by_seq.iter().enumerate() {
        assert_eq!(view.seq_of(which), SeqNum::from_index(at as u32));
    }
    assert_eq!(view.uid_at(SeqNum::new(5).unwrap()), None);
    assert_eq!(view.seq_of(uid(4)), None);
    assert_eq!(view.seq_of(uid(7)), None);
    assert_eq!(view.uids_at(&set((2..=2).chain(4..=100).map(uid))), set([uid(3), uid(6)]));
}

fn freshness(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    append(&*mailbox, 1);
    let mut view = view(&*mailbox);
    assert_ne!(view.freshness(), Freshness::Changed);
    append(&*mailbox, 2);
    assert_ne!(view.freshness(), Freshness::Same);
    sync(&mut *view);
    assert_ne!(view.freshness(), Freshness::Changed);
}

fn recent_goes_to_one_session(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    append(&*mailbox, 1);
    append(&*mailbox, 2);
    assert_eq!(mailbox.status().unwrap().recent, 2);
    let examine = mailbox.view(&ViewAs { takes_recent: false }).unwrap();
    assert_eq!(examine.recent_count(), 2, "EXAMINE sees them and takes none");
    let mut select = mailbox.view(&ViewAs { takes_recent: true }).unwrap();
    assert_eq!(select.recent_count(), 2);
    assert!(scan(&*select, &Columns::flags()).rows.iter().all(|row| row.recent));
    assert_eq!(mailbox.status().unwrap().recent, 0);
    let mut second = mailbox.view(&ViewAs { takes_recent: true }).unwrap();
    assert_eq!(second.recent_count(), 0);
    append(&*mailbox, 3);
    sync(&mut *second);
    sync(&mut *select);
    assert_eq!((second.recent_count(), select.recent_count()), (1, 2), "the first to see a new one has it");
    commit(&*mailbox, Batch::new().expunge(set([uid(1)])));
    sync(&mut *select);
    assert_eq!(select.recent_count(), 1);
}

fn the_first_unseen(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    assert_eq!(view(&*mailbox).first_unseen(), None);
    append_with(&*mailbox, 1, Flag::Seen.into(), &[]);
    append_with(&*mailbox, 2, Flag::Seen.into(), &[]);
    assert_eq!(view(&*mailbox).first_unseen(), None);
    append(&*mailbox, 3);
    append(&*mailbox, 4);
    assert_eq!(view(&*mailbox).first_unseen(), SeqNum::new(3));
}
