//! LIST and LSUB (RFC 3501 §6.3.8, §6.3.9; RFC 3348, RFC 5258, RFC 5819, RFC 6154).

use std::{collections::BTreeSet, sync::Arc};

use imap_proto::{
    List, ListMailbox, ListReturn, ListSelection, StatusItem, Tag,
    write::{self, ListAttribute},
};
use mailstore::{ListPattern, MailStorage, MailboxInfo, NamespaceInfo, NamespaceKind, Result as StorageResult};
use mailtypes::MailboxName;

use crate::{SpecialUses, codes::Target, end::End, mailboxes::status_line, session::Session, sync::Sync};

/// What a LIST asks for, made ready for the pool.
struct Listing {
    patterns: Vec<ListPattern>,
    /// Only what is subscribed.
    subscribed_only: bool,
    /// Only what has a special use.
    special_only: bool,
    /// And what has something below that is subscribed and not told.
    recursive: bool,
    tell_subscribed: bool,
    tell_children: bool,
    tell_special: bool,
    status: Vec<StatusItem>,
    special_uses: Arc<SpecialUses>,
    /// Between levels, as clients see it.
    separator: char,
}

impl Listing {
    /// As from Dovecot, a plain LIST tells of children and special uses, an extended one only if it is asked to.
    fn new(list: &List, special_uses: Arc<SpecialUses>, separator: char) -> Self {
        let is_plain = list.returns.is_none() && list.selection.is_empty() && list.patterns.len() == 1;
        let selects = |option| list.selection.contains(&option);
        let returns = |option| list.returns.iter().flatten().any(|returned| *returned == option);
        let status = list.returns.iter().flatten().find_map(|option| match option {
            ListReturn::Status(items) => Some(items.clone()),
            _ => None,
        });
        Self {
            patterns: list.patterns.iter().filter_map(|pattern| joined(&list.reference, pattern, separator)).collect(),
            subscribed_only: selects(ListSelection::Subscribed),
            special_only: selects(ListSelection::SpecialUse),
            recursive: selects(ListSelection::RecursiveMatch),
            tell_subscribed: selects(ListSelection::Subscribed) || returns(ListReturn::Subscribed),
            tell_children: is_plain || returns(ListReturn::Children),
            tell_special: is_plain || selects(ListSelection::SpecialUse) || returns(ListReturn::SpecialUse),
            status: status.unwrap_or_default(),
            special_uses,
            separator,
        }
    }
}

impl Session {
    pub(crate) async fn list(&mut self, tag: &Tag, list: &List) -> Result<(), End> {
        let separator = self.separator();
        let is_extended = list.returns.is_some() || !list.selection.is_empty();
        if let ([pattern], false) = (list.patterns.as_slice(), is_extended)
            && pattern.is_empty()
        {
            let spaces = self.state.account().map(|account| account.storage.namespaces()).unwrap_or_default();
            let root = root_of(&list.reference.pattern(separator).unwrap_or_default(), &spaces);
            write::list_root(&mut self.wire.output, separator, &root);
            return self.finish(tag, Sync::ALL, "List completed.").await;
        }
        let listing = Listing::new(list, Arc::clone(&self.ctx.special_uses), separator);
        if listing.status.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        let listed = self.on_storage(move |storage| listing.lines(storage)).await?;
        self.tell_list(tag, "LIST", listed, "List completed.").await
    }

    pub(crate) async fn namespace(&mut self, tag: &Tag) -> Result<(), End> {
        let separator = self.separator();
        let spaces = self.state.account().map(|account| account.storage.namespaces()).unwrap_or_default();
        let of = |kind| spaces.iter().filter(move |space| space.kind == kind).map(|space| &*space.prefix);
        let groups: [Vec<&str>; 3] =
            [NamespaceKind::Personal, NamespaceKind::OtherUsers, NamespaceKind::Shared].map(|kind| of(kind).collect());
        write::namespace(&mut self.wire.output, groups.each_ref().map(Vec::as_slice), separator);
        self.finish(tag, Sync::ALL, "Namespace completed.").await
    }

    pub(crate) async fn lsub(&mut self, tag: &Tag, reference: &ListMailbox, pattern: &ListMailbox) -> Result<(), End> {
        let ends_with_percent = pattern.as_wire().ends_with(b"%");
        let listed = match joined(reference, pattern, self.separator()) {
            Some(pattern) => {
                let uses = Arc::clone(&self.ctx.special_uses);
                let step = move |storage: &dyn MailStorage| lsub_lines(storage, &pattern, ends_with_percent, &uses);
                self.on_storage(step).await?
            }
            None => Ok(Vec::new()),
        };
        self.tell_list(tag, "LSUB", listed, "Lsub completed.").await
    }

    async fn tell_list(
        &mut self,
        tag: &Tag,
        doing: &'static str,
        listed: StorageResult<Vec<u8>>,
        done: &'static str,
    ) -> Result<(), End> {
        match listed {
            Ok(lines) => {
                self.wire.output.extend_from_slice(&lines);
                self.finish(tag, Sync::ALL, done).await
            }
            Err(error) => self.storage_error(tag, doing, &error, Target::Other),
        }
    }
}

/// The root of a reference, as Dovecot tells it: the prefix of its namespace, else its first level.
fn root_of(reference: &str, spaces: &[NamespaceInfo]) -> String {
    let is_in =
        |prefix: &str| reference.starts_with(prefix) || prefix.strip_suffix(MailboxName::SEPARATOR) == Some(reference);
    let prefixes = spaces.iter().map(|space| &*space.prefix).filter(|prefix| !prefix.is_empty() && is_in(prefix));
    let first = reference
        .split_inclusive(MailboxName::SEPARATOR)
        .next()
        .filter(|level| level.ends_with(MailboxName::SEPARATOR));
    prefixes.max_by_key(|prefix| prefix.len()).or(first).unwrap_or_default().to_owned()
}

/// Reference and pattern as one. `None` for what matches no name.
fn joined(reference: &ListMailbox, pattern: &ListMailbox, separator: char) -> Option<ListPattern> {
    let mut text = reference.pattern(separator)?;
    text.push_str(&pattern.pattern(separator)?);
    ListPattern::new(&text)
}

impl Listing {
    fn lines(&self, storage: &dyn MailStorage) -> StorageResult<Vec<u8>> {
        let mut subscribed = BTreeSet::new();
        for pattern in self.patterns.iter().filter(|_| self.tell_subscribed) {
            subscribed.extend(storage.subscriptions_for(pattern)?);
        }
        let mut lines = Vec::new();
        let mut told = BTreeSet::new();
        for pattern in &self.patterns {
            let found = storage.list(pattern)?;
            for info in &found {
                if self.patterns.len() > 1 && !told.insert(info.name.clone()) {
                    continue;
                }
                self.line(info, &subscribed, &mut lines);
                if info.selectable && !self.status.is_empty() && self.selects(info, &subscribed) {
                    // One that cannot be opened has no STATUS; the list goes on (RFC 5819 §2).
                    lines.extend(status_line(storage, &info.name, &self.status, None).unwrap_or_default());
                }
            }
            if self.subscribed_only && !self.special_only {
                self.missing(pattern, &found, &subscribed, &mut told, &mut lines);
            }
        }
        Ok(lines)
    }

    fn selects(&self, info: &MailboxInfo, subscribed: &BTreeSet<MailboxName>) -> bool {
        (!self.subscribed_only || subscribed.contains(&info.name))
            && (!self.special_only || self.special_use(info).is_some())
    }

    fn special_use(&self, info: &MailboxInfo) -> Option<ListAttribute> {
        self.special_uses.of(&info.name).filter(|_| info.selectable).map(ListAttribute::from)
    }

    /// A mailbox that is there, if it is selected.
    fn line(&self, info: &MailboxInfo, subscribed: &BTreeSet<MailboxName>, lines: &mut Vec<u8>) {
        let is_selected = self.selects(info, subscribed);
        let child_info = self.child_info(&info.name, is_selected, subscribed);
        if !is_selected && !child_info {
            return;
        }
        let children = if info.has_children { ListAttribute::HasChildren } else { ListAttribute::HasNoChildren };
        let attributes = [
            (self.tell_subscribed && subscribed.contains(&info.name)).then_some(ListAttribute::Subscribed),
            (!info.selectable).then_some(ListAttribute::NoSelect),
            self.tell_children.then_some(children),
            self.special_use(info).filter(|_| self.tell_special),
        ];
        let attributes: Vec<_> = attributes.into_iter().flatten().collect();
        match child_info {
            true => write::list_with_child_info(lines, &attributes, Some(self.separator), &info.name),
            false => write::list(lines, &attributes, Some(self.separator), &info.name),
        }
    }

    /// Subscribed names, and levels above such, that match and are not there.
    fn missing(
        &self,
        pattern: &ListPattern,
        found: &[MailboxInfo],
        subscribed: &BTreeSet<MailboxName>,
        told: &mut BTreeSet<MailboxName>,
        lines: &mut Vec<u8>,
    ) {
        let mut names: BTreeSet<MailboxName> = subscribed.clone();
        if self.recursive {
            names.extend(subscribed.iter().flat_map(|name| std::iter::successors(name.parent(), MailboxName::parent)));
        }
        let there: BTreeSet<&MailboxName> = found.iter().map(|info| &info.name).collect();
        for name in names.iter().filter(|name| pattern.matches(name) && !there.contains(name)) {
            let is_subscribed = subscribed.contains(name);
            let child_info = self.child_info(name, is_subscribed, subscribed);
            if !(is_subscribed || child_info) || !told.insert(name.clone()) {
                continue;
            }
            let attributes: &[_] = match is_subscribed {
                true => &[ListAttribute::Subscribed, ListAttribute::NonExistent],
                false => &[ListAttribute::NonExistent],
            };
            match child_info {
                true => write::list_with_child_info(lines, attributes, Some(self.separator), name),
                false => write::list(lines, attributes, Some(self.separator), name),
            }
        }
    }

    /// Whether subscribed mailboxes below this one are to be mentioned: with a mailbox that is selected itself always,
    /// with another only if one of them is not told itself (RFC 5258 §3.5).
    fn child_info(&self, name: &MailboxName, is_selected: bool, subscribed: &BTreeSet<MailboxName>) -> bool {
        let is_told = |name: &MailboxName| self.patterns.iter().any(|pattern| pattern.matches(name));
        self.recursive && self.subscribed_only && below(name, subscribed).any(|child| is_selected || !is_told(child))
    }
}

/// Those of a set of names that lie below a name.
fn below<'n>(name: &MailboxName, names: &'n BTreeSet<MailboxName>) -> impl Iterator<Item = &'n MailboxName> {
    let prefix = format!("{name}{}", MailboxName::SEPARATOR);
    names.iter().filter(move |below| below.as_str().starts_with(&prefix))
}

/// The subscribed names that match. Where the pattern ends in `%`, the nearest level that matches above a subscribed
/// name that does not is told as `\Noselect` (RFC 3501 §6.3.9). As from Dovecot, each has its special use, there or not.
fn lsub_lines(
    storage: &dyn MailStorage,
    pattern: &ListPattern,
    ends_with_percent: bool,
    uses: &SpecialUses,
) -> StorageResult<Vec<u8>> {
    let subscribed: BTreeSet<MailboxName> = storage.subscriptions_for(pattern)?.into_iter().collect();
    let mut told: BTreeSet<MailboxName> = subscribed.iter().filter(|name| pattern.matches(name)).cloned().collect();
    if ends_with_percent {
        for name in subscribed.iter().filter(|name| !pattern.matches(name)) {
            told.extend(std::iter::successors(name.parent(), MailboxName::parent).find(|name| pattern.matches(name)));
        }
    }
    let mut lines = Vec::new();
    for name in &told {
        let attributes =
            [(!subscribed.contains(name)).then_some(ListAttribute::NoSelect), uses.of(name).map(ListAttribute::from)];
        let attributes: Vec<_> = attributes.into_iter().flatten().collect();
        write::lsub(&mut lines, &attributes, Some(storage.separator()), name);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Dovecot 2.3.19 answers.
    #[test]
    fn roots_of_references() {
        let space = |prefix: &str| NamespaceInfo { prefix: prefix.to_owned(), kind: NamespaceKind::Personal };
        let spaces = [space(""), space("Archive/"), space("Sd/x/")];
        for (reference, root) in [
            ("", ""),
            ("Archive/", "Archive/"),
            ("Archive", "Archive/"),
            ("Archive/x/y", "Archive/"),
            ("Sd/x/", "Sd/x/"),
            ("nothing/here", "nothing/"),
            ("#news", ""),
            ("/abs", "/"),
            ("~foo/bar", "~foo/"),
            ("INBOX", ""),
        ] {
            assert_eq!(root_of(reference, &spaces), root, "{reference}");
        }
    }
}
