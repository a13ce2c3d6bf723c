//! The stored bytes of a body as a stream that decoders read.

use std::{
    fmt,
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::CodecError;

/// Bytes read at once.
const READ_LEN: u64 = 32 << 10;

/// A body as it is stored.
pub(crate) trait StoredBytes: Send + Sync + fmt::Debug {
    /// How many bytes.
    fn len(&self) -> u64;
    /// Where in the file they begin; for errors.
    fn file_offset(&self) -> u64;
    /// Reads from `offset` in them; fewer than asked for only at the end.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, CodecError>;
}

/// Reads them from the beginning to the end.
#[derive(Debug)]
pub(crate) struct StoredReader {
    stored: Arc<dyn StoredBytes>,
    /// Bytes given away; shared, for whoever is to say how far it was read.
    taken: Arc<AtomicU64>,
    buffer: Vec<u8>,
    from: usize,
}

impl StoredReader {
    pub(crate) fn new(stored: Arc<dyn StoredBytes>) -> Self {
        Self { stored, taken: Arc::default(), buffer: Vec::new(), from: 0 }
    }

    /// How many bytes were taken from it, now and later.
    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }
}

impl BufRead for StoredReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.from >= self.buffer.len() {
            let at = self.taken.load(Ordering::Relaxed);
            let want = self.stored.len().saturating_sub(at).min(READ_LEN);
            self.buffer.resize(want as usize, 0);
            self.from = 0;
            let read = self.stored.read(at, &mut self.buffer).map_err(io::Error::other);
            self.buffer.truncate(read.as_ref().map_or(0, |read| *read));
            read?;
        }
        Ok(self.buffer.get(self.from..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.buffer.len().saturating_sub(self.from));
        self.from += amount;
        self.taken.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

impl Read for StoredReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let len = there.len().min(buf.len());
        buf.get_mut(..len).unwrap_or_default().copy_from_slice(there.get(..len).unwrap_or_default());
        self.consume(len);
        Ok(len)
    }
}
