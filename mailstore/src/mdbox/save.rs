//! Taking in a message: written and parsed as the bytes come, into a [draft](super::draft).

use std::sync::Arc;

use mailfs::FileHandle;
use mailindex::engine::Fsync;
use mailtypes::Guid;

use super::{
    Shared,
    draft::{DraftFile, NewBody},
    files::Mails,
};
use crate::{
    dbox::{DboxWriter, FileHeader, SavedAs, WriterOptions, pop3_flags},
    indexed::{Staged, Unsynced, new_guid, unix_now},
    traits::{Pop3Identity, Result, Save, SaveMeta, Saved},
};

/// A message that is being written.
pub(super) struct MdboxSave {
    shared: Arc<Shared>,
    /// The mailbox, as its folder is called.
    mailbox: Option<Arc<str>>,
    writer: DboxWriter,
    draft: Arc<DraftFile>,
    /// Bytes of the header of its file.
    header_len: u64,
    received: u32,
    guid: Guid,
    pop3: Pop3Identity,
}

/// A message that waits for its place.
pub(super) struct Waiting {
    /// Taken when it is placed.
    pub(super) body: Option<NewBody>,
    pub(super) guid: Guid,
    /// What of POP3 stands in it, as the mailbox's header is to tell.
    pub(super) pop3: u8,
}

impl MdboxSave {
    pub(super) fn begin(mails: &Mails, meta: &SaveMeta, preview: bool) -> Self {
        let shared = &mails.shared;
        let fs = shared.fs();
        let now = unix_now(fs);
        let draft = DraftFile::new(shared);
        let options = WriterOptions {
            line_ends: shared.options.line_ends,
            compression: shared.options.compression,
            nuls: meta.nuls.unwrap_or(shared.options.nuls),
            limits: shared.options.limits.clone(),
            preview,
        };
        let mut header = Vec::new();
        FileHeader::new(now).write(&mut header);
        Self {
            shared: Arc::clone(shared),
            mailbox: mails.storage_name.clone(),
            writer: DboxWriter::new(Arc::clone(&draft) as FileHandle, now, options),
            draft,
            header_len: header.len() as u64,
            received: meta.internal_date.map_or(now, |date| u32::try_from(date.unix.max(0)).unwrap_or(u32::MAX)),
            guid: meta.guid.filter(|guid| !guid.is_zero()).unwrap_or_else(|| new_guid(fs)),
            pop3: meta.pop3.clone().checked(),
        }
    }
}

impl Save for MdboxSave {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes).map_err(|e| e.at(self.shared.files.dir()))
    }

    fn held_len(&self) -> usize {
        self.writer.held_len() + self.draft.held_len()
    }

    fn finish(self: Box<Self>) -> Result<Saved> {
        let Self { shared, mailbox, writer, draft, header_len, received, guid, pop3 } = *self;
        let saved = SavedAs { received, guid, mailbox: mailbox.as_deref().map(str::as_bytes), pop3: &pop3 };
        let written = writer.finish_saved(&saved).map_err(|e| e.at(shared.files.dir()))?;
        // The writer's handle of it.
        drop(written.file);
        let draft = draft.finish();
        let len = draft.len()?.saturating_sub(header_len);
        // Only a file that becomes one of the store is synced: from the others it is read when it has its place.
        let sync = shared.env.options().fsync != Fsync::Never;
        let own_file = draft.file().filter(|_| shared.has_own_file(len)).cloned();
        let unsynced =
            own_file.map(|file| Unsynced::keep_or_sync(file, &shared.open_saved, sync)).transpose()?.flatten();
        let waiting =
            Waiting { body: Some(NewBody::Draft { draft, from: header_len, len }), guid, pop3: pop3_flags(&pop3) };
        Ok(Saved(Box::new(Staged {
            unsynced,
            structure: written.structure,
            preview: written.preview,
            received,
            waiting,
        })))
    }
}
