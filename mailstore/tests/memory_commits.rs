//! Commits in flight: a backend that takes 50 ms a commit serves a thousand tickets from four threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use mailstore::{
    Batch, Committed, MailStorage, Mailbox, SaveMeta, Saved, StorageError, View, ViewAs,
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{Flags, MailboxName};

const COMMIT: Duration = Duration::from_millis(50);
const TICKETS: usize = 1_000;
const THREADS: usize = 4;
const TIME_MAX: Duration = Duration::from_millis(200);

fn far_away() -> MemoryStorage {
    MemoryStorage::new(MemoryOptions { commit_delay: COMMIT, ..MemoryOptions::default() })
}

fn staged(mailbox: &dyn Mailbox) -> Saved {
    let mut save = mailbox.begin_save(SaveMeta::default(), None).unwrap();
    save.write(b"Subject: x\r\n\r\nbody\r\n").unwrap();
    save.finish().unwrap()
}

fn view(mailbox: &dyn Mailbox) -> Box<dyn View> {
    mailbox.view(&ViewAs::default()).unwrap()
}

/// Submits all tickets, round robin over the mailboxes, and returns what they did and how long that took.
fn submit_all(mailboxes: &[Arc<dyn Mailbox>]) -> (Vec<(usize, Committed)>, Duration) {
    let messages: Vec<Vec<(usize, Saved)>> = (0..THREADS)
        .map(|thread| {
            let tickets = (thread..TICKETS).step_by(THREADS);
            tickets.map(|n| (n % mailboxes.len(), staged(&*mailboxes[n % mailboxes.len()]))).collect()
        })
        .collect();
    let (tell, told) = mpsc::channel();
    let start = Instant::now();
    thread::scope(|scope| {
        for messages in messages {
            let tell = tell.clone();
            scope.spawn(move || {
                for (at, message) in messages {
                    let tell = tell.clone();
                    let ticket = mailboxes[at].submit(Batch::new().save(message, Flags::NONE, vec![])).unwrap();
                    ticket.on_done(move |outcome| tell.send((at, outcome.unwrap())).unwrap());
                }
            });
        }
    });
    let submitted = start.elapsed();
    assert!(submitted < COMMIT * 2, "submitting waited for commits: {submitted:?}");
    let outcomes: Vec<_> = told.iter().take(TICKETS).collect();
    (outcomes, start.elapsed())
}

#[test]
fn a_thousand_tickets_of_one_mailbox() {
    let storage = far_away();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let (outcomes, took) = submit_all(&[Arc::clone(&inbox)]);
    println!("1,000 tickets, 4 threads, 50 ms commits, one mailbox: {took:?}");
    assert!(took >= COMMIT && took < TIME_MAX, "{took:?}");
    let uids: BTreeSet<_> = outcomes.iter().map(|(_, committed)| committed.saved[0]).collect();
    assert_eq!(uids.len(), TICKETS, "every ticket has a UID of its own");
    assert_eq!(view(&*inbox).uids(), uids.into_iter().collect());
}

#[test]
fn a_thousand_tickets_of_a_hundred_mailboxes() {
    let storage = far_away();
    let mailboxes: Vec<_> = (0..100)
        .map(|n| {
            let name = MailboxName::new(&format!("m{n}")).unwrap();
            storage.create(&name).unwrap();
            storage.mailbox(&name).unwrap()
        })
        .collect();
    let (outcomes, took) = submit_all(&mailboxes);
    println!("1,000 tickets, 4 threads, 50 ms commits, 100 mailboxes: {took:?}");
    assert!(took >= COMMIT && took < TIME_MAX, "{took:?}");
    assert_eq!(outcomes.len(), TICKETS);
    assert!(mailboxes.iter().all(|mailbox| view(&**mailbox).message_count() == 10));
}

#[test]
fn nothing_is_seen_before_its_commit_is_done() {
    let storage = far_away();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let mut open = view(&*inbox);
    let (tell, told) = mpsc::channel();
    let start = Instant::now();
    let ticket = inbox.submit(Batch::new().save(staged(&*inbox), Flags::NONE, vec![])).unwrap();
    ticket.on_done(move |outcome| tell.send((outcome.unwrap(), Instant::now())).unwrap());
    let mut looks = 0;
    let (committed, done) = loop {
        open.sync(mailstore::Expunges::Apply).unwrap();
        let seen = open.message_count() + inbox.status().unwrap().messages + view(&*inbox).message_count();
        if seen > 0 {
            // Visible, so the ticket must follow at once and not another delay later.
            break told.recv_timeout(COMMIT / 2).expect("what is seen is committed");
        }
        looks += 1;
    };
    assert!(looks > 0 && done - start >= COMMIT, "{looks} looks, done after {:?}", done - start);
    assert_eq!(view(&*inbox).uids().first(), Some(committed.saved[0]));
}

#[test]
fn a_ticket_done_is_seen() {
    let storage = far_away();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    for n in 1..=3 {
        inbox.submit(Batch::new().save(staged(&*inbox), Flags::NONE, vec![])).unwrap().wait().unwrap();
        assert_eq!(view(&*inbox).message_count(), n);
    }
}

#[test]
fn commits_under_way_end_though_the_storage_is_dropped() {
    let storage = far_away();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let tickets: Vec<_> =
        (0..3).map(|_| inbox.submit(Batch::new().save(staged(&*inbox), Flags::NONE, vec![])).unwrap()).collect();
    drop((storage, inbox));
    for ticket in tickets {
        assert!(ticket.wait().is_ok());
    }
}

#[test]
fn a_batch_that_fails_takes_no_other_with_it() {
    let storage = far_away();
    let (inbox, gone) = (storage.mailbox(&MailboxName::inbox()).unwrap(), MailboxName::new("gone").unwrap());
    storage.create(&gone).unwrap();
    let source = storage.mailbox(&gone).unwrap();
    let fine = inbox.submit(Batch::new().save(staged(&*inbox), Flags::NONE, vec![])).unwrap();
    let uids = [mailtypes::Uid::MIN].into_iter().collect();
    let half = Batch::new().save(staged(&*inbox), Flags::NONE, vec![]).copy(source, uids);
    let fails = inbox.submit(half).unwrap();
    let fine_too = inbox.submit(Batch::new().save(staged(&*inbox), Flags::NONE, vec![])).unwrap();
    storage.delete(&gone).unwrap();
    assert!(fine.wait().is_ok());
    assert!(matches!(fails.wait(), Err(StorageError::Deleted(_))));
    assert!(fine_too.wait().is_ok());
    assert_eq!(view(&*inbox).message_count(), 2, "nothing of the batch that failed is there");
}

#[test]
fn messages_that_are_too_large_are_refused_by_name() {
    let storage = MemoryStorage::new(MemoryOptions { message_size_max: 100, ..MemoryOptions::default() });
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let is_limit = |error: &StorageError| matches!(error, StorageError::Limit { name: "message_size_max", limit: 100 });
    assert!(inbox.begin_save(SaveMeta::default(), Some(4 << 30)).is_err_and(|error| is_limit(&error)));
    let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
    save.write(&[b'x'; 100]).unwrap();
    assert!(save.write(b"x").is_err_and(|error| is_limit(&error)));
}
