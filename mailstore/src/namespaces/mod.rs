//! Several storages under one roof: each has its mailboxes under a prefix (RFC 2342, Dovecot's `namespace` sections).
//!
//! # Invariants
//!
//! 1. A name belongs to the namespace with the longest prefix that it begins with; to no other, whatever lies in another's
//!    storage under a name that looks the same. INBOX belongs to the one that has it.
//! 2. The prefix itself, without its separator, is a level that cannot be deleted or renamed. It can be selected where the
//!    storage's own folder is a mailbox.
//! 3. No name is told in which a level has the separator that clients see.
//! 4. Names in errors, mailboxes and answers are those that clients know.

mod mailbox;
mod route;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use mailtypes::{InvalidMailboxName, MailboxName};

use self::{mailbox::NamedMailbox, route::Route};
use crate::traits::{
    ForeignSpelling, Judged, Keeps, ListPattern, MailStorage, Mailbox, MailboxIdentity, MailboxInfo, NamespaceInfo,
    NamespaceKind, OnlyIf, Result, Status, StorageError,
};

/// Whether clients are told of a namespace's mailboxes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Listing {
    /// Of them and of the prefix.
    #[default]
    Yes,
    /// Of the prefix only if there are mailboxes below it.
    Children,
    /// Only who asks for the prefix by its name.
    No,
}

/// A storage and where its mailboxes appear.
#[derive(Debug)]
pub struct Namespace {
    /// What its names begin with, with `/` between levels and at the end; empty for the one that has all others.
    pub prefix: String,
    /// Whose mail it is.
    pub kind: NamespaceKind,
    /// It has INBOX. One namespace does.
    pub inbox: bool,
    /// NAMESPACE does not tell of it.
    pub hidden: bool,
    /// Whether LIST tells of it.
    pub list: Listing,
    /// It keeps subscriptions of its own; else they stand in those of the namespace that its prefix lies in.
    pub subscriptions: bool,
    /// Its mailboxes.
    pub storage: Arc<dyn MailStorage>,
}

/// Why namespaces do not go together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// None has INBOX, or more than one.
    #[error("{0} namespaces have INBOX; one must")]
    Inbox(usize),
    /// Two with one prefix.
    #[error("two namespaces have the prefix {0:?}")]
    Twice(String),
    /// A prefix that no name can begin with.
    #[error("the prefix {prefix:?} is no name with a separator behind it{}", source.map(|e| format!(": {e}")).unwrap_or_default())]
    Prefix {
        /// As given.
        prefix: String,
        /// What is wrong with the name.
        source: Option<InvalidMailboxName>,
    },
    /// Nobody keeps its subscriptions.
    #[error("the namespace with the prefix {0:?} keeps no subscriptions, and it lies in none that does")]
    Subscriptions(String),
    /// A separator that is none.
    #[error("{0:?} cannot separate levels")]
    Separator(char),
}

/// Several storages, as one.
pub struct Namespaces {
    spaces: Vec<Namespace>,
    separator: char,
}

/// Whether something can stand between levels.
fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '"' | '*' | '%' | '(' | ')' | '{' | '&')
}

impl Namespaces {
    /// Joins them. `separator`: what clients see between levels, in all of them.
    pub fn new(spaces: Vec<Namespace>, separator: char) -> std::result::Result<Self, NamespaceError> {
        if !is_separator(separator) {
            return Err(NamespaceError::Separator(separator));
        }
        let inboxes = spaces.iter().filter(|space| space.inbox).count();
        if inboxes != 1 {
            return Err(NamespaceError::Inbox(inboxes));
        }
        for (at, space) in spaces.iter().enumerate() {
            let prefix = &space.prefix;
            if spaces.iter().take(at).any(|other| other.prefix == *prefix) {
                return Err(NamespaceError::Twice(prefix.clone()));
            }
            let wrong = |source| NamespaceError::Prefix { prefix: prefix.clone(), source };
            if !prefix.is_empty() {
                let name = prefix.strip_suffix('/').ok_or_else(|| wrong(None))?;
                let checked = MailboxName::new(name).map_err(|e| wrong(Some(e)))?;
                if checked.as_str() != name || separator != '/' && name.contains(separator) {
                    return Err(wrong(None));
                }
            }
        }
        let joined = Self { spaces, separator };
        for at in 0..joined.spaces.len() {
            joined.subscribed_in(at).ok_or_else(|| {
                NamespaceError::Subscriptions(joined.spaces.get(at).map(|s| s.prefix.clone()).unwrap_or_default())
            })?;
        }
        Ok(joined)
    }

    /// The namespaces.
    pub fn spaces(&self) -> &[Namespace] {
        &self.spaces
    }

    /// The namespace that keeps the subscriptions of another.
    fn subscribed_in(&self, at: usize) -> Option<usize> {
        let space = self.spaces.get(at)?;
        if space.subscriptions {
            return Some(at);
        }
        let above = self.spaces.iter().enumerate().filter(|(_, other)| {
            other.subscriptions && other.prefix.len() < space.prefix.len() && space.prefix.starts_with(&other.prefix)
        });
        above.max_by_key(|(_, other)| other.prefix.len()).map(|(at, _)| at)
    }

    /// The storage of a mailbox and its name there.
    fn mailbox_route(&self, name: &MailboxName) -> Result<(usize, &Namespace, MailboxName)> {
        match self.route(name) {
            Route::Mailbox(at, inner) => {
                let space = self.spaces.get(at).ok_or_else(|| StorageError::NotFound(name.clone()))?;
                Ok((at, space, inner))
            }
            Route::Prefix(at) => match self.spaces.get(at) {
                Some(space) if space.storage.has_root()?.is_some() => Ok((at, space, MailboxName::storage_root())),
                _ => Err(StorageError::NotSelectable(name.clone())),
            },
            Route::Nowhere => Err(StorageError::NotFound(name.clone())),
        }
    }

    fn wrapped(&self, at: usize, name: MailboxName, mailbox: Arc<dyn Mailbox>) -> Arc<dyn Mailbox> {
        match self.spaces.get(at) {
            Some(space) if !space.prefix.is_empty() && *mailbox.name() != name => {
                Arc::new(NamedMailbox::new(name, mailbox))
            }
            _ => mailbox,
        }
    }

    /// What a namespace has that matches, and whether it has anything at all below its prefix.
    fn list_space(
        &self,
        at: usize,
        pattern: &ListPattern,
        into: &mut BTreeMap<MailboxName, MailboxInfo>,
    ) -> Result<()> {
        let Some(space) = self.spaces.get(at) else { return Ok(()) };
        if !space.is_asked_for(pattern) {
            return Ok(());
        }
        if !space.prefix.is_empty() && !may_match(pattern, &space.prefix) && !space.inbox {
            return Ok(());
        }
        let asked = if space.prefix.is_empty() { pattern.clone() } else { ListPattern::all() };
        let mut has_children = false;
        for info in space.storage.list(&asked)? {
            let Some(name) = self.outward(at, &info.name) else { continue };
            has_children |= !name.is_inbox();
            if pattern.matches(&name) {
                let has_children = info.has_children && !name.is_inbox()
                    || name.is_inbox() && space.prefix.is_empty() && info.has_children;
                merge(into, MailboxInfo { name, has_children, ..info });
            }
        }
        let tells = match space.list {
            Listing::Yes => true,
            Listing::Children => has_children,
            Listing::No => false,
        };
        if tells && !space.prefix.is_empty() {
            self.list_prefix(space, has_children, pattern, into)?;
        }
        Ok(())
    }

    /// The prefix, and levels above it.
    fn list_prefix(
        &self,
        space: &Namespace,
        has_children: bool,
        pattern: &ListPattern,
        into: &mut BTreeMap<MailboxName, MailboxInfo>,
    ) -> Result<()> {
        let Ok(level) = MailboxName::new(space.prefix.trim_end_matches('/')) else { return Ok(()) };
        let mut above = level.parent();
        while let Some(name) = above {
            above = name.parent();
            if pattern.matches(&name) {
                merge(into, MailboxInfo { name, selectable: false, has_children: true });
            }
        }
        // INBOX is listed by the namespace that has it.
        if pattern.matches(&level) && (!level.is_inbox() || has_children) {
            let selectable = space.storage.has_root()? == Some(true);
            merge(into, MailboxInfo { name: level, selectable, has_children });
        }
        Ok(())
    }

    /// An error with the name that clients know.
    fn tell(&self, at: usize, error: StorageError) -> StorageError {
        let outward = |name: MailboxName| self.outward(at, &name).unwrap_or(name);
        match error {
            StorageError::NotFound(name) => StorageError::NotFound(outward(name)),
            StorageError::AlreadyExists(name) => StorageError::AlreadyExists(outward(name)),
            StorageError::NotSelectable(name) => StorageError::NotSelectable(outward(name)),
            StorageError::Deleted(name) => StorageError::Deleted(outward(name)),
            StorageError::Changed(name) => StorageError::Changed(outward(name)),
            StorageError::Moved(name) => StorageError::Moved(outward(name)),
            other => other,
        }
    }
}

/// Two storages may tell of one level.
fn merge(into: &mut BTreeMap<MailboxName, MailboxInfo>, info: MailboxInfo) {
    match into.get_mut(&info.name) {
        Some(there) => {
            there.selectable |= info.selectable;
            there.has_children |= info.has_children;
        }
        None => {
            into.insert(info.name.clone(), info);
        }
    }
}

/// Whether names that begin so, or the levels of the prefix, can match a pattern.
fn may_match(pattern: &ListPattern, prefix: &str) -> bool {
    let pattern = pattern.as_str();
    let literal = pattern.split(['*', '%']).next().unwrap_or_default();
    // INBOX in any case is for the pattern to decide.
    let same =
        |a: &str, b: &str| a.len() <= b.len() && b.is_char_boundary(a.len()) && b[..a.len()].eq_ignore_ascii_case(a);
    same(literal, prefix) || same(prefix, literal)
}

impl MailStorage for Namespaces {
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
        let mut found = BTreeMap::new();
        for at in 0..self.spaces.len() {
            self.list_space(at, pattern, &mut found)?;
        }
        let mut found: Vec<MailboxInfo> = found.into_values().collect();
        found.sort_by(|a, b| (!a.name.is_inbox(), &a.name).cmp(&(!b.name.is_inbox(), &b.name)));
        Ok(found)
    }

    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        let (at, space, inner) = self.mailbox_route(name)?;
        let mailbox = space.storage.mailbox(&inner).map_err(|e| self.tell(at, e))?;
        Ok(self.wrapped(at, name.clone(), mailbox))
    }

    fn status(&self, name: &MailboxName) -> Result<Status> {
        let (at, space, inner) = self.mailbox_route(name)?;
        space.storage.status(&inner).map_err(|e| self.tell(at, e))
    }

    fn status_and_size(&self, name: &MailboxName) -> Result<(Status, u64)> {
        let (at, space, inner) = self.mailbox_route(name)?;
        space.storage.status_and_size(&inner).map_err(|e| self.tell(at, e))
    }

    fn create(&self, name: &MailboxName) -> Result<()> {
        let (at, space, inner) = match self.mailbox_route(name) {
            Err(StorageError::NotSelectable(name)) => return Err(StorageError::AlreadyExists(name)),
            Err(StorageError::NotFound(_)) => {
                return Err(StorageError::NotPossible("The name lies in no namespace"));
            }
            other => other?,
        };
        space.storage.create(&inner).map_err(|e| self.tell(at, e))
    }

    fn delete(&self, name: &MailboxName) -> Result<()> {
        if let Route::Prefix(_) = self.route(name) {
            return Err(StorageError::NotPossible("Storage root can't be deleted"));
        }
        let (at, space, inner) = self.mailbox_route(name)?;
        space.storage.delete(&inner).map_err(|e| self.tell(at, e))
    }

    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let is_root = |name: &MailboxName| matches!(self.route(name), Route::Prefix(_));
        if is_root(from) || is_root(to) {
            return Err(StorageError::NotPossible("Storage root can't be renamed"));
        }
        let (at, space, inner) = self.mailbox_route(from)?;
        match self.mailbox_route(to) {
            Ok((there, _, new)) if there == at => space.storage.rename(&inner, &new).map_err(|e| self.tell(at, e)),
            _ => Err(StorageError::NotPossible("Can't rename mailboxes across specified storages")),
        }
    }

    fn subscribe(&self, name: &MailboxName) -> Result<()> {
        let (at, keeper_at) = self.keeper_of(name)?;
        let (Some(space), Some(keeper)) = (self.spaces.get(at), self.spaces.get(keeper_at)) else {
            return Err(StorageError::NotFound(name.clone()));
        };
        let inner = self.kept_name(at, keeper_at, name)?;
        if at == keeper_at {
            return keeper.storage.subscribe(&inner);
        }
        if !self.lines_for(keeper_at, name)?.is_empty() {
            return Ok(());
        }
        let prefix = space.prefix.strip_prefix(&keeper.prefix).unwrap_or(&space.prefix);
        let spelled = ForeignSpelling {
            prefix_levels: prefix.matches('/').count(),
            prefix_separator: self.separator,
            separator: space.storage.list_separator(),
        };
        keeper.storage.subscribe_for(&inner, &spelled)
    }

    fn unsubscribe(&self, name: &MailboxName) -> Result<()> {
        let (at, keeper_at) = self.keeper_of(name)?;
        let Some(keeper) = self.spaces.get(keeper_at) else { return Err(StorageError::NotFound(name.clone())) };
        if at == keeper_at {
            return keeper.storage.unsubscribe(&self.kept_name(at, keeper_at, name)?);
        }
        self.lines_for(keeper_at, name)?.iter().try_for_each(|line| keeper.storage.unsubscribe(line))
    }

    /// Namespace by namespace; those that are not listed are not told here either.
    fn subscriptions(&self) -> Result<Vec<MailboxName>> {
        self.subscriptions_where(|space| space.list != Listing::No)
    }

    fn subscriptions_for(&self, pattern: &ListPattern) -> Result<Vec<MailboxName>> {
        self.subscriptions_where(|space| space.is_asked_for(pattern))
    }

    fn follow(&self, mailbox: &dyn Mailbox) -> Result<Option<Arc<dyn Mailbox>>> {
        let (at, space, _) = self.mailbox_route(mailbox.name())?;
        let Some(found) = space.storage.follow(mailbox)? else { return Ok(None) };
        let Some(name) = self.outward(at, found.name()) else { return Ok(None) };
        Ok(Some(self.wrapped(at, name, found)))
    }

    fn delete_only_if(&self, name: &MailboxName, judged: &Judged) -> Result<()> {
        if let Route::Prefix(_) = self.route(name) {
            return Err(StorageError::NotPossible("Storage root can't be deleted"));
        }
        let (at, space, inner) = self.mailbox_route(name)?;
        space.storage.delete_only_if(&inner, judged).map_err(|e| self.tell(at, e))
    }

    fn replace(&self, name: &MailboxName, identity: &MailboxIdentity, only_if: OnlyIf) -> Result<()> {
        let (at, space, inner) = self.mailbox_route(name)?;
        space.storage.replace(&inner, identity, only_if).map_err(|e| self.tell(at, e))
    }

    fn check_name(&self, name: &MailboxName) -> Result<()> {
        let (at, space, inner) = self.mailbox_route(name)?;
        space.storage.check_name(&inner).map_err(|e| self.tell(at, e))
    }

    /// What the storage of INBOX can.
    fn keeps(&self) -> Keeps {
        self.spaces.iter().find(|space| space.inbox).map_or(Keeps::ALL, |space| space.storage.keeps())
    }

    fn separator(&self) -> char {
        self.separator
    }

    fn namespaces(&self) -> Vec<NamespaceInfo> {
        let told = self.spaces.iter().filter(|space| !space.hidden);
        told.map(|space| NamespaceInfo { prefix: space.prefix.clone(), kind: space.kind }).collect()
    }
}

impl Namespace {
    /// Whether its mailboxes are told to who asks for this.
    fn is_asked_for(&self, pattern: &ListPattern) -> bool {
        self.list != Listing::No || self.prefix.is_empty() || pattern.as_str().starts_with(&self.prefix)
    }
}

impl Namespaces {
    fn subscriptions_where(&self, is_told: impl Fn(&Namespace) -> bool) -> Result<Vec<MailboxName>> {
        let mut names = Vec::new();
        for (at, space) in self.spaces.iter().enumerate().filter(|(_, space)| space.subscriptions) {
            let own = space.storage.subscriptions()?;
            let keeps_others = (0..self.spaces.len()).any(|other| other != at && self.subscribed_in(other) == Some(at));
            let (kept, own) = match keeps_others {
                true => (space.storage.subscriptions_kept()?, Some(own.into_iter().collect::<BTreeSet<_>>())),
                false => (own, None),
            };
            for inner in kept {
                let Some((owner, name)) = self.subscribed_name(at, &inner) else { continue };
                let is_own = owner != at || own.as_ref().is_none_or(|own| own.contains(&inner));
                let is_kept_here = is_own && self.subscribed_in(owner) == Some(at);
                if is_kept_here && self.spaces.get(owner).is_some_and(&is_told) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// What a name in the subscriptions of a namespace means, and whose it is: names of others may be written with what clients
    /// see between levels, or with what stands there in the other's own lists.
    fn subscribed_name(&self, keeper: usize, kept: &MailboxName) -> Option<(usize, MailboxName)> {
        let as_seen = || {
            let split = kept.as_str().replace(self.separator, "/");
            let split = MailboxName::new(split.trim_end_matches('/')).ok()?;
            self.outward_anywhere(keeper, &split).filter(|(owner, _)| *owner != keeper)
        };
        let (owner, name) = self.outward_anywhere(keeper, kept).or_else(as_seen)?;
        let space = self.spaces.get(owner).filter(|_| owner != keeper);
        let rest = space.and_then(|space| Some((space, name.as_str().strip_prefix(&space.prefix)?)));
        match rest {
            Some((space, rest)) if rest.contains(space.storage.list_separator()) => {
                let split = rest.replace(space.storage.list_separator(), "/");
                Some((owner, MailboxName::new(&format!("{}{split}", space.prefix)).ok()?))
            }
            _ => Some((owner, name)),
        }
    }

    /// The names in the subscriptions of a namespace that mean another's mailbox.
    fn lines_for(&self, keeper: usize, name: &MailboxName) -> Result<Vec<MailboxName>> {
        let Some(space) = self.spaces.get(keeper) else { return Ok(Vec::new()) };
        let mut lines = space.storage.subscriptions_kept()?;
        lines.retain(|line| self.subscribed_name(keeper, line).is_some_and(|(_, meant)| meant == *name));
        Ok(lines)
    }

    /// The namespace of a name, and that which keeps its subscriptions.
    fn keeper_of(&self, name: &MailboxName) -> Result<(usize, usize)> {
        match self.route(name) {
            Route::Mailbox(at, _) | Route::Prefix(at) => Ok((at, self.subscribed_in(at).unwrap_or(at))),
            Route::Nowhere => Err(StorageError::NotFound(name.clone())),
        }
    }

    /// What a name is called where its subscription is kept.
    fn kept_name(&self, at: usize, keeper: usize, name: &MailboxName) -> Result<MailboxName> {
        match self.route(name) {
            Route::Mailbox(_, inner) if at == keeper => return Ok(inner),
            Route::Prefix(_) if at == keeper => return Ok(MailboxName::storage_root()),
            _ => {}
        }
        let prefix = self.spaces.get(keeper).map_or("", |keeper| &keeper.prefix);
        let rest = name.as_str().strip_prefix(prefix).unwrap_or(name.as_str());
        MailboxName::new(rest).map_err(|source| StorageError::InvalidName { name: name.to_string(), source })
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespaces").field("spaces", &self.spaces).field("separator", &self.separator).finish()
    }
}

#[cfg(test)]
mod tests;
