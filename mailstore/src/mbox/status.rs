//! The header fields in which an mbox keeps flags, and those that must not be seen (`docs/formats/mbox.md`, Metadata
//! headers).

use mailmime::Fields;
use mailtypes::{Flag, Flags, Keyword};

/// Fields that belong to the file and not to the message.
pub(super) const HIDDEN: [&str; 7] =
    ["Content-Length", "Status", "X-IMAP", "X-IMAPbase", "X-Keywords", "X-Status", "X-UID"];

/// What a message's header says of its flags, and the header without it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// System flags.
    pub flags: Flags,
    /// Keywords that are valid; others are passed over.
    pub keywords: Vec<Keyword>,
    /// Whether this is UW-IMAP's message that holds numbers and is no mail.
    pub is_pseudo: bool,
    /// Length of the body, as the header claims it.
    pub content_length: Option<u64>,
    /// The header without the fields that belong to the file, its empty line included.
    pub header: Vec<u8>,
}

impl Status {
    /// Most keywords that are taken of one message.
    pub const KEYWORDS_MAX: usize = 256;

    /// Reads a header, up to and with its empty line.
    pub fn parse(header: &[u8]) -> Self {
        let mut status = Self { header: Vec::with_capacity(header.len()), ..Self::default() };
        let mut end = 0;
        for field in Fields::new(header) {
            end = field.offset + field.raw.len();
            if !status.take(field.name, field.raw_value) {
                status.header.extend_from_slice(field.raw);
            }
        }
        status.header.extend_from_slice(header.get(end..).unwrap_or_default());
        status
    }

    /// Whether the field belongs to the file.
    fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(hidden) = HIDDEN.iter().find(|hidden| hidden.as_bytes().eq_ignore_ascii_case(name)) else {
            return false;
        };
        match *hidden {
            "Status" if value.contains(&b'R') => self.flags = self.flags | Flag::Seen.into(),
            "X-Status" => {
                self.flags = value.iter().filter_map(|&letter| flag(letter)).fold(self.flags, |a, b| a | b.into())
            }
            "X-Keywords" => self.take_keywords(value),
            "X-IMAP" => self.is_pseudo |= super::meta::parse_base(value).is_some(),
            "Content-Length" => {
                self.content_length = number(value);
            }
            _ => {}
        }
        true
    }

    fn take_keywords(&mut self, value: &[u8]) {
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let valid = words.filter_map(|word| Keyword::new(std::str::from_utf8(word).ok()?).ok());
        for keyword in valid {
            if self.keywords.len() < Self::KEYWORDS_MAX && !self.keywords.contains(&keyword) {
                self.keywords.push(keyword);
            }
        }
    }
}

/// What a header says of its body's length. Of several the last that is a number counts, as for Dovecot.
pub(super) fn content_length(header: &[u8]) -> Option<u64> {
    let is_it = |field: &mailmime::Field<'_>| field.name.eq_ignore_ascii_case(b"Content-Length");
    Fields::new(header).filter(is_it).filter_map(|field| number(field.raw_value)).last()
}

/// A number with space around it.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

pub(super) fn flag(letter: u8) -> Option<Flag> {
    match letter {
        b'A' => Some(Flag::Answered),
        b'F' => Some(Flag::Flagged),
        b'D' => Some(Flag::Deleted),
        b'T' => Some(Flag::Draft),
        _ => None,
    }
}

/// Writes the fields for a message's flags, with LF line ends.
pub fn write_status(flags: Flags, keywords: &[Keyword], out: &mut Vec<u8>) {
    let seen = if flags.contains(Flag::Seen) { "RO" } else { "O" };
    out.extend_from_slice(format!("Status: {seen}\n").as_bytes());
    let letters: String = [(Flag::Answered, 'A'), (Flag::Flagged, 'F'), (Flag::Deleted, 'D'), (Flag::Draft, 'T')]
        .into_iter()
        .filter_map(|(flag, letter)| flags.contains(flag).then_some(letter))
        .collect();
    if !letters.is_empty() {
        out.extend_from_slice(format!("X-Status: {letters}\n").as_bytes());
    }
    if !keywords.is_empty() {
        let names: Vec<&str> = keywords.iter().map(Keyword::as_str).collect();
        out.extend_from_slice(format!("X-Keywords: {}\n", names.join(" ")).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_their_fields_hidden() {
        let header = b"Subject: a\nSTATUS: RO\nX-Status: AF\nX-Keywords: $Label1 \n toDo $label1\nContent-Length: 12\n\
            X-UID: 7\nTo: b\n\n";
        let status = Status::parse(header);
        assert_eq!(status.flags, [Flag::Seen, Flag::Answered, Flag::Flagged].into_iter().collect());
        assert_eq!(status.keywords, [Keyword::new("$Label1").unwrap(), Keyword::new("todo").unwrap()]);
        assert_eq!(status.content_length, Some(12));
        assert_eq!(status.header, b"Subject: a\nTo: b\n\n");
        assert!(!status.is_pseudo);
        assert!(Status::parse(b"X-IMAP: 1165000000 0000000003\n\n").is_pseudo);
        assert!(!Status::parse(b"X-IMAP: hello\n\n").is_pseudo);
    }

    #[test]
    fn what_is_written_is_read() {
        let flags: Flags = [Flag::Draft, Flag::Deleted].into_iter().collect();
        let keywords = [Keyword::new("$Junk").unwrap(), Keyword::new("b").unwrap()];
        let mut header = b"Subject: a\n".to_vec();
        write_status(flags, &keywords, &mut header);
        header.push(b'\n');
        let status = Status::parse(&header);
        assert_eq!((status.flags, &status.keywords[..]), (flags, &keywords[..]));
        assert_eq!(status.header, b"Subject: a\n\n");
    }

    #[test]
    fn a_header_that_is_none_stays() {
        for header in [&b""[..], b"\n", b"no field\n\n", b"Subject: a", b": x\n\n"] {
            assert_eq!(Status::parse(header).header, header);
        }
    }
}
