//! A cache file read through windows, so that messages that lie beside each other share reads.

use mailfs::FileHandle;

use crate::cache::Window;

/// Bytes read first: enough for the fields, or for one message.
const WINDOW_LEN_MIN: usize = 4 << 10;

/// Bytes read at once by one who has come back for more: each read is twice as long as the one before, up to this.
const WINDOW_LEN_MAX: usize = 256 << 10;

/// How many windows are kept: one that goes forwards through the file, and one for what older records lie behind.
const WINDOWS_MAX: usize = 2;

#[derive(Debug, Default)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct FileWindow {
    file: FileHandle,
    /// Most recently used first.
    pieces: Vec<Piece>,
    next_len: usize,
}

impl FileWindow {
    pub(super) fn new(file: FileHandle) -> Self {
        Self { file, pieces: Vec::with_capacity(WINDOWS_MAX), next_len: WINDOW_LEN_MIN }
    }
}

impl Piece {
    fn has(&self, offset: u64, len: usize) -> bool {
        let end = self.start + self.bytes.len() as u64;
        self.start <= offset && offset.saturating_add(len as u64) <= end
    }

    fn get(&self, offset: u64, len: usize) -> &[u8] {
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        rest.get(..len).unwrap_or(rest)
    }
}

impl Window for FileWindow {
    type Error = mailfs::FsError;

    fn read(&mut self, offset: u64, len: usize) -> Result<&[u8], Self::Error> {
        if let Some(at) = self.pieces.iter().position(|piece| piece.has(offset, len)) {
            self.pieces.swap(0, at);
        } else {
            // A piece that ended with the file may be too short only because the file has grown.
            let mut piece = if self.pieces.len() < WINDOWS_MAX { None } else { self.pieces.pop() }.unwrap_or_default();
            piece.start = offset;
            piece.bytes.resize(self.next_len.max(len), 0);
            self.next_len = (self.next_len * 2).min(WINDOW_LEN_MAX);
            let read = self.file.read_at(&mut piece.bytes, offset)?;
            piece.bytes.truncate(read);
            self.pieces.insert(0, piece);
        }
        Ok(self.pieces.first().map_or(&[], |piece| piece.get(offset, len)))
    }
}
