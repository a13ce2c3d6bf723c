//! How the codecs get at a cache file, and what can be wrong with it.

/// A file to read from, piece by piece.
pub trait Window {
    /// Why reading failed.
    type Error;

    /// Up to `len` bytes at `offset`; fewer only at the end of the file.
    fn read(&mut self, offset: u64, len: usize) -> Result<&[u8], Self::Error>;
}

/// A whole file in memory.
impl Window for &[u8] {
    type Error = std::convert::Infallible;

    fn read(&mut self, offset: u64, len: usize) -> Result<&[u8], Self::Error> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or(&[]);
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

/// Why a value could not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CacheError<E> {
    /// The file could not be read.
    #[error("cannot read the cache file")]
    Read(#[source] E),
    /// What was read cannot be right: the file should be thrown away.
    #[error(transparent)]
    Damage(CacheDamage),
}

/// Something in a cache file that cannot be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cache file at offset {offset}: {kind}")]
pub struct CacheDamage {
    /// Where.
    pub offset: u32,
    /// What.
    pub kind: CacheDamageKind,
}

/// What is wrong with a cache file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheDamageKind {
    /// Another version, or offsets of another size.
    #[error("version {major}.{minor} with offsets of {offset_size} bytes is not supported")]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
        /// Bytes of a file offset.
        offset_size: u8,
    },
    /// The file ends too early.
    #[error("the file ends inside it")]
    Truncated,
    /// A size that nothing can have.
    #[error("its size cannot be {0}")]
    Size(u32),
    /// A pointer to a newer block that does not point forwards, or to an older record that does not point backwards.
    #[error("it points to {0}, which makes a loop possible")]
    Pointer(u32),
    /// Too many links.
    #[error("the chain is too long")]
    ChainLength,
    /// A number that no field has.
    #[error("no field has number {0}")]
    FieldNumber(u32),
    /// Zeros where there must be something else: the disk has lost a part.
    #[error("a part of it is zeros")]
    Zeros,
    /// A block of fields that does not parse.
    #[error("the block of fields: {0}")]
    Fields(&'static str),
    /// Too many fields.
    #[error("{0} fields are too many")]
    FieldCount(u32),
}

impl CacheDamageKind {
    pub(super) fn at<E>(self, offset: u32) -> CacheError<E> {
        CacheError::Damage(CacheDamage { offset, kind: self })
    }
}

/// Exactly `len` bytes, or damage at `offset`.
pub(super) fn read_exact<W: Window + ?Sized>(
    window: &mut W,
    offset: u32,
    len: usize,
) -> Result<&[u8], CacheError<W::Error>> {
    let bytes = window.read(u64::from(offset), len).map_err(CacheError::Read)?;
    if bytes.len() < len { Err(CacheDamageKind::Truncated.at(offset)) } else { Ok(bytes) }
}
