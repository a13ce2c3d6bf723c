//! The checksum of a body, in a metadata line of our own that Dovecot passes over and keeps (`docs/formats/dbox.md`,
//! Checksum).

use super::{DboxError, DboxMessage, Metadata, MetadataKey, PlainBody, header::parse_hex, stored::told_of_body};
use crate::compressed::Compression;

/// What stands before the eight hex digits of a CRC-32 (IEEE 802.3).
const CRC32: &[u8] = b"crc32:";

/// Bytes read at once.
const READ_LEN: usize = 128 << 10;

/// What was found of a body that is all right as far as can be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Whether there is a checksum, and it fits. Without one, only compression tells bytes that were changed.
    pub checksum: bool,
    /// What it is compressed by; then all of it could be decoded, and is as long as its metadata say.
    pub compression: Option<Compression>,
    /// Bytes read of the body as stored.
    pub stored_len: u64,
}

impl Metadata {
    /// Adds the line for the CRC-32 of a body as stored.
    pub(crate) fn push_checksum(&mut self, crc32: u32) {
        let value = [CRC32, format!("{crc32:08x}").as_bytes()].concat();
        self.push(MetadataKey::CHECKSUM, &value);
    }

    /// The CRC-32 of the body as stored, if there is a line for it that we know how to read.
    pub fn crc32(&self) -> Option<u32> {
        let digits = self.value(MetadataKey::CHECKSUM)?.strip_prefix(CRC32)?;
        let value = (digits.len() == 8).then(|| parse_hex(digits)).flatten()?;
        u32::try_from(value).ok()
    }
}

/// Reads a message's metadata and all of its body, and compares them: the checksum, if there is one; a compressed body
/// is decoded, and its length compared. Detached attachments are not looked at. Costs one reading of the body, and
/// another with the decoding of a compressed one; memory is bounded.
///
/// # Errors
/// [`DboxError::Damaged`], which says where; [`DboxError::Fs`] where nothing can be said.
pub fn verify(message: DboxMessage) -> Result<Verified, DboxError> {
    let metadata = message.metadata()?;
    let stored_len = message.body_len();
    let expected = metadata.crc32();
    if fits(&message, &metadata)? == Some(false) {
        let what = "the body is not what was written: its checksum is another";
        return Err(DboxError::damaged(message.body_offset(), what));
    }
    let told = told_of_body(&metadata, &message)?;
    let body = PlainBody::of(message, |_| Ok(told))?;
    let compression = body.compression();
    if compression.is_some() || expected.is_none() {
        go_over(u64::MAX, |at, buf| body.read(at, buf), |_| {})?;
    }
    if told.len.is_some_and(|len| !body.is_encrypted() && body.len().is_ok_and(|there| there != len)) {
        let what = "the body is not as long as its metadata say (Z)";
        return Err(DboxError::damaged(body.message().metadata_offset(), what));
    }
    Ok(Verified { checksum: expected.is_some(), compression, stored_len })
}

/// Whether the body as stored has the checksum that its metadata have; `None`: they have none. Reads the body once if so.
pub(crate) fn fits(message: &DboxMessage, metadata: &Metadata) -> Result<Option<bool>, DboxError> {
    let Some(expected) = metadata.crc32() else { return Ok(None) };
    let mut hasher = crc32fast::Hasher::new();
    go_over(message.body_len(), |at, buf| message.read_body(at, buf), |bytes| hasher.update(bytes))?;
    Ok(Some(hasher.finalize() == expected))
}

/// Reads from the beginning until `len` bytes were read or there are no more.
fn go_over(
    len: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, DboxError>,
    mut see: impl FnMut(&[u8]),
) -> Result<(), DboxError> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(READ_LEN).min(READ_LEN)];
    let mut at = 0;
    while at < len {
        let count = read(at, &mut buffer)?;
        if count == 0 {
            break;
        }
        see(buffer.get(..count).unwrap_or_default());
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::{FileSystem, OpenMode, RealDisk};

    use super::*;
    use crate::{
        compressed::{BodyCompression, ZstdLevel},
        dbox::{DboxWriter, WriterOptions},
    };

    fn write(path: &Path, body: &[u8], compression: BodyCompression) {
        let file = RealDisk::new().open(path, OpenMode::CreateNew { mode: 0o600 }).unwrap();
        let mut writer = DboxWriter::new(file, 1, WriterOptions { compression, ..WriterOptions::default() });
        writer.write(body).unwrap();
        let finish = |body: &crate::dbox::WrittenBody| {
            let mut metadata = Metadata::default();
            if let Some(len) = body.compressed_from(compression) {
                metadata.push(MetadataKey::PHYSICAL_SIZE, format!("{len:x}").as_bytes());
            }
            metadata.push_checksum(body.crc32);
            metadata
        };
        writer.finish(finish).unwrap();
    }

    fn verify_file(path: &Path) -> Result<Verified, DboxError> {
        verify(DboxMessage::open(&RealDisk::new(), path)?)
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let body = format!("Subject: x\n\n{}", "some body that can be compressed\n".repeat(20)).into_bytes();
        for (name, compression) in
            [("plain", BodyCompression::None), ("zstd", BodyCompression::Zstd(ZstdLevel::default()))]
        {
            let path = dir.path().join(name);
            write(&path, &body, compression);
            let verified = verify_file(&path).unwrap();
            let expect = (compression != BodyCompression::None).then_some(Compression::Zstd);
            assert_eq!((verified.checksum, verified.compression), (true, expect));
            let whole = std::fs::read(&path).unwrap();
            let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
            let (from, to) = (message.body_offset() as usize, message.metadata_offset() as usize);
            for at in (from..to).step_by(3) {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << (at % 8);
                std::fs::write(&path, &damaged).unwrap();
                assert!(matches!(verify_file(&path), Err(DboxError::Damaged { .. })), "{name}, {at}");
            }
        }
    }

    #[test]
    fn lines_that_are_not_known_say_nothing() {
        for (value, crc32) in [
            (&b"crc32:1a2b3c4d"[..], Some(0x1a2b_3c4d)),
            (b"crc32:1a2b3c4", None),
            (b"crc32:1a2b3c4d5", None),
            (b"crc32:+a2b3c4d", None),
            (b"sha256:1a2b3c4d", None),
            (b"", None),
        ] {
            let mut metadata = Metadata::default();
            metadata.push(MetadataKey::CHECKSUM, value);
            assert_eq!(metadata.crc32(), crc32, "{}", value.escape_ascii());
        }
    }
}
