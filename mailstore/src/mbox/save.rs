//! A message on its way in: parsed as the bytes come, and kept until the mbox is locked.

use std::sync::Arc;

use mailfs::FileHandle;

use super::{files::MboxFiles, header_filter::HeaderFilter, spool::Spool};
use crate::{
    indexed::{BodyWriter, Closing, Staged, WriterOptions, unix_now},
    traits::{Result, Save, SaveMeta, Saved},
};

/// A message that is being taken in.
pub(super) struct MboxSave {
    writer: BodyWriter,
    spool: Arc<Spool>,
    filter: HeaderFilter,
    received: Option<i64>,
    now: u32,
}

impl MboxSave {
    pub(super) fn begin(files: &MboxFiles, meta: &SaveMeta, preview: bool) -> Self {
        let shared = &files.shared;
        let spool = Arc::new(Spool::new(files.fs(), files.dirs.index.clone(), &shared.waiting));
        let options = WriterOptions {
            nuls: meta.nuls.unwrap_or(shared.options.nuls),
            limits: shared.options.limits.clone(),
            preview,
            ..WriterOptions::default()
        };
        Self {
            writer: BodyWriter::new(Arc::clone(&spool) as FileHandle, Vec::new(), options),
            spool,
            filter: HeaderFilter::default(),
            received: meta.internal_date.map(|date| date.unix),
            now: unix_now(&**files.fs()),
        }
    }
}

impl Save for MboxSave {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { writer, filter, .. } = self;
        Ok(filter.write(bytes, |piece| writer.write(piece))?)
    }

    fn held_len(&self) -> usize {
        self.writer.held_len()
    }

    fn finish(self: Box<Self>) -> Result<Saved> {
        let Self { mut writer, spool, filter, received, now } = *self;
        filter.finish(|piece| writer.write(piece))?;
        let written = writer.finish(|_| Closing::default())?;
        spool.settle()?;
        let received = received.map_or(now, |unix| u32::try_from(unix.max(0)).unwrap_or(u32::MAX));
        Ok(Saved(Box::new(Staged {
            unsynced: None,
            structure: written.structure,
            preview: written.preview,
            received,
            waiting: Waiting { content: Some(written.file), len: written.body_len, received: received.into() },
        })))
    }
}

/// A message that is whole and waits for its place.
pub(super) struct Waiting {
    pub(super) content: Option<FileHandle>,
    pub(super) len: u64,
    pub(super) received: i64,
}
