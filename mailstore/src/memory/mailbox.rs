//! A handle to a mailbox.

use std::{any::Any, fmt, sync::Arc};

use mailtypes::{Flag, Guid, InternalDate, MailboxName, UidValidity};

use super::{Shared, save::MemorySave, snapshot::Snapshot, state::State, unix_now, view::MemoryView};
use crate::traits::{
    Batch, ChangesSince, Mailbox, Position, Result, Save, SaveMeta, Stamp, Status, StorageError, Ticket, View, ViewAs,
    Wake, Watch,
};

pub(super) struct MemoryMailbox {
    name: MailboxName,
    state: Arc<State>,
    shared: Arc<Shared>,
}

impl MemoryMailbox {
    pub(super) fn new(name: MailboxName, state: Arc<State>, shared: Arc<Shared>) -> Self {
        Self { name, state, shared }
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    pub(super) fn mailbox_name(&self) -> &MailboxName {
        &self.name
    }

    fn position_of(&self, snapshot: &Snapshot) -> Position {
        Position { uid_validity: self.state.uid_validity, modseq: snapshot.highest_modseq, token: Vec::new() }
    }
}

impl Mailbox for MemoryMailbox {
    fn name(&self) -> &MailboxName {
        &self.name
    }

    fn guid(&self) -> Guid {
        self.state.guid
    }

    fn uid_validity(&self) -> UidValidity {
        self.state.uid_validity
    }

    fn status(&self) -> Result<Status> {
        self.state.check(&self.name)?;
        let look = self.state.look(false);
        let mails = &look.snapshot.mails;
        let count =
            |wanted: &dyn Fn(&super::snapshot::Mail) -> bool| mails.iter().filter(|mail| wanted(mail)).count() as u32;
        Ok(Status {
            messages: mails.len() as u32,
            recent: count(&|mail| mail.uid >= look.recent_from),
            unseen: count(&|mail| !mail.flags.contains(Flag::Seen)),
            deleted: count(&|mail| mail.flags.contains(Flag::Deleted)),
            uid_next: look.snapshot.uid_next,
            uid_validity: self.state.uid_validity,
            highest_modseq: look.snapshot.highest_modseq,
        })
    }

    fn size(&self) -> Result<u64> {
        self.state.check(&self.name)?;
        Ok(self.state.snapshot().mails.iter().map(|mail| mail.content.size()).sum())
    }

    fn view(&self, who: &ViewAs) -> Result<Box<dyn View>> {
        self.state.check(&self.name)?;
        Ok(Box::new(MemoryView::new(self.name.clone(), Arc::clone(&self.state), who.takes_recent)))
    }

    fn begin_save(&self, meta: SaveMeta, size_hint: Option<u64>) -> Result<Box<dyn Save>> {
        self.state.check(&self.name)?;
        let size_max = self.shared.options.message_size_max;
        if size_hint.is_some_and(|size| size > size_max) {
            return Err(StorageError::Limit { name: "message_size_max", limit: size_max });
        }
        let guid = meta.guid.unwrap_or_else(|| self.shared.list().new_guid());
        let internal_date = meta.internal_date.unwrap_or_else(|| InternalDate::utc(unix_now()));
        Ok(Box::new(MemorySave {
            guid,
            internal_date,
            size_max,
            nuls: meta.nuls.unwrap_or_default(),
            pop3: meta.pop3,
            bytes: Vec::new(),
        }))
    }

    fn submit(&self, batch: Batch) -> Result<Ticket> {
        self.state.check(&self.name)?;
        let Some(timer) = &self.shared.timer else {
            let (ticket, mut began) = self.state.queue(&self.name, batch);
            while began {
                let done = self.state.end_commit();
                began = done.began_another;
                done.tell();
            }
            return Ok(ticket);
        };
        timer.start()?;
        let (ticket, began) = self.state.queue(&self.name, batch);
        if began {
            timer.schedule(Arc::clone(&self.state));
        }
        Ok(ticket)
    }

    fn changes_since(&self, position: &Position) -> Result<ChangesSince> {
        self.state.check(&self.name)?;
        let (sum, now) = self.state.with_history(|history, snapshot| {
            let known = position.uid_validity == self.state.uid_validity && position.modseq <= snapshot.highest_modseq;
            (known.then(|| history.since(position.modseq)).flatten(), self.position_of(snapshot))
        });
        Ok(match sum {
            None => ChangesSince::TooOld { now },
            Some(sum) => {
                ChangesSince::Changes { appended: sum.appended, flags: sum.flags, expunged: sum.expunged, now }
            }
        })
    }

    fn position(&self) -> Result<Position> {
        self.state.check(&self.name)?;
        Ok(self.position_of(&self.state.snapshot()))
    }

    fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>> {
        self.state.check(&self.name)?;
        let id = self.state.watch(wake);
        Ok(Box::new(MemoryWatch { state: Arc::clone(&self.state), id }))
    }

    fn stamp(&self, stamp: &Stamp) -> Result<()> {
        self.state.check(&self.name)?;
        self.state.stamp(stamp);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for MemoryMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryMailbox").field("name", &self.name).field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct MemoryWatch {
    state: Arc<State>,
    id: u64,
}

impl Watch for MemoryWatch {}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.state.unwatch(self.id);
    }
}
