//! What follows DATA: lines, leading dots doubled, ended by a dot alone on a line (RFC 5321 §4.5.2).

/// Takes the dots off, however the input is cut. Only CR LF ends a line: a bare LF or CR is data, so that nothing but the
/// true end can be taken for the end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum DataDecoder {
    /// At the beginning of a line.
    #[default]
    LineStart,
    /// In a line.
    Middle,
    /// After a CR that is not written yet.
    Cr,
    /// After the dot that began a line.
    Dot,
    /// After such a dot and a CR.
    DotCr,
    /// The end was seen.
    End,
}

impl DataDecoder {
    /// Whether the end was seen.
    pub(crate) fn is_end(self) -> bool {
        self == Self::End
    }

    /// Decodes what it can into `out` and returns how much of the input that took: all, unless the end was seen.
    pub(crate) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            (*self, at) = match (*self, byte) {
                (Self::LineStart, b'.') => (Self::Dot, at + 1),
                (Self::LineStart | Self::Middle, _) => {
                    let rest = &input[at..];
                    let len = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
                    out.extend_from_slice(&rest[..len]);
                    if len < rest.len() { (Self::Cr, at + len + 1) } else { (Self::Middle, at + len) }
                }
                (Self::Cr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    (Self::LineStart, at + 1)
                }
                (Self::Cr, _) => {
                    out.push(b'\r');
                    (Self::Middle, at)
                }
                (Self::Dot, b'\r') => (Self::DotCr, at + 1),
                (Self::Dot, _) => (Self::Middle, at),
                (Self::DotCr, b'\n') => (Self::End, at + 1),
                (Self::DotCr, _) => (Self::Cr, at),
                (Self::End, _) => return at,
            };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut decoder, mut out, mut rest) = (DataDecoder::default(), Vec::new(), Vec::new());
        for chunk in chunks {
            let used = decoder.decode(chunk, &mut out);
            rest.extend_from_slice(&chunk[used..]);
        }
        (out, rest, decoder.is_end())
    }

    #[test]
    fn dots_and_ends() {
        let check = |input: &[u8], data: &[u8], rest: &[u8], end| {
            assert_eq!(decode(&[input]), (data.to_vec(), rest.to_vec(), end), "{:?}", String::from_utf8_lossy(input));
        };
        check(b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n", true);
        check(b".\r\n", b"", b"", true);
        check(b"..\r\n.\r\n", b".\r\n", b"", true);
        check(b".x\r\n.\r\n", b"x\r\n", b"", true);
        check(b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", b"", true);
        check(b"a\r\n.\n.\r\n", b"a\r\n\n.\r\n", b"", false);
        check(b"a\r\n.\r.\r\n.\r\n", b"a\r\n\r.\r\n", b"", true);
        check(b"a\r\r\n.\r\n", b"a\r\r\n", b"", true);
        check(b"never ended\r\n.", b"never ended\r\n", b"", false);
    }

    /// As an MTA encodes it.
    fn encode(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line_start = true;
        for (i, &byte) in message.iter().enumerate() {
            if line_start && byte == b'.' {
                out.push(b'.');
            }
            out.push(byte);
            line_start = byte == b'\n' && i > 0 && message[i - 1] == b'\r';
        }
        out.extend_from_slice(b".\r\n");
        out
    }

    proptest! {
        #[test]
        fn any_message_survives_any_cut(
            lines in prop::collection::vec(prop::collection::vec(prop::sample::select(&b".\r\nab"[..]), 0..6), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let message: Vec<u8> = lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect();
            let wire = [encode(&message), b"NEXT".to_vec()].concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([wire.len()]) {
                chunks.push(&wire[from..cut]);
                from = cut;
            }
            prop_assert_eq!(decode(&chunks), (message, b"NEXT".to_vec(), true));
        }
    }
}
