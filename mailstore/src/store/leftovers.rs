//! What other mail servers left in a store's folder, and what is to be done so that it is not lost.
//!
//! Nothing here is read as mail or changed: whoever runs the store decides. Mail itself is theirs and ours alike; what
//! they kept beside it is UIDs, subscriptions and keywords.

use std::fmt;

use mailfs::DirEntry;

/// Who left something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ForeignServer {
    /// Courier IMAP, in a Maildir.
    Courier,
    /// UW-IMAP, among mbox files.
    UwImap,
}

/// A file or folder that another server kept for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ForeignFile {
    /// Whose it is.
    pub server: ForeignServer,
    /// Its name in the store's folder.
    pub name: &'static str,
    /// What it holds.
    pub holds: &'static str,
    /// Whether Dovecot or Culver keeps the same in a file of its own by now: then it is of no use any more.
    pub is_superseded: bool,
    /// What to do before the store is opened for the first time, for it not to be lost.
    pub advice: &'static str,
}

/// What is known of theirs, with the name of that which takes its place.
const KNOWN: [(ForeignFile, &str); 4] = [
    (
        ForeignFile {
            server: ForeignServer::Courier,
            name: "courierimapuiddb",
            holds: "UIDs",
            is_superseded: false,
            advice: "copy it to dovecot-uidlist in each mailbox before anything else opens it, or messages get new UIDs \
                     and clients fetch them again",
        },
        "dovecot-uidlist",
    ),
    (
        ForeignFile {
            server: ForeignServer::Courier,
            name: "courierimapsubscribed",
            holds: "subscriptions",
            is_superseded: false,
            advice: "sed 's/^INBOX\\.//' courierimapsubscribed > subscriptions",
        },
        "subscriptions",
    ),
    (
        ForeignFile {
            server: ForeignServer::Courier,
            name: "courierimapkeywords",
            holds: "keywords",
            is_superseded: false,
            advice: "nobody but Courier reads it: have a client copy the messages over IMAP if their keywords matter, else \
                     remove it",
        },
        "dovecot-keywords",
    ),
    (
        ForeignFile {
            server: ForeignServer::UwImap,
            name: ".mailboxlist",
            holds: "subscriptions",
            is_superseded: false,
            advice: "copy it to .subscriptions, without the folder that names begin with",
        },
        ".subscriptions",
    ),
];

impl ForeignFile {
    /// Those among the entries of a store's folder.
    pub(super) fn among(entries: &[DirEntry]) -> Vec<Self> {
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let there = KNOWN.iter().filter(|(file, _)| has(file.name));
        there.map(|(file, ours)| Self { is_superseded: has(ours), ..*file }).collect()
    }
}

impl fmt::Display for ForeignServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Courier => "Courier",
            Self::UwImap => "UW-IMAP",
        })
    }
}

impl fmt::Display for ForeignFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, name, holds, .. } = self;
        match self.is_superseded {
            true => write!(f, "{server}'s {holds} in {name:?} are of no use any more"),
            false => write!(f, "{server}'s {holds} are in {name:?}: {}", self.advice),
        }
    }
}
