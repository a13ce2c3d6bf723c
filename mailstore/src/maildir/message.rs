//! One message's file, open.

use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mailfs::{FileHandle, OpenMode};
use mailindex::state::State;
use mailtypes::{Guid, Uid};

use super::{
    files::{MaildirFiles, Mark, guid_of_text},
    index,
    measured::{BareLineEnds, Counted, Measured},
    table::Entry,
};
use crate::{
    compressed::{CodecError, Compression, PlainText, StoredBytes, is_encrypted},
    indexed::{FolderWatch, Indexed, Known, MessageFiles, StoredMessage},
    traits::{FileIdentity, Freshness, Result, StorageError, Wake, Watch},
};

/// Read when a file is opened: most messages whole.
const FIRST_READ_LEN: usize = 16 << 10;

/// Read at once while a longer message is counted.
const COUNT_READ_LEN: usize = 128 << 10;

/// A message's file, whose beginning was read.
#[derive(Debug)]
struct MessageFile {
    file: FileHandle,
    len: u64,
    start: Vec<u8>,
}

impl StoredBytes for MessageFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn file_offset(&self) -> u64 {
        0
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> std::result::Result<usize, CodecError> {
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
            return Err(CodecError::Damaged {
                offset: offset + read as u64,
                what: "the file was cut while it was read",
            });
        }
        Ok(read)
    }
}

struct MaildirMessage {
    file: Arc<MessageFile>,
    /// What the file becomes, if it is compressed.
    text: Option<RefCell<PlainText>>,
    path: PathBuf,
    uid: Uid,
    mark: Mark,
    /// Bytes with CRLF line ends, as the name tells.
    told: Option<u64>,
    measured: Arc<Measured>,
    counted: Cell<Option<Counted>>,
    modified: SystemTime,
    changed: SystemTime,
}

fn read_message(files: &MaildirFiles, uid: Uid, path: &Path) -> mailfs::Result<MaildirMessage> {
    let file = files.fs().open(path, OpenMode::Read)?;
    let there = file.metadata()?;
    let mut start = vec![0; usize::try_from(there.len).unwrap_or(usize::MAX).min(FIRST_READ_LEN)];
    let read = file.read_at(&mut start, 0)?;
    start.truncate(read);
    let compression = Compression::of(&start);
    let file = Arc::new(MessageFile { file, len: there.len, start });
    let text = compression.map(|compression| {
        let stored: Arc<dyn StoredBytes> = Arc::clone(&file) as _;
        // The size in the name is anybody's word: the text is counted.
        RefCell::new(PlainText::new(stored, compression, None))
    });
    Ok(MaildirMessage {
        file,
        text,
        path: path.to_owned(),
        uid,
        mark: Mark::of(&there),
        told: None,
        measured: Arc::clone(&files.measured),
        counted: Cell::default(),
        modified: there.modified,
        changed: there.changed,
    })
}

impl MaildirMessage {
    /// How long the message is by the file's content.
    fn counted(&self) -> Result<Counted> {
        if let Some(counted) = self.counted.get().or_else(|| self.measured.get(self.uid, self.mark)) {
            self.counted.set(Some(counted));
            return Ok(counted);
        }
        let counted = self.count()?;
        let size = counted.virtual_size;
        let wrong = self.told.is_some_and(|told| told != size);
        if wrong {
            tracing::warn!(path = %self.path.display(), size, "the size in the file name is wrong");
        }
        if wrong || self.text.is_some() || self.file.len > self.file.start.len() as u64 {
            self.measured.note(self.uid, self.mark, counted, wrong);
        }
        self.counted.set(Some(counted));
        Ok(counted)
    }

    fn count(&self) -> Result<Counted> {
        let mut bare = BareLineEnds::default();
        let mut plain_len = 0;
        if self.text.is_none() {
            bare.add(&self.file.start);
            plain_len = self.file.start.len() as u64;
        }
        let mut buffer = Vec::new();
        while self.text.is_some() || plain_len < self.file.len {
            buffer.resize(COUNT_READ_LEN, 0);
            let read = self.read(plain_len, &mut buffer)?;
            if read == 0 {
                break;
            }
            bare.add(buffer.get(..read).unwrap_or_default());
            plain_len += read as u64;
        }
        Ok(Counted { plain_len, virtual_size: plain_len + bare.count })
    }

    fn check_readable(&self) -> Result<()> {
        if is_encrypted(&self.file.start) {
            return Err(StorageError::Unsupported(format!("encrypted message {}", self.path.display())));
        }
        Ok(())
    }
}

impl StoredMessage for MaildirMessage {
    fn stored_len(&self) -> u64 {
        match (&self.text, self.counted.get()) {
            (Some(_), Some(counted)) => counted.plain_len,
            _ => self.file.len,
        }
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.check_readable()?;
        let read = match &self.text {
            Some(text) => text.borrow_mut().read(offset, buf),
            None => self.file.read(offset, buf),
        };
        read.map_err(|e| e.at(&self.path))
    }

    fn virtual_size(&self) -> Result<Option<u64>> {
        self.check_readable()?;
        Ok(Some(self.counted()?.virtual_size))
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

    fn prepare(&self) -> Result<()> {
        self.check_readable()?;
        if self.text.is_some() {
            self.counted()?;
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
    fn made_up_from(&self) -> Option<Uid> {
        MaildirFiles::made_up_from(self)
    }

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

    fn saved_pop3_order(&self, _: &State, uid: Uid) -> Result<Option<u32>> {
        Ok(self.of_entry(uid, Entry::saved_pop3_order).flatten())
    }

    fn note_next_uid(&self, mailbox: &Indexed) -> Result<()> {
        index::note_next_uid(self, &mailbox.index.state())
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
        Ok(Some(Box::new(FolderWatch::new(&**self.fs(), &[&self.new, &self.cur], &self.stir, &wake)?)))
    }
}
