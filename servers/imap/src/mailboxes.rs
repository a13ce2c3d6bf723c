//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 3501 §6.3).

use imap_proto::{
    Mailbox, SpecialUse, StatusItem, StatusValue, Tag,
    write::{self, Code},
};
use mailstore::{MailStorage, Result as StorageResult, StorageError};
use mailtypes::{Guid, MailboxName};

use tracing::debug;

use crate::{codes::Target, end::End, session::Session, sync::Sync};

impl Session {
    /// Changes the list of mailboxes, and answers.
    async fn change_list(
        &mut self,
        tag: &Tag,
        doing: &'static str,
        done: &'static str,
        change: impl FnOnce(&dyn MailStorage) -> StorageResult<()> + Send + 'static,
    ) -> Result<(), End> {
        match self.on_storage(change).await? {
            Ok(()) => self.finish(tag, Sync::ALL, done).await,
            Err(error) => self.storage_error(tag, doing, &error, Target::Other),
        }
    }

    /// CREATE. A mailbox can be created for special uses (RFC 6154 §5.3) only under the name that has them already: uses
    /// are a matter of configuration.
    pub(crate) async fn create(&mut self, tag: &Tag, mailbox: &Mailbox, uses: &[SpecialUse]) -> Result<(), End> {
        // A separator at the end says that mailboxes are to come below it; such a mailbox can hold messages too.
        let Ok((name, _)) = mailbox.name_to_create(self.separator()) else {
            return self.name_of(tag, mailbox).map(drop);
        };
        if uses.iter().any(|&named| self.ctx.special_uses.of(&name) != Some(named)) {
            return self.no(tag, Some(Code::UseAttr), "The mailbox cannot be used so.");
        }
        let created = self.on_storage(move |storage| {
            storage.create(&name)?;
            // It may be gone again already.
            Ok(storage.mailbox(&name).map_or(Guid::ZERO, |mailbox| mailbox.guid()))
        });
        match created.await? {
            Ok(guid) => {
                let code = (!guid.is_zero()).then_some(Code::MailboxId(guid));
                self.finish_with(tag, Sync::ALL, code, "Create completed.").await
            }
            Err(error) => self.storage_error(tag, "CREATE", &error, Target::Other),
        }
    }

    pub(crate) async fn delete(&mut self, tag: &Tag, mailbox: &Mailbox) -> Result<(), End> {
        let Some(name) = self.name_of(tag, mailbox)? else { return Ok(()) };
        let is_selected = self.state.selected().is_some_and(|selected| *selected.mailbox.name() == name);
        if let Err(error) = self.on_storage(move |storage| storage.delete(&name)).await? {
            return self.storage_error(tag, "DELETE", &error, Target::Other);
        }
        if is_selected {
            self.state.unselect();
        }
        self.finish(tag, Sync::ALL, "Delete completed.").await
    }

    pub(crate) async fn rename(&mut self, tag: &Tag, from: &Mailbox, to: &Mailbox) -> Result<(), End> {
        let Some(from) = self.name_of(tag, from)? else { return Ok(()) };
        let Some(to) = self.name_of(tag, to)? else { return Ok(()) };
        let selected = self.state.selected().map(|selected| selected.mailbox.name().clone());
        let moved = selected.and_then(|selected| under_new_name(&selected, &from, &to));
        let renamed = self.on_storage(move |storage| storage.rename(&from, &to)).await?;
        if let Err(error) = renamed {
            return self.storage_error(tag, "RENAME", &error, Target::Other);
        }
        if let Some(name) = moved {
            let (_, storage) = self.account()?;
            let followed = self.on_selected(move |selected, _| selected.follow(storage.mailbox(&name)?)).await?;
            if let Err(error) = followed {
                // Another session may have renamed it again; the sync will find out.
                debug!(user = %self.user_for_log(), %error, "the selected mailbox cannot be followed");
            }
        }
        self.finish(tag, Sync::ALL, "Rename completed.").await
    }

    pub(crate) async fn subscribe(&mut self, tag: &Tag, mailbox: &Mailbox) -> Result<(), End> {
        let Some(name) = self.name_of(tag, mailbox)? else { return Ok(()) };
        let change = move |storage: &dyn MailStorage| match storage.mailbox(&name) {
            // A level without a mailbox is there too.
            Ok(_) | Err(StorageError::NotSelectable(_)) => storage.subscribe(&name),
            Err(StorageError::NotFound(_)) if is_prefix(storage, &name) => storage.subscribe(&name),
            Err(error) => Err(error),
        };
        self.change_list(tag, "SUBSCRIBE", "Subscribe completed.", change).await
    }

    pub(crate) async fn unsubscribe(&mut self, tag: &Tag, mailbox: &Mailbox) -> Result<(), End> {
        let Some(name) = self.name_of(tag, mailbox)? else { return Ok(()) };
        let change = move |storage: &dyn MailStorage| storage.unsubscribe(&name);
        self.change_list(tag, "UNSUBSCRIBE", "Unsubscribe completed.", change).await
    }

    pub(crate) async fn status(&mut self, tag: &Tag, mailbox: &Mailbox, items: Vec<StatusItem>) -> Result<(), End> {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        let Some(name) = self.name_of(tag, mailbox)? else { return Ok(()) };
        // What is recent to this session is so for the mailbox that it has selected.
        let selected = self.state.selected().filter(|selected| *selected.mailbox.name() == name);
        let recent = selected.map(|selected| selected.view.recent_count());
        let step = move |storage: &dyn MailStorage| status_line(storage, &name, &items, recent);
        match self.on_storage(step).await? {
            Ok(line) => {
                self.wire.output.extend_from_slice(&line);
                self.finish(tag, Sync::ALL, "Status completed.").await
            }
            Err(error) => self.storage_error(tag, "STATUS", &error, Target::Other),
        }
    }
}

/// `* STATUS`, with RECENT if that is known better, an item asked for twice told once; sizes are added up only if asked for.
pub(crate) fn status_line(
    storage: &dyn MailStorage,
    name: &MailboxName,
    items: &[StatusItem],
    recent: Option<u32>,
) -> StorageResult<Vec<u8>> {
    let (status, size) = match items.contains(&StatusItem::Size) {
        true => storage.status_and_size(name)?,
        false => (storage.status(name)?, 0),
    };
    let mailbox = items.contains(&StatusItem::MailboxId).then(|| storage.mailbox(name)).transpose()?;
    let wanted = StatusItem::ALL.into_iter().filter(|item| items.contains(item));
    let values = wanted.filter_map(|item| {
        let number = match item {
            StatusItem::Messages => status.messages.into(),
            StatusItem::Recent => recent.unwrap_or(status.recent).into(),
            StatusItem::UidNext => status.uid_next.value().into(),
            StatusItem::UidValidity => status.uid_validity.value().into(),
            StatusItem::Unseen => status.unseen.into(),
            StatusItem::Deleted => status.deleted.into(),
            StatusItem::Size => size,
            StatusItem::HighestModSeq => status.highest_modseq.value(),
            StatusItem::MailboxId => return Some((item, StatusValue::Id(mailbox.as_ref()?.guid()))),
            _ => return None,
        };
        Some((item, StatusValue::Number(number)))
    });
    let mut line = Vec::new();
    write::status(&mut line, name, storage.separator(), values);
    Ok(line)
}

/// Whether it is the prefix of a namespace, which can be subscribed to whether or not it is a mailbox.
fn is_prefix(storage: &dyn MailStorage, name: &MailboxName) -> bool {
    storage.namespaces().iter().any(|space| space.prefix.strip_suffix('/') == Some(name.as_str()))
}

/// The name of a mailbox after a rename that takes it along. INBOX stays (RFC 3501 §6.3.5).
fn under_new_name(name: &MailboxName, from: &MailboxName, to: &MailboxName) -> Option<MailboxName> {
    if *from == MailboxName::inbox() {
        return None;
    }
    let rest = name.as_str().strip_prefix(from.as_str())?;
    (rest.is_empty() || rest.starts_with(MailboxName::SEPARATOR)).then_some(())?;
    MailboxName::new(&format!("{to}{rest}")).ok()
}
