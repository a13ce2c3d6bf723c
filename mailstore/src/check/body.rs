//! Reading a body from its first byte to its last.

use std::path::Path;

use mailtypes::Uid;

use super::{Finding, FindingKind, Look};
use crate::{
    dbox::{DboxMessage, Metadata, fits},
    indexed::StoredMessage,
    traits::StorageError,
};

/// Read at once.
const READ_LEN: usize = 256 << 10;

/// What can be done about a body that is not what was written.
const CHANGED_PLAN: &str = "nothing: which of its bytes are wrong nobody can tell; put the file back from a copy, or \
                            another copy of the message in its place";

impl Look<'_> {
    /// Compares the body of a dbox message with the checksum that Culver writes with it. One that is not what it was can be
    /// read, and is for clients to read; it is told for as long as it is there. Tells whether nothing is wrong.
    pub(crate) fn checksum(&mut self, path: &Path, uid: Uid, message: &DboxMessage, metadata: &Metadata) -> bool {
        let guid = metadata.guid().filter(|guid| !guid.is_zero());
        match fits(message, metadata) {
            Ok(fits) => {
                self.read(fits.map_or(0, |_| message.body_len()));
                if fits == Some(false) {
                    let what = "the body is not what was written: its checksum is another";
                    let finding = Finding::new(FindingKind::BodyChanged, path, what).at(message.body_offset());
                    self.found(finding.of(uid).known_as(guid).plan(CHANGED_PLAN));
                }
                fits != Some(false)
            }
            Err(e) => {
                self.bad_body(path, uid, &e.at(path));
                false
            }
        }
    }

    /// Reads a message whole: whether it can be, and whether it has the size that it says with CRLF line ends.
    pub(crate) fn body(&mut self, path: &Path, uid: Uid, message: &dyn StoredMessage) {
        let size = match message.prepare().and_then(|()| self.read_whole(message)) {
            Ok(size) => size,
            Err(e) => return self.bad_body(path, uid, &e),
        };
        match message.virtual_size() {
            Ok(Some(told)) if told != size => {
                let what = format!("it says that its message has {told} bytes with CRLF line ends, and it has {size}");
                let finding = Finding::new(FindingKind::SizeWrong, path, what).of(uid);
                self.found(finding.plan("have what is there count"));
            }
            Ok(_) => {}
            Err(e) => self.bad_body(path, uid, &e),
        }
    }

    fn read_whole(&mut self, message: &dyn StoredMessage) -> crate::traits::Result<u64> {
        let mut buf = std::mem::take(&mut self.buf);
        buf.resize(READ_LEN, 0);
        let size = self.read_into(message, &mut buf);
        self.buf = buf;
        size
    }

    fn read_into(&mut self, message: &dyn StoredMessage, buf: &mut [u8]) -> crate::traits::Result<u64> {
        let (mut at, mut size, mut last) = (0, 0, 0);
        loop {
            let read = message.read(at, buf)?;
            let Some(bytes) = buf.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(size) };
            let lone = memchr::memchr_iter(b'\n', bytes).filter(|&i| {
                let before = i.checked_sub(1).and_then(|i| bytes.get(i)).copied();
                before.unwrap_or(last) != b'\r'
            });
            size += bytes.len() as u64 + lone.count() as u64;
            last = bytes.last().copied().unwrap_or_default();
            at += read as u64;
            self.read(read as u64);
        }
    }

    /// Tells what is wrong with a message that cannot be read.
    pub(crate) fn bad_body(&mut self, path: &Path, uid: Uid, error: &StorageError) {
        let finding = match error {
            // Expunged since the index was looked at.
            StorageError::Expunged { .. } => return,
            StorageError::Corrupt { path, offset, what } => Finding::new(FindingKind::BodyDamaged, path, what)
                .at(*offset)
                .plan("keep the file under another name, and make the message anew from what of it can be told"),
            StorageError::Unsupported(what) => {
                Finding::new(FindingKind::Unreadable, path, format!("{what} is not supported")).noted()
            }
            other => Finding::new(FindingKind::Unreadable, path, other.to_string()),
        };
        self.found(finding.of(uid));
    }
}
