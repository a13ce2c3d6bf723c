//! A user's mail as a whole: the mailbox list.

use std::{fmt, sync::Arc};

use mailtypes::{MailboxName, ModSeq, Uid, UidValidity};

use super::{Judged, Keeps, Mailbox, MailboxIdentity, OnlyIf, Result, StorageError};

/// One user's mail. Every change of the list is durable when the call returns.
pub trait MailStorage: Send + Sync + fmt::Debug {
    /// The mailboxes (and levels that only lead to mailboxes) that match, INBOX first, then in order of name.
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>>;
    /// Opens a mailbox. INBOX is made if it is not there yet.
    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>>;
    /// Counts of a mailbox, after looking for changes of others; as [`Mailbox::status`], but it need not be opened where
    /// nothing changed since it was asked for last.
    fn status(&self, name: &MailboxName) -> Result<Status> {
        self.mailbox(name)?.status()
    }
    /// The same, with RFC822.SIZE of all messages together (RFC 8438).
    fn status_and_size(&self, name: &MailboxName) -> Result<(Status, u64)> {
        let mailbox = self.mailbox(name)?;
        Ok((mailbox.status()?, mailbox.size()?))
    }
    /// Whether the storage's own folder is a mailbox, [`MailboxName::storage_root`], which no list has; `None` where it can
    /// be none.
    fn has_root(&self) -> Result<Option<bool>> {
        Ok(None)
    }
    /// Makes a mailbox, and the levels above it as far as they are missing (those cannot be selected).
    fn create(&self, name: &MailboxName) -> Result<()>;
    /// Deletes a mailbox with its messages. Its children stay, and the level with them (RFC 9051 §6.3.4).
    fn delete(&self, name: &MailboxName) -> Result<()>;
    /// The same, if the mailbox is still as somebody has judged it; else [`StorageError::Changed`]. Decided under the locks of
    /// those who deliver, so that nothing goes that nobody has seen. For conversions.
    fn delete_only_if(&self, _name: &MailboxName, _judged: &Judged) -> Result<()> {
        Err(StorageError::Unsupported("deleting a mailbox only if it did not change".to_owned()))
    }
    /// Renames a mailbox and all below it. INBOX's messages move and INBOX stays, empty (RFC 9051 §6.3.6).
    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()>;
    /// Adds a name to the subscriptions; it need not exist.
    fn subscribe(&self, name: &MailboxName) -> Result<()>;
    /// Takes a name off the subscriptions.
    fn unsubscribe(&self, name: &MailboxName) -> Result<()>;
    /// Adds a name of a namespace that keeps its subscriptions here.
    fn subscribe_for(&self, name: &MailboxName, _spelled: &ForeignSpelling) -> Result<()> {
        self.subscribe(name)
    }
    /// The subscribed names, with those of namespaces that keep theirs here; levels are told as they are written where it is not
    /// known here what stands between them.
    fn subscriptions_kept(&self) -> Result<Vec<MailboxName>> {
        self.subscriptions()
    }
    /// What stands between the levels of a name in lists on disk.
    fn list_separator(&self) -> char {
        MailboxName::SEPARATOR
    }
    /// The subscribed names in order of subscribing.
    fn subscriptions(&self) -> Result<Vec<MailboxName>>;
    /// The same, with those that are told only to who asks for them by such a pattern.
    fn subscriptions_for(&self, _pattern: &ListPattern) -> Result<Vec<MailboxName>> {
        self.subscriptions()
    }
    /// A handle to the same mailbox under the name that it has now, when somebody, whoever it was, renamed it since it was
    /// opened; for [`View::follow`](crate::View::follow). Costs a `stat` for each mailbox. `None`: it is gone.
    fn follow(&self, _mailbox: &dyn Mailbox) -> Result<Option<Arc<dyn Mailbox>>> {
        Ok(None)
    }
    /// Makes an empty mailbox with an identity of another store's, and the levels above it. A mailbox that has the name,
    /// INBOX too, goes first, with its messages; fails with [`StorageError::Changed`] where it is not what it may be only,
    /// as [`MailStorage::delete_only_if`] does. For conversions.
    fn replace(&self, _name: &MailboxName, _identity: &MailboxIdentity, _only_if: OnlyIf) -> Result<()> {
        Err(StorageError::Unsupported("keeping a mailbox's identity of another store".to_owned()))
    }
    /// Whether a mailbox may be given this name here; why not, if not.
    fn check_name(&self, _name: &MailboxName) -> Result<()> {
        Ok(())
    }
    /// What of another store's mail can be kept here.
    fn keeps(&self) -> Keeps {
        Keeps::ALL
    }
    /// What clients are to see between the levels of a name, where [`MailboxName`] has `/`. No level of a name of this
    /// storage has this character in it.
    fn separator(&self) -> char {
        MailboxName::SEPARATOR
    }
    /// The namespaces that clients are told of (RFC 2342).
    fn namespaces(&self) -> Vec<NamespaceInfo> {
        vec![NamespaceInfo { prefix: String::new(), kind: NamespaceKind::Personal }]
    }
}

/// How a name of a namespace is written that keeps its subscriptions in another's list, as Dovecot has it: what clients see
/// behind the levels of the prefix, and then what that namespace's own lists would have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ForeignSpelling {
    /// Levels of the prefix.
    pub prefix_levels: usize,
    /// Behind each of them.
    pub prefix_separator: char,
    /// Between the others.
    pub separator: char,
}

/// Whose mail lies in a namespace (RFC 2342 §3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NamespaceKind {
    /// The user's own.
    #[default]
    Personal,
    /// Other users'.
    OtherUsers,
    /// Nobody's in particular.
    Shared,
}

/// A namespace as clients are told of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamespaceInfo {
    /// What names in it begin with, with `/` between levels and at the end; or nothing.
    pub prefix: String,
    /// Whose mail it is.
    pub kind: NamespaceKind,
}

/// A mailbox in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailboxInfo {
    /// Its name.
    pub name: MailboxName,
    /// Whether it holds messages; else it is only a level that leads to others (`\Noselect`).
    pub selectable: bool,
    /// Whether anything lies below it.
    pub has_children: bool,
}

/// What STATUS tells (RFC 9051 §6.3.11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// Messages.
    pub messages: u32,
    /// Messages that the next session to select the mailbox will see as `\Recent`.
    pub recent: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// The UID that the next message will have, at least.
    pub uid_next: Uid,
    /// The incarnation of the mailbox.
    pub uid_validity: UidValidity,
    /// The largest mod-sequence.
    pub highest_modseq: ModSeq,
}

/// A pattern of LIST (RFC 9051 §6.3.9): `*` matches anything, `%` anything but the separator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListPattern {
    pattern: String,
}

impl ListPattern {
    /// Longest pattern; matching costs at most its length times the name's.
    pub const LEN_MAX: usize = 1024;

    /// A pattern, as reference and pattern joined. One that is too long is `None`.
    pub fn new(pattern: &str) -> Option<Self> {
        (pattern.len() <= Self::LEN_MAX).then(|| Self { pattern: pattern.to_owned() })
    }

    /// Matches every name.
    pub fn all() -> Self {
        Self { pattern: "*".to_owned() }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether a name matches. The pattern's first level matches INBOX in any case.
    pub fn matches(&self, name: &MailboxName) -> bool {
        let name = name.as_str();
        wildcard_match(self.pattern.as_bytes(), name.as_bytes(), name.starts_with("INBOX"))
    }
}

/// Dynamic matching by the set of pattern positions that the name so far can have reached: no backtracking, so that no
/// pattern costs more than its length times the name's.
fn wildcard_match(pattern: &[u8], name: &[u8], inbox: bool) -> bool {
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let pass_wildcards = |reached: &mut [bool]| {
        for (i, byte) in pattern.iter().enumerate() {
            if reached[i] && matches!(byte, b'*' | b'%') {
                reached[i + 1] = true;
            }
        }
    };
    pass_wildcards(&mut reached);
    for (at, &c) in name.iter().enumerate() {
        let mut next = vec![false; pattern.len() + 1];
        for (i, &p) in pattern.iter().enumerate().filter(|&(i, _)| reached[i]) {
            match p {
                b'*' => next[i] = true,
                b'%' if c != b'/' => next[i] = true,
                b'%' => {}
                _ if p == c || inbox && at < 5 && p.eq_ignore_ascii_case(&c) => next[i + 1] = true,
                _ => {}
            }
        }
        pass_wildcards(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_as_in_the_rfc() {
        let check = |pattern: &str, name: &str, expect| {
            let pattern = ListPattern::new(pattern).unwrap();
            assert_eq!(pattern.matches(&MailboxName::new(name).unwrap()), expect, "{pattern:?} {name}");
        };
        check("*", "a/b/c", true);
        check("%", "a/b", false);
        check("%", "a", true);
        check("a/%", "a/b", true);
        check("a/%", "a/b/c", false);
        check("%/b", "a/b", true);
        check("a*c", "a/b/c", true);
        check("inbox", "INBOX", true);
        check("Inb%/x", "INBOX/x", true);
        check("sent", "Sent", false);
        check("", "a", false);
        check("%%%%%%%%*%%%%%b", &"a".repeat(200), false);
    }
}
