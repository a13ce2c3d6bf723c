//! The list of detached attachments, metadata key `X` (`docs/formats/dbox.md`, Detached attachments).

use super::{Metadata, MetadataKey};

/// A part of a message that is stored outside of its file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// Where it begins in the whole message (LF line ends), in bytes.
    pub start: u64,
    /// Its bytes there.
    pub len: u64,
    /// Characters a line of base64, when it is kept decoded.
    pub base64_line_len: Option<u32>,
    /// Whether the base64 lines end with CRLF.
    pub base64_crlf: bool,
    /// The file, relative to the attachment directory, as stored.
    pub path: Vec<u8>,
}

impl Metadata {
    /// The detached attachments, ascending; `None` when the list cannot be read.
    pub fn attachments(&self) -> Option<Vec<Attachment>> {
        let Some(list) = self.value(MetadataKey::ATTACHMENTS) else { return Some(Vec::new()) };
        let mut words = list.split(|&b| b == b' ');
        let mut attachments: Vec<Attachment> = Vec::new();
        while let Some(start) = words.next() {
            let (len, options, path) = (words.next()?, words.next()?, words.next()?);
            let (base64_line_len, base64_crlf) = parse_options(options)?;
            let next = Attachment {
                start: parse_decimal(start)?,
                len: parse_decimal(len)?,
                base64_line_len,
                base64_crlf,
                path: path.to_vec(),
            };
            let before = attachments.last().map_or(Some(0), |last| last.start.checked_add(last.len));
            if before? > next.start || path.is_empty() {
                return None;
            }
            attachments.push(next);
        }
        Some(attachments)
    }
}

fn parse_decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_options(options: &[u8]) -> Option<(Option<u32>, bool)> {
    if options == b"-" {
        return Some((None, false));
    }
    let (crlf, rest) = match options.strip_prefix(b"C") {
        Some(rest) => (true, rest),
        None => (false, options),
    };
    let line_len = match rest.strip_prefix(b"B") {
        Some(digits) => Some(u32::try_from(parse_decimal(digits)?).ok().filter(|n| *n > 0 && n.is_multiple_of(4))?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((line_len, crlf))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Option<Vec<Attachment>> {
        Metadata::parse(format!("X{text}\n\n").as_bytes(), 0).unwrap().0.attachments()
    }

    #[test]
    fn groups_of_four_words() {
        let found = list("100 50 CB76 aa/bb/cc 150 10 - dd").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].base64_line_len, found[0].base64_crlf), (Some(76), true));
        assert_eq!((found[1].start, found[1].base64_line_len), (150, None));
        assert_eq!(Metadata::default().attachments(), Some(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in
            ["", "1 2 -", "1 x - a", "1 2 Z a", "1 2 B3 a", "10 5 - a 12 5 - b", "18446744073709551615 5 - a 1 1 - b"]
        {
            assert_eq!(list(text), None, "{text:?}");
        }
    }
}
