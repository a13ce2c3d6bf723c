//! The part that opens files: mailboxes' indexes, read and written beside other processes.
//!
//! Everything hangs on an [`Env`]. A [`MailboxIndex`] is one mailbox's log, snapshot and cache; its state is an
//! immutable [`State`](crate::state::State) that views pin. Changes go through a queue to one leader a log
//! ([`CommitOp`]), so that many commits share one append and one sync.
//!
//! # Invariants
//!
//! 1. Nothing is written to a log without its lock; nothing waits for a lock with a mutex of the engine held (but for
//!    the one of those who flush, when a log that failed is written again).
//! 2. A state that views see never holds an append of this process that is not yet durable.
//! 3. A damaged file is set aside, never deleted, and reported with the offset and what was done.

mod another;
pub mod aside;
mod bridge;
mod cache_file;
mod commit;
mod completion;
mod create;
mod day_table;
mod env;
mod error;
mod feed;
mod flusher;
mod index;
mod inspect;
mod kept;
mod live;
mod load;
mod log_file;
mod mend;
mod open;
mod paths;
mod pool;
mod rebuild;
mod recover;
mod refresh;
mod registry;
mod restamp;
mod rotate;
mod snapshot_writer;
mod store;
mod watch;

pub use self::{
    cache_file::{CacheReader, CacheValue, CacheValues, CachedValues},
    commit::{CommitOp, CommitOutcome, CommitPoint, Durability, Exclusive},
    completion::{Completer, Completion, completion},
    create::state_of,
    day_table::host_day_start,
    env::{Background, Env, EnvOptions, Fsync},
    error::{CommitError, CommitStage, Damage, IndexError, OpError, Result},
    feed::{Changes, ChangesSince, FeedPosition},
    index::MailboxIndex,
    inspect::{IndexFinding, IndexRemedy, Inspected, at_rest, inspect},
    kept::{kept_state, restore_lost, set_kept_aside},
    mend::{mend, set_aside, set_cache_aside},
    rebuild::{RebuildMessage, rebuild, replace},
    recover::{Recovered, RecoveryAction, RecoveryReport, recover},
    store::{LockFor, MessageStore, StoreError, StoreLock},
    watch::{Freshness, IndexWatch},
};
