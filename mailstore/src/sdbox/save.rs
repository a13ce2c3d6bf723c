//! A message on its way in: a temporary file in the mailbox's folder, written and parsed as the bytes come.

use std::sync::{Arc, atomic::AtomicUsize};

use mailindex::engine::Fsync;
use mailtypes::Guid;

use super::files::Mails;
use crate::{
    dbox::{DboxWriter, SavedAs, WriterOptions, pop3_flags},
    indexed::{Staged, TempFile, Unsynced, new_guid, unix_now},
    traits::{Pop3Identity, Result, Save, SaveMeta, Saved},
};

/// A message that is being written.
pub(super) struct SdboxSave {
    writer: DboxWriter,
    temp: TempFile,
    received: u32,
    guid: Guid,
    pop3: Pop3Identity,
    open: Arc<AtomicUsize>,
    sync: bool,
}

impl SdboxSave {
    pub(super) fn begin(mails: &Mails, meta: &SaveMeta, preview: bool) -> Result<Self> {
        let (shared, fs) = (&mails.shared, mails.fs());
        let now = unix_now(&**fs);
        let (path, file) = mails.create_temp()?;
        let temp = TempFile::new(fs, path);
        let received = meta.internal_date.map_or(now, |date| u32::try_from(date.unix.max(0)).unwrap_or(u32::MAX));
        let guid = meta.guid.filter(|guid| !guid.is_zero()).unwrap_or_else(|| new_guid(&**fs));
        let sync = shared.env.options().fsync != Fsync::Never;
        let options = WriterOptions {
            line_ends: shared.options.line_ends,
            compression: shared.options.compression,
            nuls: meta.nuls.unwrap_or(shared.options.nuls),
            limits: shared.options.limits.clone(),
            preview,
        };
        Ok(Self {
            writer: DboxWriter::new(file, now, options),
            temp,
            received,
            guid,
            pop3: meta.pop3.clone().checked(),
            open: Arc::clone(&shared.open_saved),
            sync,
        })
    }
}

impl Save for SdboxSave {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes).map_err(|e| e.at(self.temp.path()))
    }

    fn held_len(&self) -> usize {
        self.writer.held_len()
    }

    fn finish(self: Box<Self>) -> Result<Saved> {
        let Self { writer, temp, received, guid, pop3, open, sync } = *self;
        let saved = SavedAs { received, guid, mailbox: None, pop3: &pop3 };
        let written = writer.finish_saved(&saved);
        let written = written.map_err(|e| e.at(temp.path()))?;
        let unsynced = Unsynced::keep_or_sync(written.file, &open, sync)?;
        Ok(Saved(Box::new(Staged {
            unsynced,
            structure: written.structure,
            preview: written.preview,
            received,
            waiting: Written { temp, pop3: pop3_flags(&pop3) },
        })))
    }
}

/// A message that is whole in its temporary file.
pub(super) struct Written {
    pub(super) temp: TempFile,
    /// What of POP3 stands in it, as the mailbox's header is to tell.
    pub(super) pop3: u8,
}
