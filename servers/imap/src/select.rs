//! SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 §6.3.1, §6.3.2, §6.4.2; RFC 3691).

use imap_proto::{
    Mailbox, SelectParams, Tag,
    write::{self, Code, Status},
};
use mailstore::{MailStorage, Result as StorageResult, ViewAs};
use mailtypes::MailboxName;

use crate::{codes::Target, end::End, selected::Selected, session::Session, state::State, sync::Sync};

impl Session {
    pub(crate) async fn select(
        &mut self,
        tag: &Tag,
        mailbox: &Mailbox,
        params: SelectParams,
        read_only: bool,
    ) -> Result<(), End> {
        if params != SelectParams::default() {
            return self.bad(tag, "Parameter is not supported.");
        }
        // Whatever comes of it, the mailbox that was selected is not any more.
        if self.state.unselect().is_some() {
            let text = "Previous mailbox closed.";
            write::untagged_status(&mut self.wire.output, Status::Ok, Some(Code::Closed), text);
        }
        let Some(name) = self.name_of(tag, mailbox)? else { return Ok(()) };
        let opened = self.on_storage(move |storage| open(storage, &name, read_only)).await?;
        let (selected, told) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.storage_error(tag, "SELECT", &error, Target::Other),
        };
        self.wire.output.extend_from_slice(&told);
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Authenticated(account) => State::Selected(account, selected),
            other => other,
        };
        let (code, text) = match read_only {
            false => (Code::ReadWrite, "Select completed."),
            true => (Code::ReadOnly, "Examine completed."),
        };
        self.ok_with(tag, Some(code), text);
        Ok(())
    }

    pub(crate) async fn unselect(&mut self, tag: &Tag) -> Result<(), End> {
        self.state.unselect();
        self.finish(tag, Sync::ALL, "Unselect completed.").await
    }

    /// CLOSE: expunges without telling, then leaves the mailbox.
    pub(crate) async fn close(&mut self, tag: &Tag) -> Result<(), End> {
        let read_only = self.here(|selected, _| selected.read_only)?;
        if !read_only {
            match self.expunge_deleted(None).await? {
                Ok(expunged) => self.counts.expunged += expunged,
                Err(error) => {
                    self.state.unselect();
                    return self.storage_error(tag, "CLOSE", &error, Target::Other);
                }
            }
        }
        self.state.unselect();
        self.ok(tag, "Close completed.");
        Ok(())
    }
}

fn open(storage: &dyn MailStorage, name: &MailboxName, read_only: bool) -> StorageResult<(Box<Selected>, Vec<u8>)> {
    let mailbox = storage.mailbox(name)?;
    let view = mailbox.view(&ViewAs { takes_recent: !read_only })?;
    let selected = Box::new(Selected::new(mailbox, view, read_only));
    let mut told = Vec::new();
    selected.tell_all(&mut told);
    Ok((selected, told))
}
