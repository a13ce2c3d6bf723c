//! What an mbox cannot hold is taken out of a message on its way in (`docs/formats/mbox.md`, Metadata headers): fields
//! that belong to the file, and lines of the header that are separators. What it needs is added: an empty line behind the
//! header, and a line end behind the body, which has at least that.

use super::{FromLine, meta::is_hidden};

/// Longest beginning of a line that is held back until it is known what it is: a separator is no longer.
const HELD_MAX: usize = FromLine::LEN_MAX + 2;

/// Fields that are taken out beside those that belong to the file.
const ALSO: &[u8] = b"X-Delivery-ID";

/// See the module. Bytes come cut anywhere, with LF or CRLF.
#[derive(Debug, Default)]
pub(crate) struct HeaderFilter {
    place: Place,
    /// The beginning of a header line that is not judged yet.
    held: Vec<u8>,
    /// A field was taken out, and so go the lines that continue it.
    dropping: bool,
    /// The last byte passed on.
    last: Option<u8>,
    body_len: u64,
    has_dropped: bool,
}

/// What a filter changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Filtered {
    /// Fields or lines were taken out of the header.
    pub(crate) dropped: bool,
    /// The end of the header, or a line end, was added.
    pub(crate) completed: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    /// At the beginning of a header line, or in its beginning.
    #[default]
    Line,
    /// Further on in a header line.
    InLine,
    Body,
}

impl HeaderFilter {
    /// Passes on what is to be stored of a piece.
    pub(crate) fn write<E>(&mut self, mut piece: &[u8], mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while !piece.is_empty() {
            if self.place == Place::Body {
                self.body_len += piece.len() as u64;
                return self.pass(piece, &mut out);
            }
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |at| at + 1);
            let (line, rest) = piece.split_at(end);
            piece = rest;
            self.header_piece(line, &mut out)?;
        }
        Ok(())
    }

    fn pass<E>(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.last = bytes.last().copied().or(self.last);
        if bytes.is_empty() { Ok(()) } else { out(bytes) }
    }

    /// A part of one line.
    fn header_piece<E>(&mut self, line: &[u8], out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let is_end = line.ends_with(b"\n");
        if self.place == Place::InLine {
            if is_end {
                self.place = Place::Line;
            }
            return if self.dropping { Ok(()) } else { self.pass(line, out) };
        }
        self.held.extend_from_slice(line);
        if !is_end && self.held.len() < HELD_MAX {
            return Ok(());
        }
        self.judge(is_end, out)
    }

    /// Enough of a line is there.
    fn judge<E>(&mut self, is_end: bool, out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.held);
        self.place = if is_end { Place::Line } else { Place::InLine };
        if matches!(&line[..], b"\n" | b"\r\n") {
            self.place = Place::Body;
            self.dropping = false;
        } else if !matches!(line.first(), Some(b' ' | b'\t')) {
            let colon = memchr::memchr(b':', &line);
            let name = colon.and_then(|colon| line.get(..colon)).unwrap_or_default().trim_ascii_end();
            self.dropping = is_hidden(name) || name.eq_ignore_ascii_case(ALSO) || FromLine::parse(&line).is_some();
        }
        self.has_dropped |= self.dropping;
        if self.dropping { Ok(()) } else { self.pass(&line, out) }
    }

    /// The message is whole.
    pub(crate) fn finish<E>(mut self, mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Filtered, E> {
        if !self.held.is_empty() {
            self.judge(false, &mut out)?;
        }
        let filtered = Filtered { dropped: self.has_dropped, completed: true };
        let ends_line = self.last.is_none_or(|last| last == b'\n');
        if self.place == Place::Body {
            if self.body_len > 0 && ends_line {
                return Ok(Filtered { completed: false, ..filtered });
            }
            out(b"\n")?;
            return Ok(filtered);
        }
        if !ends_line {
            out(b"\n")?;
        }
        // The end of the header, and a body of one line.
        out(b"\n\n")?;
        Ok(filtered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(message: &[u8], piece_len: usize) -> String {
        let (mut filter, mut out) = (HeaderFilter::default(), Vec::new());
        let mut put = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok::<(), ()>(())
        };
        message.chunks(piece_len).for_each(|piece| filter.write(piece, &mut put).unwrap());
        filter.finish(&mut put).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// As Dovecot 2.3.19 stores them.
    #[test]
    fn messages_are_stored_as_dovecot_stores_them() {
        for piece_len in [1, 2, 3, 7, 1000] {
            for (message, stored) in [
                ("Subject: a\r\n\r\nbody\r\n", "Subject: a\r\n\r\nbody\r\n"),
                ("Subject: a\n\nno end", "Subject: a\n\nno end\n"),
                ("Subject: a\n\n", "Subject: a\n\n\n"),
                ("Subject: a\n", "Subject: a\n\n\n"),
                ("Subject: a", "Subject: a\n\n\n"),
                ("", "\n\n"),
                ("\nbody\n", "\nbody\n"),
                ("Status: R\nX-UID: 7\n x\nSubject: a\nX-Keywords: b\n\tc\n\n\n", "Subject: a\n\n\n"),
                ("From x Thu Nov 29 22:33:52 2001\nA: b\nFrom c\n\nx\n", "A: b\nFrom c\n\nx\n"),
                (
                    "A: b\n\nStatus: R\nFrom x Thu Nov 29 22:33:52 2001\n",
                    "A: b\n\nStatus: R\nFrom x Thu Nov 29 22:33:52 2001\n",
                ),
                ("X-Delivery-ID: 5\nx-status: A\nA: b\n\nx\n", "A: b\n\nx\n"),
            ] {
                assert_eq!(filtered(message.as_bytes(), piece_len), stored, "{message:?} by {piece_len}");
            }
        }
    }

    #[test]
    fn what_was_changed_is_told() {
        for (message, dropped, completed) in [
            ("Subject: a\n\nb\n", false, false),
            ("Subject: a\n\nb", false, true),
            ("X-UID: 1\n\nb\n", true, false),
            ("A: b\nStatus: R", true, true),
        ] {
            let mut filter = HeaderFilter::default();
            filter.write(message.as_bytes(), |_| Ok::<(), ()>(())).unwrap();
            assert_eq!(filter.finish(|_| Ok::<(), ()>(())), Ok(Filtered { dropped, completed }), "{message:?}");
        }
    }

    #[test]
    fn long_lines_pass() {
        let message =
            format!("A: {}\nStatus: {}\n {}\nB: c\n\nx\n", "y".repeat(5000), "z".repeat(5000), "R".repeat(3000));
        let expect = format!("A: {}\nB: c\n\nx\n", "y".repeat(5000));
        for piece_len in [1, 999, 100_000] {
            assert_eq!(filtered(message.as_bytes(), piece_len), expect);
        }
    }
}
