//! Part numbers of FETCH `BODY[...]` and where their bytes are (RFC 9051 §6.4.5.1).

use crate::part::{Part, PartFlags, PartIndex, PartTree};

/// A stretch of the message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Section {
    /// Where it begins, in bytes as stored.
    pub offset: u64,
    /// Its bytes as stored.
    pub physical_len: u64,
    /// Its bytes with CRLF line ends: what a client gets.
    pub virtual_len: u64,
}

/// What can be fetched of a part.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PartRanges {
    /// `BODY[n.MIME]`: the part's own header. For the message itself its header.
    pub mime: Section,
    /// `BODY[n]`: the part's body; `BODY[]`, header and body, for the message itself.
    pub body: Section,
    /// `BODY[n.HEADER]`: the header of the message that the part holds; `None` if it holds none.
    pub header: Option<Section>,
    /// `BODY[n.TEXT]`: the body of the message that the part holds; `None` if it holds none.
    pub text: Option<Section>,
}

impl Part {
    fn header_section(&self) -> Section {
        Section {
            offset: self.header_offset,
            physical_len: self.header.physical_len,
            virtual_len: self.header.virtual_len,
        }
    }

    fn body_section(&self) -> Section {
        Section { offset: self.body_offset(), physical_len: self.body.physical_len, virtual_len: self.body.virtual_len }
    }
}

impl PartTree {
    /// The part with a number such as `1.2.3`; the empty path is the message itself. `None` if there is no such part,
    /// for which FETCH gives an empty string.
    ///
    /// In a message that is no multipart, `1` is its body; likewise one `1` more may follow the number of any part
    /// that holds no others (Dovecot allows it). Numbers within a message/rfc822 part are those of the message it
    /// holds.
    #[must_use]
    pub fn find(&self, path: &[u32]) -> Option<PartIndex> {
        let mut index = PartIndex::ROOT;
        let mut path = path.iter();
        while let Some(&number) = path.next() {
            let flags = self.part(index).flags;
            let is_last = path.as_slice().is_empty();
            if flags.has(PartFlags::MULTIPART) {
                // Parts are counted from 1.
                let nth = usize::try_from(number).ok()?.checked_sub(1)?;
                index = self.children(index).nth(nth)?;
            } else if number != 1 || !(is_last || flags.has(PartFlags::MESSAGE_RFC822)) {
                return None;
            }
            if !is_last && self.part(index).flags.has(PartFlags::MESSAGE_RFC822) {
                index = self.children(index).next()?;
            }
        }
        Some(index)
    }

    /// Where the bytes of the part with this number are; see [`PartTree::find`].
    #[must_use]
    pub fn ranges(&self, path: &[u32]) -> Option<PartRanges> {
        let index = self.find(path)?;
        let part = self.part(index);
        let mime = part.header_section();
        if path.is_empty() {
            let (header, text) = (mime, part.body_section());
            let body = Section {
                offset: 0,
                physical_len: part.end_offset(),
                virtual_len: header.virtual_len.saturating_add(text.virtual_len),
            };
            return Some(PartRanges { mime, body, header: Some(header), text: Some(text) });
        }
        let is_message = part.flags.has(PartFlags::MESSAGE_RFC822);
        let message = self.children(index).next().filter(|_| is_message).map(|child| self.part(child));
        Some(PartRanges {
            mime,
            body: part.body_section(),
            header: message.map(Part::header_section),
            text: message.map(Part::body_section),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::Structure;
    use crate::section::Section;

    const MESSAGE: &[u8] = b"Content-Type: multipart/mixed; boundary=b\n\n\
        --b\n\nfirst\n\
        --b\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=c\n\n\
        --c\nX: y\n\ndeep\n--c--\n\
        --b\nContent-Type: message/rfc822\n\nSubject: plain\n\ntext\n\
        --b--\n";

    fn bytes(section: Option<Section>) -> Option<&'static str> {
        let section = section?;
        let (start, len) = (section.offset as usize, section.physical_len as usize);
        let bytes = &MESSAGE[start..start + len];
        let newlines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert_eq!(section.virtual_len, section.physical_len + newlines);
        Some(std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn numbers() {
        let message = Structure::of(MESSAGE);
        let ranges = |path: &[u32]| message.tree().ranges(path);
        let body = |path: &[u32]| bytes(Some(ranges(path)?.body));
        assert_eq!(body(&[1]), Some("first"));
        assert_eq!(body(&[1, 1]), Some("first"));
        assert_eq!(body(&[1, 1, 1]), None);
        assert_eq!(body(&[2, 1]), Some("deep"));
        assert_eq!(bytes(Some(ranges(&[2, 1]).unwrap().mime)), Some("X: y\n\n"));
        assert_eq!(body(&[2, 2]), None);
        assert_eq!(body(&[3]), Some("Subject: plain\n\ntext"));
        assert_eq!(body(&[3, 1]), Some("text"));
        assert_eq!(bytes(Some(ranges(&[3]).unwrap().mime)), Some("Content-Type: message/rfc822\n\n"));
        assert_eq!(bytes(ranges(&[3]).unwrap().header), Some("Subject: plain\n\n"));
        assert_eq!(bytes(ranges(&[3]).unwrap().text), Some("text"));
        assert_eq!(ranges(&[1]).unwrap().header, None);
        assert_eq!(body(&[4]), None);
        assert_eq!(body(&[0]), None);
        assert_eq!(body(&[]).map(str::len), Some(MESSAGE.len()));
    }

    #[test]
    fn a_message_of_one_part() {
        let message = Structure::of(b"A: b\n\nbody\n");
        let one = message.tree().ranges(&[1]).unwrap();
        assert_eq!((one.body.offset, one.body.physical_len, one.mime.physical_len), (6, 5, 6));
        assert_eq!(message.tree().ranges(&[1, 1]), None);
        assert_eq!(message.tree().ranges(&[2]), None);
    }
}
