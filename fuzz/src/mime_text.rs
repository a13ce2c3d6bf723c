//! What is made of texts: decoded bodies, subjects to sort by, message identities, previews.

use mailmime::{BaseSubject, BinaryDecoder, MessageIds, TransferEncoding, collation_key, decode_header_text};

use crate::cuts::ways;

/// Any bytes are a subject, a list of identities and an encoded body; how a body is cut never matters.
pub fn mime_text(data: &[u8]) {
    let _ = BaseSubject::of(data);
    let ids = MessageIds::new(data).map(|id| id.len()).sum::<usize>();
    assert!(ids <= data.len(), "identities are part of what they are found in");
    let mut key = Vec::new();
    collation_key(&decode_header_text(data), &mut key);
    for name in [&b"base64"[..], b"quoted-printable", b"8bit"] {
        let decode = |pieces: &[&[u8]]| -> Option<Vec<u8>> {
            let encoding = TransferEncoding::of(Some(name)).expect("a known encoding");
            let (mut decoder, mut out) = (BinaryDecoder::new(encoding), Vec::new());
            for piece in pieces {
                decoder.push(piece, &mut out).ok()?;
            }
            decoder.finish().ok()?;
            assert!(out.len() <= data.len(), "decoding never makes a text longer");
            Some(out)
        };
        let whole = decode(&[data]);
        for pieces in ways(data) {
            assert_eq!(decode(&pieces), whole, "how the input is cut does not matter");
        }
    }
}
