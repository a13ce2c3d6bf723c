//! One conversion: looks at both sides, renames, converts mailbox by mailbox, deletes, subscribes.

use std::collections::{BTreeMap, BTreeSet};

use mailtypes::{Guid, MailboxName};

use super::{
    Action, ConvertOptions, ConvertProgress, ConvertSummary, ConvertedMailbox, FailureCause, Journal, Loss, Names,
    is_of_all, mailbox::judged, snapshot::Snapshot,
};
use crate::traits::{Keeps, ListPattern, MailStorage, MailboxIdentity, Result, StorageError};

/// See the module.
pub(super) struct Run<'a> {
    pub(super) source: &'a dyn MailStorage,
    pub(super) destination: &'a dyn MailStorage,
    pub(super) journal: &'a mut Journal,
    pub(super) options: &'a ConvertOptions,
    pub(super) tell: &'a mut dyn FnMut(&ConvertProgress),
    pub(super) summary: ConvertSummary,
    pub(super) names: Names,
    pub(super) keeps: Keeps,
    /// Mailboxes of the destination by name, as they will be called.
    pub(super) there: BTreeMap<MailboxName, There>,
    /// GUIDs of all mailboxes of the source.
    pub(super) source_guids: BTreeSet<Guid>,
    /// There are mailboxes in the source whose GUIDs are not known.
    has_unknown: bool,
    /// Messages that lost something, all mailboxes together.
    pub(super) without_pop3: u64,
    pub(super) completed: u64,
    pub(super) without_fields: u64,
}

/// A mailbox of the destination.
#[derive(Clone, Debug)]
pub(super) struct There {
    pub(super) identity: MailboxIdentity,
    /// What it is called now: in a dry run it keeps its name.
    pub(super) name: MailboxName,
}

/// A mailbox of the source.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: MailboxName,
    /// Its name in the destination.
    pub(super) to: MailboxName,
    pub(super) identity: MailboxIdentity,
    pub(super) renamed_from: Option<MailboxName>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        source: &'a dyn MailStorage,
        destination: &'a dyn MailStorage,
        journal: &'a mut Journal,
        options: &'a ConvertOptions,
        tell: &'a mut dyn FnMut(&ConvertProgress),
    ) -> Self {
        Self {
            source,
            destination,
            journal,
            options,
            tell,
            summary: ConvertSummary::default(),
            names: Names::default(),
            keeps: destination.keeps(),
            there: BTreeMap::new(),
            source_guids: BTreeSet::new(),
            has_unknown: false,
            without_pop3: 0,
            completed: 0,
            without_fields: 0,
        }
    }

    pub(super) fn all(mut self) -> Result<ConvertSummary> {
        let mut found = self.look_at_source()?;
        self.look_at_destination()?;
        // First, for what goes may be in the way of what comes.
        self.delete()?;
        self.rename(&mut found)?;
        for found in &found {
            self.one(found)?;
        }
        self.subscribe()?;
        self.note_losses();
        (self.tell)(&self.summary.progress);
        Ok(self.summary)
    }

    fn look_at_source(&mut self) -> Result<Vec<Found>> {
        let infos = self.source.list(&ListPattern::all())?;
        self.names = Names::of(&infos, self.destination);
        let mut found = Vec::new();
        for info in infos.into_iter().filter(|info| info.selectable) {
            let is_wanted = self.options.mailboxes.matches(&info.name);
            match self.source.mailbox(&info.name) {
                Ok(mailbox) => {
                    let identity = MailboxIdentity { guid: mailbox.guid(), uid_validity: mailbox.uid_validity() };
                    self.source_guids.insert(identity.guid);
                    if is_wanted {
                        let to = self.names.get(&info.name).unwrap_or(&info.name).clone();
                        let status = mailbox.status();
                        self.summary.progress.size += status.map_or(0, |status| u64::from(status.messages));
                        found.push(Found { name: info.name, to, identity, renamed_from: None });
                    }
                }
                // It went since.
                Err(StorageError::NotFound(_) | StorageError::Deleted(_)) => {}
                Err(error) => {
                    self.has_unknown = true;
                    if is_wanted {
                        self.mailbox_failed(&info.name, &info.name, error)?;
                    }
                }
            }
        }
        Ok(found)
    }

    fn look_at_destination(&mut self) -> Result<()> {
        for info in self.destination.list(&ListPattern::all())?.into_iter().filter(|info| info.selectable) {
            let mailbox = match self.destination.mailbox(&info.name) {
                Err(StorageError::NotFound(_) | StorageError::Deleted(_)) => continue,
                other => other?,
            };
            let identity = MailboxIdentity { guid: mailbox.guid(), uid_validity: mailbox.uid_validity() };
            self.there.insert(info.name.clone(), There { identity, name: info.name });
        }
        Ok(())
    }

    fn one(&mut self, found: &Found) -> Result<()> {
        match self.mailbox(found) {
            Ok(converted) => {
                if converted.action != Action::Failed {
                    self.summary.progress.mailboxes += 1;
                }
                self.summary.mailboxes.push(converted);
            }
            // It went since.
            Err(StorageError::NotFound(name) | StorageError::Deleted(name)) if name == found.name => {}
            Err(error) => self.mailbox_failed(&found.name, &found.to, error)?,
        }
        (self.tell)(&self.summary.progress);
        Ok(())
    }

    /// Notes that a mailbox could not be converted; fails if no other can be.
    pub(super) fn mailbox_failed(&mut self, source: &MailboxName, to: &MailboxName, error: StorageError) -> Result<()> {
        if is_of_all(&error) {
            return Err(error);
        }
        self.summary.failed(source, None, error);
        self.summary.mailboxes.push(ConvertedMailbox {
            source: source.clone(),
            destination: to.clone(),
            renamed_from: None,
            action: Action::Failed,
            added: 0,
            flags: 0,
            expunged: 0,
        });
        Ok(())
    }

    /// Deletes what was converted and is not in the source any more. Nothing, where the source has a mailbox that cannot be
    /// opened: it could be any of them.
    fn delete(&mut self) -> Result<()> {
        if self.options.keep_deleted || self.has_unknown {
            return Ok(());
        }
        let gone = |guid: &Guid| !self.source_guids.contains(guid);
        let entries: Vec<_> = self.journal.entries().filter(|(guid, _)| gone(guid)).collect();
        let entries: Vec<_> = entries.into_iter().map(|(guid, entry)| (guid, entry.clone())).collect();
        for (guid, entry) in entries {
            let there = self.there.iter().find(|(_, there)| there.identity.guid == guid);
            let Some((name, there)) = there.map(|(name, there)| (name.clone(), there.clone())) else {
                if !self.options.dry_run {
                    self.journal.deleted(guid)?;
                }
                continue;
            };
            if !self.options.mailboxes.matches(&name) || name.is_inbox() {
                continue;
            }
            let mailbox = self.destination.mailbox(&there.name)?;
            let now = Snapshot::of(&*mailbox)?;
            let identity = MailboxIdentity { guid: mailbox.guid(), uid_validity: mailbox.uid_validity() };
            let mut is_own = self.options.overwrite || identity.guid == guid && now.is_own(&entry)?;
            drop(mailbox);
            if is_own && !self.options.dry_run {
                let deleted = match self.options.overwrite {
                    true => self.destination.delete(&there.name),
                    false => self.destination.delete_only_if(&there.name, &judged(identity, &now.mark)),
                };
                is_own = match deleted {
                    Err(StorageError::Changed(_)) => false,
                    other => other.map(|()| true)?,
                };
            }
            if !is_own {
                let why = "the source has this mailbox no more, and it was changed in the destination";
                self.summary.failed(&name, None, FailureCause::Conflict(why));
                continue;
            }
            if !self.options.dry_run {
                self.journal.deleted(guid)?;
            }
            self.there.remove(&name);
            self.summary.progress.expunged += u64::from(now.mark.messages);
            self.summary.mailboxes.push(ConvertedMailbox {
                source: name.clone(),
                destination: name,
                renamed_from: None,
                action: Action::Deleted,
                added: 0,
                flags: 0,
                expunged: now.mark.messages.into(),
            });
        }
        Ok(())
    }

    /// Subscribes to what the source has; takes off what it had and has no more.
    fn subscribe(&mut self) -> Result<()> {
        let mut wanted = Vec::new();
        for name in self.source.subscriptions()? {
            match self.names.subscribed(&name, self.destination) {
                Some(name) => wanted.push(name),
                None => self.summary.losses.push(Loss::Subscription { name }),
            }
        }
        if self.options.dry_run {
            return Ok(());
        }
        let there = self.destination.subscriptions()?;
        for name in self.journal.subscriptions().iter().filter(|name| there.contains(name) && !wanted.contains(name)) {
            self.destination.unsubscribe(name)?;
        }
        for name in wanted.iter().filter(|name| !there.contains(name)) {
            self.destination.subscribe(name)?;
        }
        self.journal.subscribed(wanted)
    }

    fn note_losses(&mut self) {
        let mut losses: Vec<Loss> = Vec::new();
        let wanted = self.names.changed().filter(|(source, _)| self.options.mailboxes.matches(source));
        losses.extend(wanted.map(|(source, to)| Loss::Name { source: source.clone(), destination: to.clone() }));
        if !self.keeps.guids {
            losses.push(Loss::Guids);
        }
        if self.without_pop3 > 0 {
            losses.push(Loss::Pop3 { messages: self.without_pop3 });
        }
        if self.completed > 0 {
            losses.push(Loss::LineEnds { messages: self.completed });
        }
        if self.without_fields > 0 {
            losses.push(Loss::Fields { messages: self.without_fields });
        }
        self.summary.losses.extend(losses);
    }
}
