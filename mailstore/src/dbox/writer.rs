//! Writing a message file while it arrives, and parsing the message on its way.

use mailfs::FileHandle;

use super::{DboxError, FileHeader, MessageHeader, Metadata, SavedAs};
pub use crate::indexed::{BodyLineEnds, WriterOptions, Written, WrittenBody};
use crate::indexed::{BodyWriteError, BodyWriter, Closing};

/// Writes one message into a new file that nobody else knows of yet: file header, a message header with size 0, the
/// body as it comes; at the end the metadata, and the size into its place.
#[derive(Debug)]
pub struct DboxWriter {
    body: BodyWriter,
    header_offset: u64,
}

impl From<BodyWriteError> for DboxError {
    fn from(error: BodyWriteError) -> Self {
        match error {
            BodyWriteError::Refused(why) => Self::Refused(why),
            BodyWriteError::Fs(e) => Self::Fs(e),
        }
    }
}

impl DboxWriter {
    /// Begins a file made at `created` (Unix seconds).
    pub fn new(file: FileHandle, created: u32, options: WriterOptions) -> Self {
        let mut head = Vec::new();
        FileHeader::new(created).write(&mut head);
        let header_offset = head.len() as u64;
        MessageHeader::new(0).write(&mut head);
        Self { body: BodyWriter::new(file, head, options), header_offset }
    }

    /// The next bytes of the message, with LF or CRLF line ends, cut anywhere.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DboxError> {
        Ok(self.body.write(bytes)?)
    }

    /// About how many bytes of memory it holds.
    pub fn held_len(&self) -> usize {
        self.body.held_len()
    }

    /// The message is whole, and gets the metadata of one that was taken in.
    pub(crate) fn finish_saved(self, saved: &SavedAs<'_>) -> Result<Written, DboxError> {
        let compression = self.body.compression();
        self.finish(|body| Metadata::of_saved(body, compression, saved))
    }

    /// The message is whole: `metadata` is told what was written and makes the lines.
    pub fn finish(self, metadata: impl FnOnce(&WrittenBody) -> Metadata) -> Result<Written, DboxError> {
        let offset = self.header_offset;
        let written = self.body.finish(|body| {
            let (mut header, mut tail) = (Vec::with_capacity(MessageHeader::LEN), Vec::new());
            MessageHeader::new(body.stored_len).write(&mut header);
            metadata(body).write(&mut tail);
            Closing { patch: Some((offset, header)), tail }
        })?;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::{FileSystem, OpenMode, RealDisk};
    use proptest::prelude::*;

    use super::{super::*, *};

    fn write(dir: &Path, pieces: &[&[u8]], options: WriterOptions) -> Result<(Written, std::path::PathBuf), DboxError> {
        let path = dir.join("u.1");
        let _ = std::fs::remove_file(&path);
        let file = RealDisk::new().open(&path, OpenMode::CreateNew { mode: 0o600 })?;
        let mut writer = DboxWriter::new(file, 0x6b02_77ab, options);
        for piece in pieces {
            writer.write(piece)?;
        }
        let written = writer.finish(|body| {
            let mut metadata = Metadata::default();
            metadata.push(MetadataKey::RECEIVED, b"6b0277ab");
            metadata.push(MetadataKey::VIRTUAL_SIZE, format!("{:x}", body.virtual_size).as_bytes());
            metadata.push(MetadataKey::GUID, b"b1a2ac0aab77026b59260000c17ffdbc");
            metadata
        })?;
        Ok((written, path))
    }

    #[test]
    fn the_known_file() {
        let dir = tempfile::tempdir().unwrap();
        let (written, path) = write(dir.path(), &[b"Subject: two\r\n\r\nbody2\r\n"], WriterOptions::default()).unwrap();
        assert_eq!((written.body_len, written.virtual_size), (0x14, 0x17));
        let expect = b"2 M1e C6b0277ab\n\x01\x02N          0000000000000014\nSubject: two\n\nbody2\n\
            \n\x01\x03\nR6b0277ab\nV17\nGb1a2ac0aab77026b59260000c17ffdbc\n\n";
        assert_eq!(std::fs::read(&path).unwrap(), expect);
    }

    #[test]
    fn nuls_are_refused_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let refused = write(dir.path(), &[b"a\n", b"\0b"], WriterOptions::default());
        assert!(matches!(refused, Err(DboxError::Refused(_))));
        let options = WriterOptions { nuls: NulPolicy::Replace, ..WriterOptions::default() };
        let (_, path) = write(dir.path(), &[b"a\n\0b"], options).unwrap();
        let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
        let mut body = [0; 8];
        assert_eq!(message.read_body(0, &mut body).unwrap(), 4);
        assert_eq!(&body[..4], b"a\n\x80b");
        let options = WriterOptions { nuls: NulPolicy::Keep, ..WriterOptions::default() };
        let (_, path) = write(dir.path(), &[b"a\n\0b"], options).unwrap();
        let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
        assert_eq!(message.read_body(0, &mut body).unwrap(), 4);
        assert_eq!(&body[..4], b"a\n\0b");
    }

    #[test]
    fn a_file_cut_anywhere_is_told_and_dumped() {
        let dir = tempfile::tempdir().unwrap();
        let (_, path) = write(dir.path(), &[b"Subject: x\n\nbody\n"], WriterOptions::default()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let read = DboxMessage::open(&RealDisk::new(), &path).and_then(|m| m.metadata());
            assert!(matches!(read, Err(DboxError::Damaged { .. })), "{len}");
            let file = RealDisk::new().open(&path, OpenMode::Read).unwrap();
            let dump = dump(&*file).unwrap();
            assert!(dump.text.contains("DAMAGE") || len == 16, "{len}: {}", dump.text);
        }
    }

    #[test]
    fn files_of_many_messages_are_dumped_around_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (_, path) = write(dir.path(), &[b"Subject: x\n\nbody\n"], WriterOptions::default()).unwrap();
        let one = std::fs::read(&path).unwrap();
        let mut many = one.clone();
        many.extend_from_slice(b"rubbish\x01\x02");
        many.extend_from_slice(&one[16..]);
        std::fs::write(&path, &many).unwrap();
        let dump = dump(&*RealDisk::new().open(&path, OpenMode::Read).unwrap()).unwrap();
        assert_eq!(dump.json["messages"].as_array().unwrap().len(), 2);
        assert_eq!(dump.json["damage"][0]["offset"], one.len());
        assert_eq!(dump.json["messages"][1]["body_len"], 17);
    }

    /// Each CR that an LF follows is dropped.
    fn as_lf(bytes: &[u8]) -> Vec<u8> {
        let keep = |i: usize| !(bytes[i] == b'\r' && bytes.get(i + 1) == Some(&b'\n'));
        (0..bytes.len()).filter(|&i| keep(i)).map(|i| bytes[i]).collect()
    }

    fn as_crlf(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &b in bytes {
            if b == b'\n' && out.last() != Some(&b'\r') {
                out.push(b'\r');
            }
            out.push(b);
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_cut_gives_the_same_file(
            pieces in prop::collection::vec(
                prop::collection::vec(prop::sample::select(b"\r\na:".to_vec()), 0..12), 0..8),
            long in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let filler = b"0123456789\r\n".repeat(8000);
            if long {
                pieces.insert(pieces.len() / 2, &filler);
            }
            let whole = pieces.concat();
            for line_ends in [BodyLineEnds::Lf, BodyLineEnds::CrLf] {
                let options = WriterOptions { line_ends, ..WriterOptions::default() };
                let (written, path) = write(dir.path(), &pieces, options).unwrap();
                let expect = if line_ends == BodyLineEnds::Lf { as_lf(&whole) } else { as_crlf(&whole) };
                let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
                let mut body = vec![0; expect.len() + 1];
                let read = message.read_body(0, &mut body).unwrap();
                prop_assert_eq!(&body[..read], &expect[..]);
                prop_assert_eq!(written.body_len, expect.len() as u64);
                prop_assert_eq!(written.virtual_size, as_crlf(&expect).len() as u64);
                prop_assert_eq!(message.metadata().unwrap().virtual_size(), Some(written.virtual_size));
            }
        }
    }
}
