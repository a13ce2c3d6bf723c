//! Looking over a store: whether its files say what they must, agree with each other, and hold the messages that they
//! speak of; in words what is wrong, where, what it means, and what a repair would do; and the repair.
//!
//! # Invariants
//!
//! 1. Without [`CheckOptions::repair`] nothing is changed: no byte, no name. The disk lies below an [`Overlay`]; locks are
//!    taken all the same.
//! 2. It works beside live servers, and takes no locks but those of commits and of changes of the list. What two looks
//!    do not agree on, for somebody was at work between them, is looked at with the locks held.
//! 3. A repair removes no message that is anywhere, and keeps every file that it replaces or moves under a name of its own,
//!    `culver.damaged.<file>.<n>`.
//! 4. After a repair everything is looked at once more: what counts as repaired is what is not found any more.
//!
//! A format's part is in `Format::look` and
//! `Format::mend`; what all have in common is here.

mod body;
mod finding;
mod index;
mod list;
mod look;
mod rights;
mod run;

use std::{path::Path, sync::Arc};

use mailfs::Overlay;
use mailindex::engine::Env;
use mailtypes::MailboxName;

pub use self::finding::{CheckReport, Finding, FindingKind, Outcome};
pub(crate) use self::{index::mend_index, look::Look};
use crate::{
    store::{StoreOptions, with_format},
    traits::Result,
};

/// What is to be looked at, and whether it is to be repaired.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// Do what the findings plan.
    pub repair: bool,
    /// Read every body.
    pub deep: bool,
    /// This mailbox alone, and nothing that concerns the store.
    pub mailbox: Option<MailboxName>,
}

/// How far a check has come.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckProgress {
    /// The mailbox that is looked at.
    pub mailbox: Option<MailboxName>,
    /// Messages looked at so far.
    pub done: u64,
    /// Messages that are known of so far.
    pub known: u64,
    /// Problems found so far.
    pub problems: u64,
}

/// Looks over the store at a path, and repairs it if that is asked for. `tell` is called now and then.
///
/// Reads the index files whole and opens every message's file; [`CheckOptions::deep`] reads every body too. Fails only
/// where there is no store; what cannot be looked at is a finding.
pub fn check_storage(
    env: &Env,
    path: &Path,
    options: &StoreOptions,
    what: &CheckOptions,
    tell: &mut dyn FnMut(&CheckProgress),
) -> Result<CheckReport> {
    let env = if what.repair || options.read_only { env.clone() } else { looking(env) };
    with_format(&env, path, options, |format| run::run(format, what, tell))
}

/// For looking alone: whatever is written on the way, such as second names of files, reaches no disk.
fn looking(env: &Env) -> Env {
    if env.fs().is_overlay() {
        return env.clone();
    }
    Env::new(Arc::new(Overlay::taking_locks(Arc::clone(env.fs()))), env.options().clone())
}
