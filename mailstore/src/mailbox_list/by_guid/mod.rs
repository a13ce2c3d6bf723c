//! The mailbox list where names are in the list index alone, and folders are named by GUIDs: Dovecot's `LAYOUT=index`
//! (`docs/formats/list.md`).
//!
//! ```text
//! <index>/dovecot.list.index*                      names, and which mailbox has which
//! <root>/mailboxes/<guid>/, <index>/mailboxes/<guid>/    messages and index of a mailbox; its index has its name too
//! ```
//!
//! # Invariants
//!
//! 1. A name comes to be, goes and changes by one transaction of the list index, which is checked under the log's lock.
//!    `mailboxes.lock` is not held meanwhile: a Dovecot that holds the list index's lock may be waiting for it.
//! 2. A mailbox's folder is there, whole and durable, before a name leads to it, and goes after its name has gone. One that
//!    no name leads to is put back into the list under the name in its index, unless it is marked as deleted.
//! 3. A list index that is lost is made anew from the mailboxes' own indexes.

mod change;
#[cfg(test)]
mod power_cut;
mod rebuild;
mod seen;
mod tree;

pub(super) use change::{create, delete, rename, replace};
pub(super) use rebuild::{adopt, finish_deletion, folders};
pub(super) use seen::seen;
pub(super) use tree::{find, follow, walk};
