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

    /// Makes it durable under its name. The folder is still to be synced.
    pub(super) fn finish(
        mut self,
        fs: &dyn FileSystem,
        name: &Path,
        modified: Option<std::time::SystemTime>,
    ) -> mailfs::Result<()> {
        self.flush()?;
        if let Some(modified) = modified {
            self.file.set_modified(modified)?;
        }
        self.file.sync_data()?;
        fs.rename(&self.path, name)
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
        let read = body.read_at(Section::WHOLE, offset, &mut buffer).map_err(WriteError::Message)?;
        sink(buffer.get(..read).unwrap_or_default())?;
        if read < buffer.len() {
            return Ok(());
        }
        offset += read as u64;
    }
}

/// Turns CRLF into LF, in a text that is given piece by piece.
#[derive(Default)]
pub(super) struct LfLines {
    /// A CR is held back: it may belong to a line end.
    cr: bool,
}

impl LfLines {
    pub(super) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = piece.first() else { return };
        if self.cr && first != b'\n' {
            out.push(b'\r');
        }
        self.cr = piece.ends_with(b"\r");
        let mut rest = piece.strip_suffix(b"\r").unwrap_or(piece);
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            out.extend_from_slice(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.cr {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_change_however_the_text_is_cut() {
        let text = b"a\r\nb\rc\r\r\n\n\r";
        for cut in 0..=text.len() {
            let (mut lines, mut out) = (LfLines::default(), Vec::new());
            let (before, behind) = text.split_at(cut);
            lines.write(before, &mut out);
            lines.write(behind, &mut out);
            lines.finish(&mut out);
            assert_eq!(out, b"a\nb\rc\r\n\n\r", "{cut}");
        }
    }
}
