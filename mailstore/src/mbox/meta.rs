//! The header fields in which an mbox keeps what others keep in an index (`docs/formats/mbox.md`, Metadata headers).
//!
//! What clients see of a header is without them. A writer leaves spaces behind the last value of ours, so that the next
//! change finds room without moving the file.

use mailmime::Fields;
use mailtypes::{Flag, Flags, Keyword, Uid, UidValidity};
use md5::{Digest, Md5};

use super::{
    FromLine,
    status::{HIDDEN, Status, flag, number},
};

/// Spaces left for changes to come.
pub(super) const PADDING_LEN: usize = 50;

/// Digits of the highest UID, so that it can be changed in its place.
const LAST_UID_DIGITS: usize = 10;

/// Keywords go on on another line behind so many bytes.
const KEYWORDS_LINE_LEN: usize = 1024;

/// A highest UID from here on leaves too few for what is to come: who says so (one mail to an empty mailbox is enough) is not
/// believed.
const LAST_UID_MAX: u32 = 0xf000_0000;

/// Line of keywords without any.
const KEYWORDS_LINE: &[u8] = b"X-Keywords: ";

/// What the first message's header says of the mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Base {
    pub(super) uid_validity: UidValidity,
    /// The highest UID ever given; 0: none.
    pub(super) last_uid: u32,
    pub(super) keywords: Vec<Keyword>,
}

/// What a header says beside what clients see.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    pub(super) uid: Option<Uid>,
    pub(super) base: Option<Base>,
    /// Whether this is no mail but holds the base alone.
    pub(super) is_pseudo: bool,
    pub(super) flags: Flags,
    /// Not recent any more.
    pub(super) is_old: bool,
    pub(super) keywords: Vec<Keyword>,
    pub(super) content_length: Option<u64>,
    /// Where the digits of the base's highest UID stand, bytes from the header's beginning.
    pub(super) last_uid_at: Option<usize>,
}

fn is(name: &[u8], what: &str) -> bool {
    name.eq_ignore_ascii_case(what.as_bytes())
}

/// Whether a field belongs to the file and not to the message.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    HIDDEN.iter().any(|hidden| is(name, hidden))
}

impl Meta {
    /// Reads a header. Of a field that is there twice the last counts, as for Dovecot.
    pub(super) fn parse(header: &[u8]) -> Self {
        let mut meta = Self::default();
        for field in Fields::new(header) {
            let value = field.raw_value;
            match field.name {
                name if is(name, "X-UID") => {
                    meta.uid = number(value).and_then(|n| Uid::new(u32::try_from(n).ok()?));
                }
                name if is(name, "X-IMAPbase") || is(name, "X-IMAP") => {
                    if let Some((base, at)) = parse_base(value) {
                        // With anything else behind it, this is a mail like others.
                        meta.is_pseudo |= is(name, "X-IMAP");
                        let is_credible = base.last_uid < LAST_UID_MAX;
                        let in_raw = at.map(|at| field.offset + (field.raw.len() - value.len()) + at);
                        (meta.last_uid_at, meta.base) =
                            (in_raw.filter(|_| is_credible), Some(base).filter(|_| is_credible));
                    }
                }
                name if is(name, "Status") => {
                    meta.is_old = value.contains(&b'O');
                    let seen = if value.contains(&b'R') { Flag::Seen.into() } else { Flags::NONE };
                    meta.flags = meta.flags.without(Flag::Seen.into()) | seen;
                }
                name if is(name, "X-Status") => {
                    meta.flags = value.iter().filter_map(|&c| flag(c)).fold(meta.flags, |all, flag| all | flag.into());
                }
                name if is(name, "X-Keywords") => add_keywords(value, &mut meta.keywords),
                name if is(name, "Content-Length") => meta.content_length = number(value).or(meta.content_length),
                _ => {}
            }
        }
        meta
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn add_keywords(value: &[u8], keywords: &mut Vec<Keyword>) {
    let valid = words(value).filter_map(|word| Keyword::new(std::str::from_utf8(word).ok()?).ok());
    for keyword in valid {
        if keywords.len() < Status::KEYWORDS_MAX && !keywords.contains(&keyword) {
            keywords.push(keyword);
        }
    }
}

/// The base, and where the digits of the highest UID begin if there are any: to Dovecot too, the first number is enough.
pub(super) fn parse_base(value: &[u8]) -> Option<(Base, Option<usize>)> {
    let mut all = words(value);
    let uid_validity = UidValidity::new(u32::try_from(number(all.next()?)?).ok()?)?;
    let digits = all.next();
    let last_uid = digits.map_or(Some(0), |digits| u32::try_from(number(digits)?).ok())?;
    let at = digits.and_then(|digits| (digits.as_ptr() as usize).checked_sub(value.as_ptr() as usize));
    let mut keywords = Vec::new();
    all.for_each(|word| add_keywords(word, &mut keywords));
    Some((Base { uid_validity, last_uid, keywords }, at))
}

/// A highest UID as it stands in its place.
pub(super) fn last_uid_digits(last_uid: u32) -> String {
    format!("{last_uid:0width$}", width = LAST_UID_DIGITS)
}

/// A header without what belongs to the file.
pub(super) fn visible(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len());
    let mut end = 0;
    for field in Fields::new(header) {
        end = field.offset + field.raw.len();
        if !is_hidden(field.name) {
            out.extend_from_slice(field.raw);
        }
    }
    out.extend_from_slice(header.get(end..).unwrap_or_default());
    out
}

/// Which fields tell one message from another where it has no UID: the MD5 of their values is what Dovecot calls its GUID.
/// All who open a store must agree.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MboxMd5 {
    /// The first Received, Date and Message-ID before it, Delivered-To and X-Delivery-ID.
    #[default]
    Apop3d,
    /// All that clients see.
    All,
}

/// See [`MboxMd5`].
pub(super) fn header_md5(header: &[u8], which: MboxMd5) -> [u8; 16] {
    let mut hash = Md5::new();
    let mut received = false;
    for field in Fields::new(header) {
        let counts = match field.name {
            name if which == MboxMd5::All => !is_hidden(name),
            name if is(name, "Date") || is(name, "Message-ID") => !received,
            name if is(name, "Received") => !std::mem::replace(&mut received, true),
            name => is(name, "Delivered-To") || is(name, "X-Delivery-ID"),
        };
        if !counts {
            continue;
        }
        for (number, line) in field.raw_value.split_inclusive(|&c| c == b'\n').enumerate() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let start = line.iter().take(1).take_while(|c| number == 0 && matches!(c, b' ' | b'\t')).count();
            hash.update(line.get(start..).unwrap_or_default());
        }
    }
    hash.finalize().into()
}

/// The fields of ours in one header.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnFields<'a> {
    pub(super) base: Option<&'a Base>,
    pub(super) is_pseudo: bool,
    pub(super) uid: Option<Uid>,
    pub(super) flags: Flags,
    pub(super) is_old: bool,
    pub(super) keywords: &'a [Keyword],
    pub(super) content_length: Option<u64>,
}

impl OwnFields<'_> {
    /// A whole header: what clients see of it, and these fields behind. `len`: it must be as long as that; `None` if it
    /// would be longer. Without `len` it has room for changes to come.
    pub(super) fn write(&self, visible: &[u8], len: Option<usize>) -> Option<Vec<u8>> {
        let parts = Parts::of(visible);
        let mut lines = self.lines(&parts);
        let least = parts.least_len(&lines);
        let spaces = match len {
            Some(len) => len.checked_sub(least)?,
            None => KEYWORDS_LINE.len() + parts.line_end.len() + PADDING_LEN,
        };
        pad(&mut lines, spaces, parts.line_end.len());
        let mut out = Vec::with_capacity(least + spaces);
        out.extend_from_slice(parts.before);
        out.extend_from_slice(parts.joint);
        for line in lines {
            out.extend_from_slice(&line);
            out.extend_from_slice(parts.line_end);
        }
        out.extend_from_slice(parts.behind);
        out.extend_from_slice(parts.empty_line);
        Some(out)
    }

    /// How long the header is at least.
    pub(super) fn least_len(&self, visible: &[u8]) -> usize {
        let parts = Parts::of(visible);
        parts.least_len(&self.lines(&parts))
    }

    fn lines(&self, parts: &Parts<'_>) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        if let Some(base) = self.base {
            let name = if self.is_pseudo { "X-IMAP" } else { "X-IMAPbase" };
            let line = format!("{name}: {} {} ", base.uid_validity.value(), last_uid_digits(base.last_uid));
            lines.push(with_keywords(line.into_bytes(), &base.keywords, parts.line_end));
        }
        if let Some(uid) = self.uid {
            lines.push(format!("X-UID: {}", uid.value()).into_bytes());
        }
        let seen = if self.flags.contains(Flag::Seen) { "R" } else { "" };
        lines.push(format!("Status: {seen}{}", if self.is_old { "O" } else { "" }).into_bytes());
        let letters: String = [(Flag::Answered, 'A'), (Flag::Flagged, 'F'), (Flag::Draft, 'T'), (Flag::Deleted, 'D')]
            .into_iter()
            .filter_map(|(flag, letter)| self.flags.contains(flag).then_some(letter))
            .collect();
        if !letters.is_empty() {
            lines.push(format!("X-Status: {letters}").into_bytes());
        }
        if !self.keywords.is_empty() {
            lines.push(with_keywords(KEYWORDS_LINE.to_vec(), self.keywords, parts.line_end));
        }
        // Without its empty line there is no place that a length counts from.
        if let Some(len) = self.content_length.filter(|_| !parts.empty_line.is_empty()) {
            lines.push(format!("Content-Length: {len}").into_bytes());
        }
        lines
    }
}

/// A field that ends with a space and goes on with keywords, on several lines if they are many.
fn with_keywords(mut field: Vec<u8>, keywords: &[Keyword], line_end: &[u8]) -> Vec<u8> {
    let mut line_start = 0;
    for (number, keyword) in keywords.iter().enumerate() {
        if number > 0 && field.len() - line_start > KEYWORDS_LINE_LEN {
            field.extend_from_slice(line_end);
            line_start = field.len();
            field.push(b'\t');
        } else if number > 0 {
            field.push(b' ');
        }
        field.extend_from_slice(keyword.as_str().as_bytes());
    }
    if keywords.is_empty() {
        field.truncate(field.trim_ascii_end().len());
    }
    field
}

/// Where fields of ours go in a header, and the empty line behind it.
struct Parts<'a> {
    /// What is in front of them, and a line end that it needs.
    before: &'a [u8],
    joint: &'static [u8],
    /// What is behind them.
    behind: &'a [u8],
    empty_line: &'a [u8],
    line_end: &'static [u8],
}

impl<'a> Parts<'a> {
    fn of(header: &'a [u8]) -> Self {
        let empty_line: usize = match header {
            b"\n" | b"\r\n" => header.len(),
            _ if header.ends_with(b"\n\r\n") => 2,
            _ => usize::from(header.ends_with(b"\n\n")),
        };
        let (fields, empty_line) = header.split_at_checked(header.len() - empty_line).unwrap_or((header, b""));
        let line_end: &[u8] = if memchr::memmem::find(header, b"\r\n").is_some() { b"\r\n" } else { b"\n" };
        let (mut at, mut joint): (usize, &[u8]) = (fields.len(), b"");
        if !fields.is_empty() && !fields.ends_with(b"\n") {
            // The last line stays without an end, and so the last, unless it would be another there: the rest of one of
            // ours, or a separator.
            at = Fields::new(fields).last().map_or(0, |field| field.offset);
            if at == 0 && (matches!(fields.first(), Some(b' ' | b'\t')) || FromLine::parse(fields).is_some()) {
                (at, joint) = (fields.len(), line_end);
            }
        }
        let (before, behind) = fields.split_at_checked(at).unwrap_or((fields, b""));
        Self { before, joint, behind, empty_line, line_end }
    }

    fn least_len(&self, lines: &[Vec<u8>]) -> usize {
        let own = lines.iter().map(|line| line.len() + self.line_end.len()).sum::<usize>();
        self.before.len() + self.joint.len() + own + self.behind.len() + self.empty_line.len()
    }
}

/// Puts spaces behind the keywords, on a line of their own if there are enough, or else behind the UID.
fn pad(lines: &mut Vec<Vec<u8>>, mut spaces: usize, line_end_len: usize) {
    let line_of = |lines: &[Vec<u8>], name: &[u8]| lines.iter().position(|line| line.starts_with(name));
    let mut at = line_of(lines, KEYWORDS_LINE);
    if let (None, Some(left)) = (at, spaces.checked_sub(KEYWORDS_LINE.len() + line_end_len)) {
        let place = line_of(lines, b"Content-Length").unwrap_or(lines.len());
        lines.insert(place, KEYWORDS_LINE.to_vec());
        (at, spaces) = (Some(place), left);
    }
    let at = at.or_else(|| line_of(lines, b"X-UID")).unwrap_or(0);
    if let Some(line) = lines.get_mut(at) {
        line.resize(line.len() + spaces, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(name: &str) -> Keyword {
        Keyword::new(name).unwrap()
    }

    fn base() -> Base {
        Base { uid_validity: UidValidity::new(1_795_322_972).unwrap(), last_uid: 27, keywords: vec![keyword("a")] }
    }

    #[test]
    fn what_dovecot_writes_is_read() {
        let header = b"Subject: x\nX-IMAPbase: 1795322972 0000000027 a\nX-UID: 3                 \nStatus: RO\n\
            X-Status: AT\nX-Keywords: a $Label1      \nContent-Length: 414\n\n";
        let meta = Meta::parse(header);
        assert_eq!((meta.uid, meta.base), (Uid::new(3), Some(base())));
        assert_eq!(meta.flags, [Flag::Seen, Flag::Answered, Flag::Draft].into_iter().collect());
        assert!(meta.is_old && !meta.is_pseudo);
        assert_eq!((meta.keywords, meta.content_length), (vec![keyword("a"), keyword("$Label1")], Some(414)));
        let at = meta.last_uid_at.unwrap();
        assert_eq!(&header[at..at + 10], b"0000000027");
        assert_eq!(visible(header), b"Subject: x\n\n");
    }

    /// Measured with Dovecot 2.3.19, but for the highest UID, of which it believes more.
    #[test]
    fn a_base_is_two_numbers() {
        for (value, last_uid, is_pseudo) in [
            ("5 0000000003", Some(3), true),
            ("5 3 a", Some(3), true),
            ("5", Some(0), true),
            ("hello", None, false),
            ("0 0", None, false),
            ("5 x", None, false),
            ("", None, false),
            ("77 4294967293", None, true),
        ] {
            let meta = Meta::parse(format!("X-IMAP: {value}\n\n").as_bytes());
            assert_eq!((meta.base.map(|base| base.last_uid), meta.is_pseudo), (last_uid, is_pseudo), "{value}");
        }
    }

    #[test]
    fn a_header_has_the_length_it_is_to_have() {
        let (base, keywords) = (base(), [keyword("b")]);
        for (visible_header, keywords) in
            [(&b"A: 1\n\n"[..], &keywords[..]), (b"A: 1\r\n\r\n", &[]), (b"A: 1", &[]), (b"\n", &[]), (b"", &keywords)]
        {
            let fields = OwnFields {
                base: Some(&base),
                is_pseudo: false,
                uid: Uid::new(7),
                flags: Flag::Flagged.into(),
                is_old: true,
                keywords,
                content_length: Some(3),
            };
            let least = fields.least_len(visible_header);
            assert_eq!(fields.write(visible_header, Some(least - 1)), None);
            for len in least..least + 60 {
                let header = fields.write(visible_header, Some(len)).unwrap();
                assert_eq!(header.len(), len);
                let meta = Meta::parse(&header);
                assert_eq!((meta.uid, meta.base.as_ref()), (fields.uid, Some(&base)));
                assert_eq!((meta.flags, meta.keywords.as_slice()), (fields.flags, keywords));
                assert_eq!(meta.content_length, Some(3).filter(|_| visible_header.ends_with(b"\n")));
                assert_eq!(visible(&header), visible_header);
            }
        }
    }

    #[test]
    fn many_keywords_stand_on_several_lines() {
        let keywords: Vec<_> = (0..120).map(|n| keyword(&format!("keyword-number-{n}"))).collect();
        let base = Base { keywords: keywords.clone(), ..base() };
        let fields = OwnFields {
            base: Some(&base),
            is_pseudo: false,
            uid: Uid::new(7),
            flags: Flags::NONE,
            is_old: true,
            keywords: &keywords,
            content_length: None,
        };
        for visible_header in [&b"A: 1\n\n"[..], b"A: 1\r\n\r\n"] {
            let header = fields.write(visible_header, None).unwrap();
            assert!(header.split(|c| *c == b'\n').all(|line| line.len() < KEYWORDS_LINE_LEN + 100));
            let meta = Meta::parse(&header);
            assert_eq!((meta.keywords, meta.base.as_ref()), (keywords.clone(), Some(&base)));
            assert_eq!(visible(&header), visible_header);
        }
    }

    /// A header that ends without a line end keeps its last line last, and no line becomes part of another.
    #[test]
    fn fields_of_ours_change_no_line_of_others() {
        let fields = OwnFields {
            base: None,
            is_pseudo: false,
            uid: Uid::new(7),
            flags: Flags::NONE,
            is_old: true,
            keywords: &[],
            content_length: None,
        };
        let from = "From a Thu Nov 29 22:33:52 2001";
        for (before, after) in [
            ("A: 1", "X-UID: 7\nStatus: O\nA: 1"),
            ("A: 1\nB: 2\n c", "A: 1\nX-UID: 7\nStatus: O\nB: 2\n c"),
            (" c", " c\nX-UID: 7\nStatus: O\n"),
            (" c\nA: 1", " c\nX-UID: 7\nStatus: O\nA: 1"),
            (from, &format!("{from}\nX-UID: 7\nStatus: O\n")),
            (&format!("{from}\nA: 1"), &format!("{from}\nX-UID: 7\nStatus: O\nA: 1")),
        ] {
            let least = fields.least_len(before.as_bytes());
            assert_eq!(String::from_utf8(fields.write(before.as_bytes(), Some(least)).unwrap()).unwrap(), after);
        }
    }

    /// Measured with Dovecot 2.3.19.
    #[test]
    fn the_hash_is_that_of_dovecot() {
        let hash =
            |header: &[u8]| header_md5(header, MboxMd5::Apop3d).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let of_text = |text: &[u8]| Md5::digest(text).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hash(b"Subject: x\n\n"), of_text(b""));
        assert_eq!(
            hash(b"Date: d\nReceived: from a\n\tby b\nMessage-ID: <m>\nReceived: c\nDelivered-To: e \n\n"),
            of_text(b"dfrom a\tby be ")
        );
        let hash =
            |header: &[u8]| header_md5(header, MboxMd5::All).iter().map(|b| format!("{b:02x}")).collect::<String>();
        for (header, expect) in [
            (&b"Subject: x\nTo: y\n\n"[..], "3e44107170a520582ade522fa73c1d15"),
            (
                b"Subject: x\n  folded \n\tmore\nDate:d\nTo:  y \nStatus: RO\nReceived: a\nno colon\nX: z\n\n",
                "fc9d545c711dbfb582f760bd586f92b8",
            ),
            (b"A: 1\r\nB: 2\r\n c\r\n\r\n", "c410552de89b66b2d99d761f9fb599ce"),
            (b"From q\nA : 1\n\n", "d0d49ed8bb6f9f7f2063f3cd88d275fe"),
        ] {
            assert_eq!(hash(header), expect);
        }
    }
}
