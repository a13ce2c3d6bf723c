//! LIST and LSUB (RFC 3501 §6.3.8, §6.3.9; RFC 3348; of RFC 5258 and RFC 5819 what needs no announcement).

use std::collections::BTreeSet;

use imap_proto::{
    List, ListMailbox, ListReturn, ListSelection, Tag,
    write::{self, Code, ListAttribute},
};
use mailstore::{ListPattern, MailStorage, MailboxInfo, Result as StorageResult};
use mailtypes::MailboxName;

use crate::{codes::Target, end::End, mailboxes::status_line, session::Session, sync::Sync};

/// Between levels, as written.
const SEPARATOR: Option<char> = Some(MailboxName::SEPARATOR);

/// What a LIST asks for, made ready for the pool.
struct Listing {
    patterns: Vec<ListPattern>,
    subscribed_only: bool,
    tell_subscribed: bool,
    status: Vec<imap_proto::StatusItem>,
}

impl Session {
    pub(crate) async fn list(&mut self, tag: &Tag, list: &List) -> Result<(), End> {
        let is_extended = list.returns.is_some() || !list.selection.is_empty();
        if let ([pattern], false) = (list.patterns.as_slice(), is_extended)
            && pattern.is_empty()
        {
            write::list(&mut self.wire.output, &[ListAttribute::NoSelect], SEPARATOR, None);
            return self.finish(tag, Sync::ALL, "List completed.").await;
        }
        let known = |option: &ListSelection| matches!(option, ListSelection::Subscribed | ListSelection::Remote);
        if !list.selection.iter().all(known) {
            return self.no(tag, Some(Code::Cannot), "Selection option is not supported.");
        }
        let mut listing = Listing {
            patterns: list.patterns.iter().filter_map(|pattern| joined(&list.reference, pattern)).collect(),
            subscribed_only: list.selection.contains(&ListSelection::Subscribed),
            tell_subscribed: list.selection.contains(&ListSelection::Subscribed),
            status: Vec::new(),
        };
        for option in list.returns.iter().flatten() {
            match option {
                ListReturn::Subscribed => listing.tell_subscribed = true,
                ListReturn::Status(items) => listing.status.clone_from(items),
                _ => {}
            }
        }
        let listed = self.on_storage(move |storage| listing.lines(storage)).await?;
        self.tell_list(tag, "LIST", listed, "List completed.").await
    }

    pub(crate) async fn lsub(&mut self, tag: &Tag, reference: &ListMailbox, pattern: &ListMailbox) -> Result<(), End> {
        let ends_with_percent = pattern.as_wire().ends_with(b"%");
        let listed = match joined(reference, pattern) {
            Some(pattern) => {
                let step = move |storage: &dyn MailStorage| lsub_lines(storage, &pattern, ends_with_percent);
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

/// Reference and pattern as one. `None` for what matches no name.
fn joined(reference: &ListMailbox, pattern: &ListMailbox) -> Option<ListPattern> {
    let mut text = reference.pattern().ok()?;
    text.push_str(&pattern.pattern().ok()?);
    ListPattern::new(&text)
}

impl Listing {
    fn lines(&self, storage: &dyn MailStorage) -> StorageResult<Vec<u8>> {
        let subscribed: BTreeSet<MailboxName> = match self.subscribed_only || self.tell_subscribed {
            true => storage.subscriptions()?.into_iter().collect(),
            false => BTreeSet::new(),
        };
        let mut lines = Vec::new();
        let mut told = BTreeSet::new();
        for pattern in &self.patterns {
            let found = storage.list(pattern)?;
            for info in &found {
                let is_subscribed = subscribed.contains(&info.name);
                if (self.subscribed_only && !is_subscribed)
                    || (self.patterns.len() > 1 && !told.insert(info.name.clone()))
                {
                    continue;
                }
                let subscribed = (is_subscribed && self.tell_subscribed).then_some(ListAttribute::Subscribed);
                let attributes: Vec<_> = attributes(info).chain(subscribed).collect();
                write::list(&mut lines, &attributes, SEPARATOR, Some(&info.name));
                if info.selectable && !self.status.is_empty() {
                    // One that cannot be opened has no STATUS; the list goes on (RFC 5819 §2).
                    lines.extend(status_line(storage, &info.name, &self.status, None).unwrap_or_default());
                }
            }
            if self.subscribed_only {
                let missing = subscribed.iter().filter(|name| pattern.matches(name));
                for name in missing.filter(|name| !found.iter().any(|info| info.name == **name)) {
                    let attributes = [ListAttribute::Subscribed, ListAttribute::NonExistent];
                    write::list(&mut lines, &attributes, SEPARATOR, Some(name));
                }
            }
        }
        Ok(lines)
    }
}

fn attributes(info: &MailboxInfo) -> impl Iterator<Item = ListAttribute> {
    let no_select = (!info.selectable).then_some(ListAttribute::NoSelect);
    let children = if info.has_children { ListAttribute::HasChildren } else { ListAttribute::HasNoChildren };
    no_select.into_iter().chain([children])
}

/// The subscribed names that match. Where the pattern ends in `%`, the nearest level that matches above a subscribed
/// name that does not is told as `\Noselect` (RFC 3501 §6.3.9).
fn lsub_lines(storage: &dyn MailStorage, pattern: &ListPattern, ends_with_percent: bool) -> StorageResult<Vec<u8>> {
    let subscribed: BTreeSet<MailboxName> = storage.subscriptions()?.into_iter().collect();
    let mut told: BTreeSet<MailboxName> = subscribed.iter().filter(|name| pattern.matches(name)).cloned().collect();
    if ends_with_percent {
        for name in subscribed.iter().filter(|name| !pattern.matches(name)) {
            told.extend(std::iter::successors(name.parent(), MailboxName::parent).find(|name| pattern.matches(name)));
        }
    }
    let mut lines = Vec::new();
    for name in &told {
        let attributes: &[_] = if subscribed.contains(name) { &[] } else { &[ListAttribute::NoSelect] };
        write::lsub(&mut lines, attributes, SEPARATOR, Some(name));
    }
    Ok(lines)
}
