//! The mailbox list as folders (`docs/formats/list.md`, layout `fs`), subscriptions, and where UIDVALIDITY comes from.
//!
//! ```text
//! <root>/mailboxes/<name>/dbox-Mails/    a mailbox; a folder without dbox-Mails is a level that cannot be selected
//! <root>/subscriptions
//! <root>/dovecot-uidvalidity, dovecot-uidvalidity.<hex>
//! <root>/..DOVECOT-TrasH/                where mailboxes go on their way out
//! <root>/mailboxes.lock                  held while the list changes
//! ```
//!
//! # Invariants
//!
//! 1. No name leads out of `<root>/mailboxes`: names are checked where they are made ([`mailtypes::MailboxName`]), and a
//!    level that the layout needs for itself is refused here.
//! 2. Every change of the list is made under `mailboxes.lock` and is durable when it returns: each folder whose names
//!    changed is synced.
//! 3. A mailbox appears and disappears by one rename.
//! 4. Whoever changes the list marks Dovecot's own cache of it as stale.

mod layout;
mod list_index;
mod rights;
mod subscriptions;
mod uid_validity;
mod walk;

pub(crate) use layout::{Layout, MAILS_DIR};
pub(crate) use list_index::mark_stale;
pub(crate) use rights::Rights;
pub(crate) use subscriptions::Subscriptions;
pub(crate) use uid_validity::next_uid_validity;
pub(crate) use walk::{Found, walk};
