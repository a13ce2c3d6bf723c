//! FETCH responses (RFC 9051 §7.5.2), built item by item.

use std::num::NonZeroU32;

use mailtypes::{Flags, Guid, InternalDate, Keyword, ModSeq, SeqNum, Uid};

use super::strings::{astring, flag_list_with, literal_head, nstring, number, object_id, quoted};
use crate::{Section, SectionText, date::write_date_time};

/// One FETCH response: begin it, write its items, end it.
///
/// While a long text is streamed the buffer can be sent and cleared between [`literal_head`](Self::literal_head) and the
/// next item: drop the writer, and [`resume`](Self::resume) it when all bytes of the literal are out.
#[derive(Debug)]
#[must_use = "a response must be ended"]
pub struct FetchWriter<'o> {
    out: &'o mut Vec<u8>,
    separated: bool,
}

impl<'o> FetchWriter<'o> {
    /// Writes `* seq FETCH (`.
    pub fn begin(out: &'o mut Vec<u8>, seq: SeqNum) -> Self {
        out.extend_from_slice(b"* ");
        number(out, seq.value());
        out.extend_from_slice(b" FETCH (");
        Self { out, separated: true }
    }

    /// Goes on after an item, writing to what may be another buffer.
    pub fn resume(out: &'o mut Vec<u8>) -> Self {
        Self { out, separated: false }
    }

    /// Writes the end.
    pub fn end(self) {
        self.out.extend_from_slice(b")\r\n");
    }

    fn item(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.separated {
            self.out.push(b' ');
        }
        self.separated = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b' ');
        self.out
    }

    /// Writes `UID`.
    pub fn uid(&mut self, uid: Uid) {
        number(self.item("UID"), uid.value());
    }

    /// Writes `FLAGS`, with `\Recent` if the message is that to this session.
    pub fn flags<'k>(&mut self, flags: Flags, recent: bool, keywords: impl IntoIterator<Item = &'k Keyword>) {
        flag_list_with(self.item("FLAGS"), flags, recent.then_some("\\Recent"), keywords);
    }

    /// Writes `INTERNALDATE`.
    pub fn internal_date(&mut self, date: InternalDate) {
        let out = self.item("INTERNALDATE");
        out.push(b'"');
        write_date_time(out, date);
        out.push(b'"');
    }

    /// Writes `RFC822.SIZE`.
    pub fn size(&mut self, bytes: u64) {
        number(self.item("RFC822.SIZE"), bytes);
    }

    /// Writes `MODSEQ`.
    pub fn mod_seq(&mut self, mod_seq: ModSeq) {
        let out = self.item("MODSEQ");
        out.push(b'(');
        number(out, mod_seq.value());
        out.push(b')');
    }

    /// Writes `SAVEDATE`; NIL where it is not known.
    pub fn save_date(&mut self, date: Option<InternalDate>) {
        let out = self.item("SAVEDATE");
        match date {
            Some(date) => {
                out.push(b'"');
                write_date_time(out, date);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"NIL"),
        }
    }

    /// Writes `EMAILID`.
    pub fn email_id(&mut self, id: Guid) {
        let out = self.item("EMAILID");
        out.push(b'(');
        object_id(out, id);
        out.push(b')');
    }

    /// Writes `PREVIEW`; NIL where there is none to be had.
    pub fn preview(&mut self, text: Option<&str>) {
        nstring(self.item("PREVIEW"), text.map(str::as_bytes));
    }

    /// Writes `BINARY[part]<offset>` and the head of its literal; a text with NULs makes it a literal8. Exactly `len`
    /// bytes must follow.
    pub fn binary_head(&mut self, part: &[NonZeroU32], offset: Option<u64>, len: u64, has_nul: bool) {
        let out = self.binary_item("BINARY", part, offset);
        if has_nul {
            out.push(b'~');
        }
        literal_head(out, len);
    }

    /// Writes `BINARY.SIZE[part]`.
    pub fn binary_size(&mut self, part: &[NonZeroU32], len: u64) {
        number(self.binary_item("BINARY.SIZE", part, None), len);
    }

    fn binary_item(&mut self, name: &str, part: &[NonZeroU32], offset: Option<u64>) -> &mut Vec<u8> {
        if !self.separated {
            self.out.push(b' ');
        }
        self.separated = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'[');
        section_part(self.out, part);
        self.out.push(b']');
        partial_origin(self.out, offset);
        self.out.push(b' ');
        self.out
    }

    /// Writes an item whose value is IMAP already, such as an `ENVELOPE`.
    pub fn raw_item(&mut self, name: &str, value: &[u8]) {
        self.item(name).extend_from_slice(value);
    }

    /// Writes an item that is not there: NIL.
    pub fn nil(&mut self, name: &str) {
        self.item(name).extend_from_slice(b"NIL");
    }

    /// Writes an item's name, such as `RFC822`, and the head of its literal. Exactly `len` bytes must follow.
    pub fn literal_head(&mut self, name: &str, len: u64) {
        literal_head(self.item(name), len);
    }

    /// Writes `BODY[section]<offset>` and the head of its literal. Exactly `len` bytes must follow.
    pub fn section_head(&mut self, section: &Section, offset: Option<u64>, len: u64) {
        let out = self.section_item(section, offset);
        literal_head(out, len);
    }

    /// Writes `BODY[section]<offset> NIL`: the message has no such part.
    pub fn section_nil(&mut self, section: &Section, offset: Option<u64>) {
        self.section_item(section, offset).extend_from_slice(b"NIL");
    }

    fn section_item(&mut self, section: &Section, offset: Option<u64>) -> &mut Vec<u8> {
        if !self.separated {
            self.out.push(b' ');
        }
        self.separated = false;
        section_label(self.out, section, offset);
        self.out.push(b' ');
        self.out
    }

    /// Writes bytes as they are, as those of a literal.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

/// Writes `BODY[section]<offset>`, as in the answer to a request for it; header field names are spelled as they were
/// there.
pub fn section_label(out: &mut Vec<u8>, section: &Section, offset: Option<u64>) {
    out.extend_from_slice(b"BODY[");
    self::section(out, section);
    out.push(b']');
    partial_origin(out, offset);
}

fn partial_origin(out: &mut Vec<u8>, offset: Option<u64>) {
    if let Some(offset) = offset {
        out.push(b'<');
        number(out, offset);
        out.push(b'>');
    }
}

/// Writes a `section-spec`.
fn section(out: &mut Vec<u8>, section: &Section) {
    if let Some(names) = section_head(out, section) {
        header_list(out, names);
    }
}

/// Writes a `section-spec` but for the `header-list` that ends it, if there is one: its names are left to be written.
pub(crate) fn section_head<'s>(out: &mut Vec<u8>, section: &'s Section) -> Option<&'s [String]> {
    section_part(out, &section.part);
    let text = section.text.as_ref()?;
    if !section.part.is_empty() {
        out.push(b'.');
    }
    let (word, names): (&[u8], _) = match text {
        SectionText::Header => (b"HEADER", None),
        SectionText::Text => (b"TEXT", None),
        SectionText::Mime => (b"MIME", None),
        SectionText::HeaderFields(names) => (b"HEADER.FIELDS ", Some(names.as_slice())),
        SectionText::HeaderFieldsNot(names) => (b"HEADER.FIELDS.NOT ", Some(names.as_slice())),
    };
    out.extend_from_slice(word);
    names
}

/// Writes a `section-part`.
pub(crate) fn section_part(out: &mut Vec<u8>, part: &[NonZeroU32]) {
    for (i, n) in part.iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        number(out, n.get());
    }
}

fn header_list(out: &mut Vec<u8>, names: &[String]) {
    for (i, name) in names.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        // A bracket would look like the section's end to many a client.
        if name.contains(']') { quoted(out, name.as_bytes()) } else { astring(out, name.as_bytes()) }
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_extensions() {
        let mut out = Vec::new();
        let mut fetch = FetchWriter::begin(&mut out, SeqNum::MIN);
        fetch.save_date(Some(InternalDate::utc(0)));
        fetch.save_date(None);
        fetch.email_id(Guid([0xab; 16]));
        fetch.nil("THREADID");
        fetch.preview(Some("Dear \"Ann\""));
        fetch.preview(None);
        let part = [NonZeroU32::MIN];
        fetch.binary_size(&part, 3);
        fetch.binary_head(&part, Some(0), 2, true);
        fetch.raw(b"\0a");
        FetchWriter::resume(&mut out).end();
        let expected = "* 1 FETCH (SAVEDATE \"01-Jan-1970 00:00:00 +0000\" SAVEDATE NIL \
             EMAILID (abababababababababababababababab) THREADID NIL PREVIEW \"Dear \\\"Ann\\\"\" PREVIEW NIL \
             BINARY.SIZE[1] 3 BINARY[1]<0> ~{2}\r\n\0a)\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_response_item_by_item() {
        let mut out = Vec::new();
        let mut fetch = FetchWriter::begin(&mut out, SeqNum::new(12).unwrap());
        fetch.flags(Flags::from_bits(8), true, &[Keyword::new("$Junk").unwrap()]);
        fetch.uid(Uid::new(7).unwrap());
        fetch.internal_date(InternalDate { unix: 837_596_665, zone: -420 });
        fetch.size(4286);
        fetch.mod_seq(ModSeq::new(9).unwrap());
        fetch.raw_item("ENVELOPE", b"(NIL)");
        let section = Section {
            part: vec![NonZeroU32::MIN, NonZeroU32::MAX],
            text: Some(SectionText::HeaderFields(vec!["From".into(), "x y".into()])),
        };
        fetch.section_head(&section, Some(3), 2);
        fetch.raw(b"ab");
        let mut fetch = FetchWriter::resume(&mut out);
        fetch.section_nil(&Section::default(), None);
        fetch.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "* 12 FETCH (FLAGS (\\Seen \\Recent $Junk) UID 7 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
             RFC822.SIZE 4286 MODSEQ (9) ENVELOPE (NIL) \
             BODY[1.4294967295.HEADER.FIELDS (From \"x y\")]<3> {2}\r\nab BODY[] NIL)\r\n"
        );
    }
}
