//! Compressed bodies, the seam between a body and its file: Dovecot's `zlib` (2.4: `mail_compress`) plugin keeps each
//! message's body as one compressed stream (`docs/formats/dbox.md`, Compression).
//!
//! # Invariants
//!
//! 1. What a body is compressed by is told by its first bytes alone, never by an option: a store may hold all kinds.
//! 2. Memory is bounded whatever the bytes say: windows and chunks have longest lengths, and what a stream becomes is
//!    never gathered but for the beginning (`PlainText`).
//! 3. A stream that becomes longer or shorter than was said is damage, and none is read beyond [`PLAIN_LEN_MAX`].

mod encoder;
mod error;
mod lz4;
mod plain;
mod stored;

use std::io::{self, BufRead, Read};

pub(crate) use self::{
    encoder::Encoder,
    plain::PlainText,
    stored::{StoredBytes, StoredReader},
};
pub use self::{
    encoder::{BodyCompression, ZstdLevel},
    error::CodecError,
};

/// Longest plain text that a compressed body may become: more than a client can ask for of one message, and an end for
/// streams that were made to have none.
pub const PLAIN_LEN_MAX: u64 = 4 << 30;

/// Largest window of zstd, as its exponent: what the highest levels use, and what Dovecot's reader takes at most. It is
/// the memory that one open message may cost, if it is as long.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Memory that reading xz may take: its highest preset needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 80 << 20;

/// How a body begins that Dovecot's `mail_crypt` has encrypted.
const ENCRYPTED: &[u8] = b"CRYPTED\x03\x07";

/// Whether a body that begins so is encrypted, and can be read by nobody here.
pub(crate) fn is_encrypted(start: &[u8]) -> bool {
    start.starts_with(ENCRYPTED)
}

/// What a body is compressed by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// `zlib_save = gz`.
    Gzip,
    /// `zlib_save = bz2`.
    Bzip2,
    /// `zlib_save = xz`, of older versions.
    Xz,
    /// `zlib_save = zstd`.
    Zstd,
    /// `zlib_save = lz4`: Dovecot's own framing, not that of the lz4 program.
    Lz4,
}

impl Compression {
    /// As many bytes as telling them apart takes.
    pub const MAGIC_LEN: usize = lz4::MAGIC.len();

    /// By the first [`Compression::MAGIC_LEN`] bytes of a body, or all of a shorter one.
    pub fn of(start: &[u8]) -> Option<Self> {
        /// What a block of bzip2 begins with, and what stands in its place in an empty stream.
        const BZIP2_BLOCKS: [&[u8]; 2] = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];
        if start.starts_with(b"\x1f\x8b") {
            return Some(Self::Gzip);
        }
        if start.starts_with(b"\x28\xb5\x2f\xfd") {
            return Some(Self::Zstd);
        }
        if start.starts_with(lz4::MAGIC) {
            return Some(Self::Lz4);
        }
        if start.starts_with(b"\xfd7zXZ\0") {
            return Some(Self::Xz);
        }
        // A text may well begin with BZh1: more is asked for.
        let (level, block) = start.strip_prefix(b"BZh")?.split_first()?;
        let is_bzip2 = (b'1'..=b'9').contains(level) && BZIP2_BLOCKS.iter().any(|magic| block.starts_with(magic));
        is_bzip2.then_some(Self::Bzip2)
    }

    /// The plain bytes of a compressed stream, concatenated streams one after the other. Memory: one window, see the
    /// module. Ends with an error where the stream is damaged or ends too early.
    pub fn decoder<'a>(self, stream: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(stream)),
            Self::Xz => {
                let state = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(stream, state))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Self::Lz4 => Box::new(lz4::Chunks::new(stream)),
        })
    }

    /// What to say of a stream that cannot be read on.
    fn damage(self) -> &'static str {
        match self {
            Self::Gzip => "the gzip stream of the body is damaged or ends too early",
            Self::Bzip2 => "the bzip2 stream of the body is damaged or ends too early",
            Self::Xz => "the xz stream of the body is damaged, ends too early, or needs more memory than it may have",
            Self::Zstd => "the zstd stream of the body is damaged, ends too early, or has too large a window",
            Self::Lz4 => "the lz4 chunks of the body are damaged or end too early",
        }
    }
}

#[cfg(test)]
mod tests;
