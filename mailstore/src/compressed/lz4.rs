//! Dovecot's framing of lz4 (`docs/formats/dbox.md`, Compression): a magic, the longest plain length of a chunk, then
//! chunks, each with its compressed length before it. The stream ends where a chunk does.

use std::io::{self, BufRead, Read};

/// What a stream begins with; four bytes with the longest plain length of a chunk follow, high byte first.
pub(super) const MAGIC: &[u8; 15] = b"Dovecot-LZ4\x0d\x2a\x9b\xc5";

/// Longest plain length of a chunk that is read, as in Dovecot; it writes 64 KiB.
const CHUNK_LEN_MAX: usize = 1 << 20;

/// Reads the plain bytes of a stream. Holds a chunk and what it was compressed to.
#[derive(Debug)]
pub(super) struct Chunks<R> {
    stream: R,
    /// Longest plain length of a chunk; `None` before the header was read.
    chunk_len: Option<usize>,
    packed: Vec<u8>,
    plain: Vec<u8>,
    /// How much of the plain bytes was given away.
    from: usize,
}

impl<R: BufRead> Chunks<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, chunk_len: None, packed: Vec::new(), plain: Vec::new(), from: 0 }
    }

    fn header(&mut self) -> io::Result<usize> {
        if let Some(len) = self.chunk_len {
            return Ok(len);
        }
        let mut magic = [0; MAGIC.len()];
        self.stream.read_exact(&mut magic)?;
        let len = self.number()?;
        if &magic != MAGIC || len == 0 || len > CHUNK_LEN_MAX {
            return Err(invalid("no header of an lz4 stream, or chunks longer than any can be"));
        }
        self.chunk_len = Some(len);
        Ok(len)
    }

    fn number(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes) as usize)
    }

    /// Reads the next chunk; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        let chunk_len = self.header()?;
        if self.stream.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let packed_len = self.number()?;
        if packed_len == 0 || packed_len > lz4_flex::block::get_maximum_output_size(chunk_len) {
            return Err(invalid("the compressed length of a chunk is none that it can have"));
        }
        self.packed.resize(packed_len, 0);
        self.stream.read_exact(&mut self.packed)?;
        self.plain.resize(chunk_len, 0);
        self.from = 0;
        match lz4_flex::block::decompress_into(&self.packed, &mut self.plain) {
            Ok(len) => self.plain.truncate(len),
            Err(e) => {
                self.plain.clear();
                return Err(io::Error::new(io::ErrorKind::InvalidData, e));
            }
        }
        Ok(true)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.from >= self.plain.len() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let there = self.plain.get(self.from..).unwrap_or_default();
        let len = there.len().min(buf.len());
        buf.get_mut(..len).unwrap_or_default().copy_from_slice(there.get(..len).unwrap_or_default());
        self.from += len;
        Ok(len)
    }
}
