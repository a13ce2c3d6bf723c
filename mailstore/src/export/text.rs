//! Files written piece by piece, and messages read so.

use std::path::{Path, PathBuf};

use mailfs::{FileHandle, FileSystem, OpenMode};

use super::WriteError;
use crate::traits::{Body, Section};

/// Bytes read and written at once.
const PIECE_LEN: usize = 256 << 10;

/// A file that is being written, under a name that is not its own yet.
pub(super) struct NewFile {
    path: PathBuf,
    file: FileHandle,
    buffer: Vec<u8>,
    len: u64,
}

impl NewFile {
    /// Begins a file. One of that name was left by a run that was stopped.
    pub(super) fn create(fs: &dyn FileSystem, path: PathBuf) -> mailfs::Result<Self> {
        match fs.unlink(&path) {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        let file = fs.open(&path, OpenMode::CreateNew { mode: 0o600 })?;
        Ok(Self { path, file, buffer: Vec::new(), len: 0 })
    }

    /// The end of the file, to be added to.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what is in the buffer, if that is much.
    pub(super) fn flush_if_long(&mut self) -> mailfs::Result<()> {
        if self.buffer.len() >= PIECE_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> mailfs::Result<()> {
        self.file.write_at(&self.buffer, self.len)?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len + self.buffer.len() as u64
    }

    /// Takes back what was added since the file had `len` bytes.
    pub(super) fn cut_back(&mut self, len: u64) -> mailfs::Result<()> {
        match len.checked_sub(self.len).and_then(|len| usize::try_from(len).ok()) {
            Some(in_buffer) => self.buffer.truncate(in_buffer),
            None => {
                self.buffer.clear();
                self.file.set_len(len)?;
                self.len = len;
            }
        }
        Ok(())
    }

    /// Makes it durable under its name, which must be free. The folder is still to be synced.
    pub(super) fn finish(
        self,
        fs: &dyn FileSystem,
        name: &Path,
        modified: std::time::SystemTime,
    ) -> mailfs::Result<()> {
        self.close(fs, Some(modified), |path| fs.rename_new(path, name))
    }

    /// Makes it durable in the place of a file that may have the name. The folder is still to be synced.
    pub(super) fn replace(self, fs: &dyn FileSystem, name: &Path) -> mailfs::Result<()> {
        self.close(fs, None, |path| fs.rename(path, name))
    }

    fn close(
        mut self,
        fs: &dyn FileSystem,
        modified: Option<std::time::SystemTime>,
        give_name: impl FnOnce(&Path) -> mailfs::Result<()>,
    ) -> mailfs::Result<()> {
        let close = || {
            self.flush()?;
            if let Some(modified) = modified {
                self.file.set_modified(modified)?;
            }
            self.file.sync_data()?;
            give_name(&self.path)
        };
        let closed = close();
        if closed.is_err() {
            self.discard(fs);
        }
        closed
    }

    /// Gives the file up.
    pub(super) fn discard(self, fs: &dyn FileSystem) {
        // What matters is why it was given up; the name says what it is.
        let _ = fs.unlink(&self.path);
    }
}

/// Passes a message on in pieces.
pub(super) fn each_piece(
    body: &mut dyn Body,
    mut sink: impl FnMut(&[u8]) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let mut buffer = vec![0; PIECE_LEN.min(usize::try_from(body.size()).unwrap_or(PIECE_LEN).max(1))];
    let mut offset = 0;
    loop {
        let read = body.read_at(Section::WHOLE, offset, &mut buffer).map_err(WriteError::Source)?;
        sink(buffer.get(..read).unwrap_or_default())?;
        if read < buffer.len() {
            return Ok(());
        }
        offset += read as u64;
    }
}

/// Turns CRLF into LF, in a text that is given piece by piece. Behind a CR it stays as it is: the LF alone would be taken
/// for the end of a line together with that CR.
#[derive(Default)]
pub(super) struct LfLines {
    /// A CR is held back: it may belong to a line end.
    cr: bool,
    /// What was written last is a CR.
    behind_cr: bool,
}

impl LfLines {
    pub(super) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = piece.first() else { return };
        if self.cr && (first != b'\n' || self.behind_cr) {
            self.pass(b"\r", out);
        }
        self.cr = piece.ends_with(b"\r");
        let mut rest = piece.strip_suffix(b"\r").unwrap_or(piece);
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            let (line, end) = rest.split_at(at);
            self.pass(line, out);
            self.pass(if self.behind_cr { b"\r\n" } else { b"\n" }, out);
            rest = end.get(2..).unwrap_or_default();
        }
        self.pass(rest, out);
    }

    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.behind_cr = bytes.last().map_or(self.behind_cr, |&last| last == b'\r');
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.cr {
            out.push(b'\r');
        }
    }
}

/// Counts the line ends of a text that are an LF alone, piece by piece.
#[derive(Default)]
pub(super) struct BareLineEnds {
    pub(super) count: u64,
    /// The last piece ended in CR.
    cr: bool,
}

impl BareLineEnds {
    pub(super) fn read(&mut self, piece: &[u8]) {
        for at in memchr::memchr_iter(b'\n', piece) {
            let cr = at.checked_sub(1).map_or(self.cr, |before| piece.get(before) == Some(&b'\r'));
            self.count += u64::from(!cr);
        }
        self.cr = piece.last().map_or(self.cr, |&last| last == b'\r');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_change_however_the_text_is_cut() {
        let text = b"a\r\nb\rc\r\r\n\n\r\nd\r\r\r\n\r";
        for cut in 0..=text.len() {
            let (mut lines, mut out) = (LfLines::default(), Vec::new());
            let (before, behind) = text.split_at(cut);
            lines.write(before, &mut out);
            lines.write(behind, &mut out);
            lines.finish(&mut out);
            assert_eq!(out, b"a\nb\rc\r\r\n\n\nd\r\r\r\n\r", "{cut}");
        }
    }

    #[test]
    fn line_ends_without_cr_are_counted_however_the_text_is_cut() {
        let text = b"\na\r\nb\n\n\rc\r\n";
        for cut in 0..=text.len() {
            let mut ends = BareLineEnds::default();
            let (before, behind) = text.split_at(cut);
            ends.read(before);
            ends.read(b"");
            ends.read(behind);
            assert_eq!(ends.count, 3, "{cut}");
        }
    }

    #[test]
    fn a_file_is_cut_back_to_where_it_was_whether_written_or_not() {
        let disk = mailfs::sim::SimDisk::new();
        for (first, second) in [(3, 4), (3, PIECE_LEN), (PIECE_LEN, 4), (PIECE_LEN, PIECE_LEN), (0, PIECE_LEN)] {
            let mut file = NewFile::create(&disk, "/file".into()).unwrap();
            for len in [first, second] {
                file.buffer().resize(len, b'x');
                file.flush_if_long().unwrap();
                if len == first {
                    file.buffer().extend_from_slice(b"ab");
                }
            }
            let len = file.len();
            file.buffer().extend_from_slice(&vec![b'y'; PIECE_LEN]);
            file.flush_if_long().unwrap();
            file.buffer().extend_from_slice(b"zz");
            file.cut_back(len).unwrap();
            assert_eq!(file.len(), len);
            file.buffer().extend_from_slice(b"end");
            file.replace(&disk, Path::new("/whole")).unwrap();
            let text = mailfs::FileSystemExt::read_all(&disk, Path::new("/whole"), u64::MAX).unwrap();
            assert_eq!(text.len() as u64, len + 3);
            assert!(text.ends_with(b"end") && !text.contains(&b'y'), "{first} {second}");
        }
    }
}
