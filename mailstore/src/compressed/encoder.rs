//! Compressing a body on its way into its file.
//!
//! A body that fits into one buffer is compressed at once when it is whole, which costs a context of its size and tells
//! readers how much they will get; a longer one as it comes.

use std::{
    fmt,
    io::{self, Write},
};

/// Bodies up to this length are compressed at once.
const AT_ONCE_LEN_MAX: usize = 64 << 10;

/// How hard zstd tries.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ZstdLevel(i32);

impl ZstdLevel {
    /// The lowest.
    pub const MIN: i32 = 1;
    /// The highest that can be read in 8 MiB of memory.
    pub const MAX: i32 = 19;

    /// As Dovecot's.
    pub const DEFAULT: Self = Self(3);

    /// A level from 1 to 19.
    pub fn new(level: i32) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&level).then_some(Self(level))
    }

    /// As a number.
    pub fn value(self) -> i32 {
        self.0
    }
}

impl Default for ZstdLevel {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether new bodies are compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyCompression {
    /// They are stored as they are.
    #[default]
    None,
    /// As Dovecot's `zlib_save = zstd`. A Dovecot that is to read them needs the plugin loaded (`mail_plugins = zlib`;
    /// 2.4: `mail_compress`).
    Zstd(ZstdLevel),
}

/// Compresses one body. Compressed bytes are gathered for whoever writes them to take.
pub(crate) struct Encoder {
    level: ZstdLevel,
    /// The body, as long as it may be compressed at once.
    whole: Vec<u8>,
    stream: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
}

impl Encoder {
    /// `None` where bodies are not compressed.
    pub(crate) fn of(compression: BodyCompression) -> Option<Self> {
        match compression {
            BodyCompression::None => None,
            BodyCompression::Zstd(level) => Some(Self { level, whole: Vec::new(), stream: None }),
        }
    }

    /// The next plain bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stream.is_none() && self.whole.len() + bytes.len() <= AT_ONCE_LEN_MAX {
            self.whole.extend_from_slice(bytes);
            return Ok(());
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let mut stream = zstd::stream::write::Encoder::new(Vec::new(), self.level.value())?;
                stream.write_all(&std::mem::take(&mut self.whole))?;
                none.insert(stream)
            }
        };
        stream.write_all(bytes)
    }

    /// Compressed bytes gathered so far; empty it when they are written.
    pub(crate) fn gathered(&mut self) -> Option<&mut Vec<u8>> {
        self.stream.as_mut().map(zstd::stream::write::Encoder::get_mut)
    }

    /// The body is whole: what is left of its compressed bytes.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.stream {
            Some(stream) => stream.finish(),
            None => zstd::bulk::compress(&self.whole, self.level.value()),
        }
    }

    /// About how many bytes of memory it holds, but for zstd's own.
    pub(crate) fn held_len(&self) -> usize {
        self.whole.capacity() + self.stream.as_ref().map_or(0, |stream| stream.get_ref().capacity())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("level", &self.level).finish_non_exhaustive()
    }
}
