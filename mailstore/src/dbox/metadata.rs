//! The lines after a body (`docs/formats/dbox.md`, Metadata).

use mailtypes::Guid;

use super::{
    DboxError,
    header::{MAGIC_POST, parse_hex, saturate},
};

/// The letter that a metadata line begins with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MetadataKey(pub u8);

impl MetadataKey {
    /// Time of arrival, hex.
    pub const RECEIVED: Self = Self(b'R');
    /// Size with CRLF line ends, hex.
    pub const VIRTUAL_SIZE: Self = Self(b'V');
    /// The message's GUID.
    pub const GUID: Self = Self(b'G');
    /// Size of the whole plain text with LF line ends, hex, where it is not the body's size as stored.
    pub const PHYSICAL_SIZE: Self = Self(b'Z');
    /// The mailbox it was first saved to, modified UTF-7.
    pub const ORIGINAL_MAILBOX: Self = Self(b'B');
    /// POP3 UIDL.
    pub const POP3_UIDL: Self = Self(b'P');
    /// POP3 order.
    pub const POP3_ORDER: Self = Self(b'O');
    /// Detached attachments.
    pub const ATTACHMENTS: Self = Self(b'X');
    /// Checksum of the body, which Culver writes and Dovecot passes over.
    pub const CHECKSUM: Self = Self(b'c');
}

/// Metadata lines, known and unknown, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metadata {
    lines: Vec<(MetadataKey, Vec<u8>)>,
}

impl Metadata {
    /// Most bytes read, the empty line at the end included.
    pub const LEN_MAX: usize = 1 << 20;

    /// Most bytes that are kept of metadata of which something is damaged.
    const SOUND_LEN_MAX: usize = Self::LEN_MAX / 2;

    /// Parses the lines at the beginning of `bytes`, which lie at `offset` of their file, up to the empty one; also
    /// tells how many bytes they take with it.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<(Self, usize), DboxError> {
        let mut metadata = Self::default();
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest);
            let end = end.ok_or(DboxError::damaged(offset + at as u64, "the metadata is cut short"))?;
            let line = rest.get(..end).unwrap_or_default();
            at += end + 1;
            match line.split_first() {
                Some((&key, value)) => metadata.lines.push((MetadataKey(key), value.to_vec())),
                None => return Ok((metadata, at)),
            }
        }
    }

    /// Reads the whole lines that are there, for metadata that does not parse.
    pub(crate) fn parse_rest(bytes: &[u8]) -> Self {
        let mut metadata = Self::default();
        let bytes = bytes.get(..Self::LEN_MAX).unwrap_or(bytes);
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        for line in bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            match line.split_first() {
                Some((&key, value)) if key.is_ascii_uppercase() => {
                    metadata.lines.push((MetadataKey(key), value.to_vec()))
                }
                _ => {}
            }
        }
        metadata
    }

    /// Drops lines that nobody writes, which would be taken for damage again: those with control characters, and what is
    /// more than metadata are.
    pub(crate) fn drop_rubbish(&mut self) {
        let mut len = 0;
        self.lines.retain(|(key, value)| {
            let is_sound = !key.0.is_ascii_control() && !value.iter().any(u8::is_ascii_control);
            len += if is_sound { value.len() + 2 } else { 0 };
            is_sound && len <= Self::SOUND_LEN_MAX
        });
    }

    /// Gives a key this value alone, in the place of its first.
    pub(crate) fn set(&mut self, key: MetadataKey, value: &[u8]) {
        match self.lines.iter().position(|(there, _)| *there == key) {
            Some(at) => {
                let mut seen = 0;
                self.lines.retain(|(there, _)| *there != key || std::mem::replace(&mut seen, 1) == 0);
                if let Some((_, old)) = self.lines.get_mut(at) {
                    *old = value.to_vec();
                }
            }
            None => drop(self.push(key, value)),
        }
    }

    /// Writes separator, lines and the empty line.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC_POST);
        for (key, value) in &self.lines {
            out.push(key.0);
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        out.push(b'\n');
    }

    /// Adds a line behind the others; false, and nothing added, if the value has a line end or the key is one.
    pub fn push(&mut self, key: MetadataKey, value: &[u8]) -> bool {
        let fits = key.0 != b'\n' && memchr::memchr(b'\n', value).is_none();
        if fits {
            self.lines.push((key, value.to_vec()));
        }
        fits
    }

    /// The first value of a key.
    pub fn value(&self, key: MetadataKey) -> Option<&[u8]> {
        self.lines.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_slice())
    }

    /// All lines in their order.
    pub fn lines(&self) -> impl Iterator<Item = (MetadataKey, &[u8])> {
        self.lines.iter().map(|(key, value)| (*key, value.as_slice()))
    }

    /// When the message arrived, Unix seconds.
    pub fn received(&self) -> Option<u32> {
        self.hex(MetadataKey::RECEIVED).map(saturate)
    }

    /// Size with CRLF line ends.
    pub fn virtual_size(&self) -> Option<u64> {
        self.hex(MetadataKey::VIRTUAL_SIZE)
    }

    /// Size of the plain text with LF line ends, where it differs from the body's.
    pub fn physical_size(&self) -> Option<u64> {
        self.hex(MetadataKey::PHYSICAL_SIZE)
    }

    /// The message's GUID, if it is written as one.
    pub fn guid(&self) -> Option<Guid> {
        self.value(MetadataKey::GUID).and_then(|value| Guid::parse(value).ok())
    }

    fn hex(&self, key: MetadataKey) -> Option<u64> {
        self.value(key).and_then(parse_hex)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_lines() {
        let bytes = b"R6b0277ab\nV17\nGb1a2ac0aab77026b59260000c17ffdbc\n\nrest";
        let (metadata, len) = Metadata::parse(bytes, 0x46).unwrap();
        assert_eq!(len, bytes.len() - 4);
        assert_eq!(metadata.received(), Some(0x6b02_77ab));
        assert_eq!(metadata.virtual_size(), Some(0x17));
        assert_eq!(metadata.guid().unwrap().to_string(), "b1a2ac0aab77026b59260000c17ffdbc");
        assert_eq!(metadata.physical_size(), None);
        let mut out = Vec::new();
        metadata.write(&mut out);
        assert_eq!(out[4..], bytes[..len]);
    }

    #[test]
    fn unknown_keys_stay_and_the_first_of_a_key_counts() {
        let (metadata, _) = Metadata::parse(b"Qx\nV1\nV2\n \n\n", 0).unwrap();
        assert_eq!(metadata.virtual_size(), Some(1));
        assert_eq!(metadata.lines().count(), 4);
    }

    #[test]
    fn a_value_cannot_break_its_line() {
        let mut metadata = Metadata::default();
        assert!(!metadata.push(MetadataKey::POP3_UIDL, b"a\nG0"));
        assert!(metadata.push(MetadataKey::POP3_UIDL, b"a"));
        assert_eq!(metadata.lines().count(), 1);
    }

    #[test]
    fn rubbish_is_dropped_and_the_rest_stays() {
        let bytes = b"R6b0277ab\nP\0\n\x01x\nGb1a2ac0aab77026b59260000c17ffdbc\nQ\x7f\n\xff\n\n";
        let (mut metadata, _) = Metadata::parse(bytes, 0).unwrap();
        metadata.drop_rubbish();
        let keys: Vec<u8> = metadata.lines().map(|(key, _)| key.0).collect();
        assert_eq!(keys, b"RG\xff");
        assert!(metadata.push(MetadataKey::POP3_UIDL, &vec![b'x'; Metadata::LEN_MAX]));
        metadata.drop_rubbish();
        assert_eq!(metadata.lines().count(), 3);
    }

    #[test]
    fn a_cut_is_seen() {
        for len in 0..11 {
            assert!(Metadata::parse(&b"R1\nV2\nG33\n\n"[..len], 0).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((metadata, len)) = Metadata::parse(&bytes, 0) {
                let mut out = Vec::new();
                metadata.write(&mut out);
                prop_assert_eq!(&out[4..], &bytes[..len]);
                let _ = metadata.attachments();
            }
        }
    }
}
