//! One message's file, open.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mailfs::{FileHandle, OpenMode};
use mailindex::state::State;
use mailtypes::{Guid, Uid};

use super::{
    files::{MaildirFiles, Mark, guid_of_text},
    measured::{BareLineEnds, Measured},
    table::Entry,
    watch::FolderWatch,
};
use crate::{
    indexed::{Indexed, Known, MessageFiles, StoredMessage},
    traits::{FileIdentity, Freshness, Result, StorageError, Wake, Watch},
};

/// Read when a file is opened: most messages whole.
const FIRST_READ_LEN: usize = 16 << 10;

/// Read at once while a longer message is counted.
const COUNT_READ_LEN: usize = 128 << 10;

/// How compressed files begin, which Dovecot's plugins write.
const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"];

struct MaildirMessage {
    file: FileHandle,
    path: PathBuf,
    len: u64,
    uid: Uid,
    mark: Mark,
    /// Bytes with CRLF line ends, as the name tells.
    told: Option<u64>,
    measured: Arc<Measured>,
    modified: SystemTime,
    changed: SystemTime,
    start: Vec<u8>,
}

fn read_message(files: &MaildirFiles, uid: Uid, path: &Path) -> mailfs::Result<MaildirMessage> {
    let file = files.fs().open(path, OpenMode::Read)?;
    let there = file.metadata()?;
    let mut start = vec![0; usize::try_from(there.len).unwrap_or(usize::MAX).min(FIRST_READ_LEN)];
    let read = file.read_at(&mut start, 0)?;
    start.truncate(read);
    Ok(MaildirMessage {
        file,
        path: path.to_owned(),
        len: there.len,
        uid,
        mark: Mark::of(&there),
        told: None,
        measured: Arc::clone(&files.measured),
        modified: there.modified,
        changed: there.changed,
        start,
    })
}

impl MaildirMessage {
    fn is_plain(&self) -> bool {
        !COMPRESSED.iter().any(|magic| self.start.starts_with(magic))
    }

    /// Bytes with CRLF line ends, by the file's content.
    fn count(&self) -> Result<u64> {
        let mut bare = BareLineEnds::default();
        bare.add(&self.start);
        let mut offset = self.start.len() as u64;
        let mut buffer = Vec::new();
        while offset < self.len {
            buffer.resize(COUNT_READ_LEN, 0);
            let read = self.read(offset, &mut buffer)?;
            bare.add(buffer.get(..read).unwrap_or_default());
            offset += read as u64;
        }
        Ok(self.len + bare.count)
    }
}

impl StoredMessage for MaildirMessage {
    fn stored_len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = left.min(buf.len());
        let buf = buf.get_mut(..want).unwrap_or_default();
        let there = usize::try_from(offset).ok().and_then(|from| self.start.get(from..)?.get(..want));
        if let Some(there) = there {
            buf.copy_from_slice(there);
            return Ok(want);
        }
        let read = self.file.read_at(buf, offset)?;
        if read < want {
            let what = "the file was cut while it was read".to_owned();
            return Err(StorageError::Corrupt { path: self.path.clone(), offset: offset + read as u64, what });
        }
        Ok(read)
    }

    fn virtual_size(&self) -> Result<Option<u64>> {
        if !self.is_plain() {
            return Ok(None);
        }
        if let Some(size) = self.measured.get(self.uid, self.mark) {
            return Ok(Some(size));
        }
        let size = self.count()?;
        let wrong = self.told.is_some_and(|told| told != size);
        if wrong {
            tracing::warn!(path = %self.path.display(), size, "the size in the file name is wrong");
        }
        if wrong || self.len > self.start.len() as u64 {
            self.measured.note(self.uid, self.mark, size, wrong);
        }
        Ok(Some(size))
    }

    fn received(&self) -> Result<Option<u32>> {
        let seconds = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(u32::try_from(seconds).ok())
    }

    fn changed(&self) -> SystemTime {
        self.changed
    }

    fn guid(&self) -> Result<Option<Guid>> {
        // It is in the UID list, not in the file.
        Ok(None)
    }

    fn check_plain(&self) -> Result<()> {
        if !self.is_plain() {
            return Err(StorageError::Unsupported(format!("compressed message {}", self.path.display())));
        }
        Ok(())
    }
}

impl MaildirFiles {
    /// What the UID list has of a message, if it has it.
    fn of_entry<T>(&self, uid: Uid, tell: impl FnOnce(&Entry) -> T) -> Option<T> {
        let mut known = self.known();
        // The index may have told of messages that came since the list was read.
        if known.table.as_ref().is_none_or(|table| table.get(uid).is_none())
            && let Err(e) = self.load(&mut known)
        {
            tracing::warn!("the UID list cannot be read: {e}");
        }
        known.table().get(uid).map(tell)
    }
}

impl MessageFiles for MaildirFiles {
    fn open(&self, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let mut message = self.with_path(state, uid, |path| read_message(self, uid, path))?;
        message.told = self.known().table().get(uid).and_then(Entry::virtual_size);
        Ok(Box::new(message))
    }

    fn known(&self, uid: Uid) -> Known {
        let counted = self.measured.instead(uid);
        let entry = |entry: &Entry| Known {
            virtual_size: counted.or_else(|| entry.virtual_size()),
            guid: Some(guid_of_text(entry.guid_text())),
        };
        self.of_entry(uid, entry).unwrap_or_default()
    }

    fn saved_uidl(&self, _: &State, uid: Uid) -> Result<Option<Vec<u8>>> {
        Ok(self.of_entry(uid, |entry| entry.saved_uidl().map(<[u8]>::to_vec)).flatten())
    }

    fn file_identity(&self, uid: Uid) -> Option<FileIdentity> {
        self.of_entry(uid, |entry| FileIdentity { name: entry.base.to_vec(), guid: entry.guid_text().to_vec() })
    }

    fn look(&self, mailbox: &Indexed, takes_recent: bool) -> Result<()> {
        self.look_for_changes(mailbox, takes_recent)
    }

    fn freshness(&self) -> Freshness {
        self.stir.freshness()
    }

    fn watch(&self, wake: Wake) -> Result<Option<Box<dyn Watch>>> {
        Ok(Some(Box::new(FolderWatch::new(self, &wake)?)))
    }
}
