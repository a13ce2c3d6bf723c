//! The mailbox list as folders (`docs/formats/list.md`), subscriptions, and where UIDVALIDITY comes from; for every
//! format that has a folder for each mailbox.
//!
//! ```text
//! layout fs, dbox       <root>/mailboxes/a/b/dbox-Mails/    a folder without dbox-Mails is a level that cannot be selected
//! layout fs, Maildir    <root>/a/b/{cur,new,tmp}            a folder without cur is such a level; INBOX is the root
//! Maildir++             <root>/.a.b/{cur,new,tmp}           levels above are there because of it; INBOX is the root
//!
//! <control>/subscriptions
//! <control>/dovecot-uidvalidity, dovecot-uidvalidity.<hex>
//! <root>/..DOVECOT-TrasH/                where mailboxes go on their way out (Maildir++: ..DOVECOT-TRASHED)
//! <index>/mailboxes.lock                 held while the list changes
//! <index>/dovecot.list.index*            Dovecot's own cache of the list; with `LAYOUT=index` the only place of names
//! <index>/dovecot.mailbox.log            what replication is told
//! ```
//!
//! `<control>` and `<index>` are `<root>` unless they are set apart.
//!
//! # Invariants
//!
//! 1. No name leads out of the root: names are checked where they are made ([`mailtypes::MailboxName`]), and a level
//!    that the layout needs for itself is refused here.
//! 2. Every change of the list is made under `mailboxes.lock` and is durable when it returns: each folder whose names
//!    changed is synced. A mailbox's log lock is taken inside it, never the other way round.
//! 3. A mailbox comes to be where no list shows it and appears by one rename. One that goes is first marked as deleted
//!    in its log, so that everybody who has it open learns of it; then it disappears by one rename; then its files go.
//! 4. Whoever changes the list marks Dovecot's own cache of it as stale.

mod alternate;
mod by_guid;
mod change;
pub(crate) mod condemned;
mod follow;
mod format;
mod layout;
mod list_index;
mod mailbox_log;
mod mbox;
mod naming;
mod noted;
#[cfg(test)]
mod power_cut;
mod private;
mod recover;
mod rights;
mod seen;
mod status;
mod storage;
mod strict;
mod subscriptions;
mod trash;
pub(crate) mod uid_validity;
mod walk;

pub(crate) use alternate::{away as alternate_away, is_there as alternate_is_there, note as note_alternate};
pub(crate) use change::{ListLock, create, find, list};
use change::{delete, rename, replace};
use follow::follow;
pub(crate) use format::Format;
pub(crate) use layout::{Layout, MBOX_INDEX_DIR, MailboxDirs, Shape};
pub use layout::{ListLayout, ListOptions};
pub(crate) use list_index::{PREFIX as LIST_INDEX_PREFIX, names_store as list_index_store};
pub use mailbox_log::{MailboxLogKind, MailboxLogRecord, decode_mailbox_log, name_guid, read_mailbox_log};
pub use recover::{RecoveredMailbox, RecoveryReport};
pub(crate) use recover::{clean_leftovers, recover};
pub(crate) use rights::Rights;
pub(crate) use seen::{Held, Placed, held, seen};
use status::{status, status_and_size};
pub(crate) use storage::Listed;
pub(crate) use subscriptions::Subscriptions;
pub(crate) use trash::leftovers;
pub(crate) use uid_validity::{next_uid_validity, note_uid_validity};
