//! The change feed and watches.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use mailstore::{Batch, ChangesSince, FlagAction, MailStorage, Mailbox, Position};
use mailtypes::{Flag, UidSet};

use super::{Check, append, change, commit, inbox, made, name, set, uid, view};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("a follower ends where the mailbox is", a_follower_ends_where_the_mailbox_is),
    ("a position of another mailbox is too old", a_position_of_another_incarnation),
    ("watches wake until they are dropped", watches),
];

struct Follower {
    uids: UidSet,
    at: Position,
}

impl Follower {
    fn follow(&mut self, mailbox: &dyn Mailbox) -> (UidSet, UidSet) {
        match mailbox.changes_since(&self.at).unwrap() {
            ChangesSince::Changes { appended, flags, expunged, now } => {
                self.uids = self.uids.union(&appended).difference(&expunged);
                self.at = now;
                (appended, flags)
            }
            ChangesSince::TooOld { .. } => panic!("so short a history is known"),
        }
    }
}

fn a_follower_ends_where_the_mailbox_is(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    append(&*mailbox, 1);
    append(&*mailbox, 2);
    let mut follower = Follower { uids: view(&*mailbox).uids(), at: mailbox.position().unwrap() };
    assert!(follower.at.token.len() <= Position::TOKEN_LEN_MAX);
    let start = follower.at.clone();
    append(&*mailbox, 3);
    commit(&*mailbox, Batch::new().flags(change(set([uid(1)]), FlagAction::Add, Flag::Seen, &[])));
    let (appended, flags) = follower.follow(&*mailbox);
    assert_eq!((appended, flags), (set([uid(3)]), set([uid(1)])));
    commit(&*mailbox, Batch::new().expunge(set([uid(2)])));
    append(&*mailbox, 4);
    commit(&*mailbox, Batch::new().expunge(set([uid(4)])));
    follower.follow(&*mailbox);
    assert_eq!(follower.uids, view(&*mailbox).uids());
    assert_eq!(follower.at.modseq, mailbox.status().unwrap().highest_modseq);
    let (appended, flags) = follower.follow(&*mailbox);
    assert!(appended.is_empty() && flags.is_empty());
    // One that stayed away comes to the same.
    let mut late = Follower { uids: set([uid(1), uid(2)]), at: start };
    late.follow(&*mailbox);
    assert_eq!((late.uids, late.at), (follower.uids, follower.at));
}

fn a_position_of_another_incarnation(storage: &dyn MailStorage) {
    let position = made(storage, "m").position().unwrap();
    storage.delete(&name("m")).unwrap();
    let anew = made(storage, "m");
    assert!(matches!(anew.changes_since(&position), Ok(ChangesSince::TooOld { .. })));
}

fn watches(storage: &dyn MailStorage) {
    let mailbox = inbox(storage);
    let (tell, told) = mpsc::channel();
    let watch = mailbox.watch(Arc::new(move || _ = tell.send(()))).unwrap();
    append(&*storage.mailbox(&name("INBOX")).unwrap(), 1);
    assert!(told.recv_timeout(Duration::from_secs(10)).is_ok(), "an append wakes");
    while told.recv_timeout(Duration::from_millis(200)).is_ok() {}
    commit(&*mailbox, Batch::new().flags(change(set([uid(1)]), FlagAction::Add, Flag::Seen, &[])));
    assert!(told.recv_timeout(Duration::from_secs(10)).is_ok(), "a change of flags wakes");
    drop(watch);
    append(&*mailbox, 2);
    while told.recv_timeout(Duration::from_millis(200)).is_ok() {}
    assert!(told.recv_timeout(Duration::ZERO).is_err());
}
