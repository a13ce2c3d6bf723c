//! A message as a multi-line answer (RFC 1939 §3): leading dots doubled, a dot alone at the end; for TOP, cut off after
//! some lines of the body.

/// Writes a message that comes in pieces, however it is cut. Its line ends are CR LF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stuffing {
    /// At the beginning of a line.
    line_start: bool,
    /// Lines of the body that are still to be shown; `None` for all.
    lines_left: Option<u64>,
    /// What the header's present line has so far; `None` behind the header.
    header: Option<HeaderLine>,
    /// What is to be shown is over.
    full: bool,
}

/// An empty line ends the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum HeaderLine {
    Empty,
    Cr,
    Text,
}

impl Stuffing {
    /// Shows the whole message, or its header and so many lines of its body.
    pub(crate) fn new(body_lines: Option<u64>) -> Self {
        Self { line_start: true, lines_left: body_lines, header: Some(HeaderLine::Empty), full: false }
    }

    /// Whether what is to be shown is over, before the message's end.
    pub(crate) fn is_full(self) -> bool {
        self.full
    }

    /// Writes a piece, NULs and all: as Dovecot does, and nobody who counts bytes is misled.
    pub(crate) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() && !self.full {
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let Some((stretch, after)) = rest.split_at_checked(len) else { return };
            self.write_stretch(stretch, out);
            rest = after;
        }
    }

    /// Writes at most one line, or a part of it.
    fn write_stretch(&mut self, stretch: &[u8], out: &mut Vec<u8>) {
        if self.line_start && stretch.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(stretch);
        self.line_start = stretch.ends_with(b"\n");
        if let Some(lines_left) = self.lines_left {
            self.count(stretch, lines_left);
        }
    }

    fn count(&mut self, stretch: &[u8], lines_left: u64) {
        match self.header {
            Some(line) => {
                self.header = line.with(stretch);
                self.full = self.header.is_none() && lines_left == 0;
            }
            None if self.line_start => {
                self.lines_left = Some(lines_left.saturating_sub(1));
                self.full = lines_left <= 1;
            }
            None => {}
        }
    }

    /// Ends the last line, where the message does not, and the answer.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.line_start { b".\r\n" } else { b"\r\n.\r\n" });
    }
}

impl HeaderLine {
    /// With more of the line, or the beginning of the next; `None` at the header's end.
    fn with(self, stretch: &[u8]) -> Option<Self> {
        match (self, stretch) {
            (Self::Empty, b"\r\n" | b"\n") | (Self::Cr, b"\n") => None,
            (Self::Empty, b"\r") => Some(Self::Cr),
            _ if stretch.ends_with(b"\n") => Some(Self::Empty),
            _ => Some(Self::Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed(lines: Option<u64>, pieces: &[&[u8]]) -> String {
        let (mut stuffing, mut out) = (Stuffing::new(lines), Vec::new());
        pieces.iter().for_each(|piece| stuffing.write(piece, &mut out));
        stuffing.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dots_and_ends() {
        assert_eq!(stuffed(None, &[b".\r\n..\r\na.b\r\n"]), "..\r\n...\r\na.b\r\n.\r\n");
        assert_eq!(stuffed(None, &[b"no end"]), "no end\r\n.\r\n");
        assert_eq!(stuffed(None, &[]), ".\r\n");
        assert_eq!(stuffed(None, &[b"a\r", b"\n", b".b\r.c\r\n"]), "a\r\n..b\r.c\r\n.\r\n");
    }

    #[test]
    fn top_counts_lines_of_the_body() {
        let message: &[u8] = b"A: b\r\n\r\none\r\n\r\n.three\r\nfour";
        assert_eq!(stuffed(Some(0), &[message]), "A: b\r\n\r\n.\r\n");
        assert_eq!(stuffed(Some(1), &[message]), "A: b\r\n\r\none\r\n.\r\n");
        assert_eq!(stuffed(Some(3), &[message]), "A: b\r\n\r\none\r\n\r\n..three\r\n.\r\n");
        assert_eq!(stuffed(Some(9), &[message]), "A: b\r\n\r\none\r\n\r\n..three\r\nfour\r\n.\r\n");
        assert_eq!(stuffed(Some(0), &[b"\r\nbody\r\n"]), "\r\n.\r\n");
        assert_eq!(stuffed(Some(0), &[b"A: b\r\n\r\r\nstill header\r\n"]), "A: b\r\n\r\r\nstill header\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn no_cut_changes_anything(
            message in prop::collection::vec(prop::sample::select(&b".\r\nab\0"[..]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            lines in prop::option::of(0u64..4),
        ) {
            let whole = {
                let (mut stuffing, mut out) = (Stuffing::new(lines), Vec::new());
                stuffing.write(&message, &mut out);
                stuffing.finish(&mut out);
                out
            };
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(message.len() + 1)).collect();
            cuts.push(message.len());
            cuts.sort_unstable();
            let (mut stuffing, mut out, mut from) = (Stuffing::new(lines), Vec::new(), 0);
            for cut in cuts {
                stuffing.write(&message[from..cut], &mut out);
                from = cut;
            }
            stuffing.finish(&mut out);
            prop_assert_eq!(out, whole);
        }

        #[test]
        fn a_client_gets_the_message_back(
            lines in prop::collection::vec(prop::collection::vec(prop::sample::select(&b".ab\r"[..]), 0..5), 0..8),
        ) {
            let message: Vec<u8> = lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect();
            let (mut stuffing, mut out) = (Stuffing::new(None), Vec::new());
            stuffing.write(&message, &mut out);
            stuffing.finish(&mut out);
            let mut received = Vec::new();
            let mut ended = false;
            for line in out.split_inclusive(|&byte| byte == b'\n') {
                prop_assert!(!ended, "something after the end");
                ended = line == b".\r\n";
                if !ended {
                    received.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                }
            }
            prop_assert!(ended);
            prop_assert_eq!(received, message);
        }
    }
}
