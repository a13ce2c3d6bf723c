//! What a check finds, in words and for programs.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use mailtypes::{Guid, MailboxName, Uid};
use serde_json::{Value, json};

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum FindingKind {
    /// Log, snapshot, backup or older log.
    Index,
    /// The cache of computed values.
    Cache,
    /// A record whose message is nowhere.
    BodyMissing,
    /// A message that no record knows.
    BodyUnknown,
    /// A message that cannot be read whole.
    BodyDamaged,
    /// A body that is not the one that was written, as its checksum tells.
    BodyChanged,
    /// A size that is not the message's.
    SizeWrong,
    /// Two messages of one identity that differ.
    GuidConflict,
    /// A Maildir's list of UIDs.
    UidList,
    /// A Maildir's list of keywords.
    Keywords,
    /// Flags or keywords in the index that are not those which the message has in its mbox.
    Flags,
    /// Two files of one name.
    NameTwice,
    /// The list of subscriptions.
    Subscriptions,
    /// The numbers that UIDVALIDITY comes from.
    UidValidity,
    /// Dovecot's cache of the list of mailboxes.
    ListIndex,
    /// The storage that the mailboxes of a store share.
    Storage,
    /// Alternate storage that cannot be looked into.
    Alternate,
    /// A file that somebody who died has left.
    Leftover,
    /// A mode with which a file cannot do what it is for.
    Rights,
    /// Something that could not be looked at.
    Unreadable,
}

impl FindingKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Cache => "cache",
            Self::BodyMissing => "body-missing",
            Self::BodyUnknown => "body-unknown",
            Self::BodyDamaged => "body-damaged",
            Self::BodyChanged => "body-changed",
            Self::SizeWrong => "size-wrong",
            Self::GuidConflict => "guid-conflict",
            Self::UidList => "uidlist",
            Self::Keywords => "keywords",
            Self::Flags => "flags",
            Self::NameTwice => "name-twice",
            Self::Subscriptions => "subscriptions",
            Self::UidValidity => "uid-validity",
            Self::ListIndex => "list-index",
            Self::Storage => "storage",
            Self::Alternate => "alternate",
            Self::Leftover => "leftover",
            Self::Rights => "rights",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What became of something that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is worth knowing, and nothing is wrong.
    Noted,
    /// It was looked at only.
    Found,
    /// It is not so any more.
    Repaired,
    /// It is still so.
    Left,
}

impl Outcome {
    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Found => "found",
            Self::Repaired => "repaired",
            Self::Left => "left",
        }
    }
}

/// Something that a check has found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// In which mailbox; `None`: it concerns the store.
    pub mailbox: Option<MailboxName>,
    /// What kind.
    pub kind: FindingKind,
    /// In which file or folder.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// Which message.
    pub uid: Option<Uid>,
    /// The message's GUID, where that helps to find another copy of it.
    pub guid: Option<Guid>,
    /// What is there, and what it means.
    pub what: String,
    /// What a repair does about it.
    pub plan: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self {
            mailbox: None,
            kind,
            path: path.into(),
            offset: None,
            uid: None,
            guid: None,
            what: what.into(),
            plan: String::new(),
            outcome: Outcome::Found,
        }
    }

    pub(crate) fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    pub(crate) fn of(self, uid: Uid) -> Self {
        Self { uid: Some(uid), ..self }
    }

    /// Of a message that may have a GUID.
    pub(crate) fn known_as(self, guid: Option<Guid>) -> Self {
        Self { guid, ..self }
    }

    pub(crate) fn plan(self, plan: impl Into<String>) -> Self {
        Self { plan: plan.into(), ..self }
    }

    /// Nothing is wrong with it.
    pub(crate) fn noted(self) -> Self {
        Self { outcome: Outcome::Noted, ..self }
    }

    /// What it is about, whatever became of it.
    pub(super) fn about(&self) -> (FindingKind, &Path, Option<Uid>, Option<&MailboxName>) {
        (self.kind, &self.path, self.uid, self.mailbox.as_ref())
    }

    /// Whether it is something that should not be.
    pub fn is_problem(&self) -> bool {
        self.outcome != Outcome::Noted
    }

    /// As one JSON value.
    pub fn json(&self) -> Value {
        json!({
            "mailbox": self.mailbox.as_ref().map(ToString::to_string),
            "kind": self.kind.name(),
            "path": self.path.to_string_lossy(),
            "offset": self.offset,
            "uid": self.uid.map(Uid::value),
            "guid": self.guid.map(|guid| guid.to_string()),
            "what": self.what,
            "plan": self.plan,
            "outcome": self.outcome.name(),
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mailbox) = &self.mailbox {
            write!(f, "{mailbox}: ")?;
        }
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        if let Some(uid) = self.uid {
            write!(f, ", UID {uid}")?;
        }
        if let Some(guid) = self.guid {
            write!(f, ", GUID {guid}")?;
        }
        write!(f, ": {}", self.what)?;
        match self.outcome {
            Outcome::Noted => {}
            Outcome::Found if self.plan.is_empty() => {}
            Outcome::Found => write!(f, " (repair: {})", self.plan)?,
            Outcome::Repaired => write!(f, " (repaired: {})", self.plan)?,
            Outcome::Left => write!(f, " (LEFT)")?,
        }
        Ok(())
    }
}

/// What a check has seen.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Mailboxes looked at.
    pub mailboxes: u64,
    /// Messages that their indexes have.
    pub messages: u64,
    /// Bytes of bodies that were read.
    pub body_bytes: u64,
    /// What was found, in the order of the mailboxes.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are told.
    pub untold: u64,
}

impl CheckReport {
    /// How many problems have this outcome.
    pub fn count(&self, outcome: &Outcome) -> u64 {
        self.findings.iter().filter(|finding| finding.outcome == *outcome).count() as u64
    }

    /// Whether there was nothing that should not be.
    pub fn is_clean(&self) -> bool {
        self.untold == 0 && !self.findings.iter().any(Finding::is_problem)
    }

    /// Whether nothing is left that should not be.
    pub fn is_whole(&self) -> bool {
        self.untold == 0 && self.count(&Outcome::Found) + self.count(&Outcome::Left) == 0
    }
}
