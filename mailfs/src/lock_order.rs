//! The order in which locks may be taken (`docs/formats/locking.md`, Order), asserted in debug builds.
//!
//! Nothing detects a cycle of open-file-description locks, so the order is all that keeps two of our own from waiting for
//! each other. Each thread has a stack of the ranks it holds.

use std::{cell::RefCell, marker::PhantomData};

/// Kinds of locks, first to be taken first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LockRank {
    /// `dovecot.list.index.log`, before all others: Dovecot waits for `mailboxes.lock` while it holds this one (seen: both
    /// sides stood for a minute).
    ListLog,
    /// `mailboxes.lock`.
    Mailboxes,
    /// `dovecot-vsize.lock`.
    Vsize,
    /// `dovecot-uidlist.lock` and mbox locks.
    Uidlist,
    /// The flock of an `m.<id>` file, which is never waited for.
    MFile,
    /// `dovecot.map.index.log`.
    MapLog,
    /// A mailbox's `dovecot.index.log`.
    MailboxLog,
    /// `dovecot.index.cache`.
    Cache,
}

thread_local! {
    static HELD: RefCell<Vec<LockRank>> = const { RefCell::new(Vec::new()) };
}

/// The order of locks of the calling thread.
#[derive(Debug)]
pub struct LockOrder;

impl LockOrder {
    /// To be called before a lock of this rank is waited for, and the guard kept as long as the lock.
    ///
    /// # Panics
    ///
    /// In debug builds, when the thread holds a rank that is to be taken after this one, or the same one. In release
    /// builds nothing is checked and nothing is paid.
    pub fn enter(rank: LockRank) -> RankGuard {
        if cfg!(debug_assertions) {
            let held = HELD.with_borrow(Clone::clone);
            assert!(held.iter().all(|h| *h < rank), "lock order: {rank:?} asked for while {held:?} is held");
            HELD.with_borrow_mut(|held| held.push(rank));
        }
        RankGuard { rank, not_send: PhantomData }
    }
}

/// A rank in force on this thread; dropping it ends it. Stays on the thread it was made on.
#[derive(Debug)]
#[must_use = "the rank is held as long as the guard"]
pub struct RankGuard {
    rank: LockRank,
    not_send: PhantomData<*const ()>,
}

impl RankGuard {
    /// Which.
    pub fn rank(&self) -> LockRank {
        self.rank
    }
}

impl Drop for RankGuard {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.with_borrow_mut(|held| {
                if let Some(at) = held.iter().rposition(|h| *h == self.rank) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_is_fine_and_released_ranks_do_not_count() {
        let outer = LockOrder::enter(LockRank::Mailboxes);
        let inner = LockOrder::enter(LockRank::MailboxLog);
        drop(LockOrder::enter(LockRank::Cache));
        drop(inner);
        drop(LockOrder::enter(LockRank::Vsize));
        drop(outer);
        let list = LockOrder::enter(LockRank::ListLog);
        drop(LockOrder::enter(LockRank::MailboxLog));
        drop(list);
    }

    #[test]
    #[should_panic(expected = "MapLog asked for while [MailboxLog] is held")]
    #[cfg(debug_assertions)]
    fn descending_is_refused() {
        let _log = LockOrder::enter(LockRank::MailboxLog);
        let _map = LockOrder::enter(LockRank::MapLog);
    }

    #[test]
    #[should_panic(expected = "MailboxLog asked for while [MailboxLog] is held")]
    #[cfg(debug_assertions)]
    fn two_of_a_rank_are_refused() {
        let _one = LockOrder::enter(LockRank::MailboxLog);
        let _two = LockOrder::enter(LockRank::MailboxLog);
    }

    #[test]
    #[should_panic(expected = "ListLog asked for")]
    #[cfg(debug_assertions)]
    fn the_list_log_is_taken_after_the_mailbox_locks_are_released() {
        let _log = LockOrder::enter(LockRank::MailboxLog);
        let _list = LockOrder::enter(LockRank::ListLog);
    }

    #[test]
    fn threads_do_not_see_each_other() {
        let _log = LockOrder::enter(LockRank::Cache);
        std::thread::spawn(|| drop(LockOrder::enter(LockRank::Mailboxes))).join().expect("no panic");
    }
}
