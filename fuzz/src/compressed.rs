//! Compressed bodies: any bytes as one, by their magic, with bounded output.

use std::io::Read;

use mailstore::compressed::Compression;

/// Plain bytes that are looked at: a few bytes may stand for very many.
const PLAIN_LEN_MAX: u64 = 4 << 20;

/// Any bytes may be a compressed body: of the kind that their beginning tells, and, without a magic, the chunks of lz4.
pub fn compressed_body(data: &[u8]) {
    let framed;
    let (kind, data) = match Compression::of(data) {
        Some(kind) => (kind, data),
        None => {
            // What stands before the chunks is not found by chance.
            framed = [b"Dovecot-LZ4\x0d\x2a\x9b\xc5\x00\x01\x00\x00".as_slice(), data].concat();
            assert_eq!(Compression::of(&framed), Some(Compression::Lz4), "a magic is known");
            (Compression::Lz4, framed.as_slice())
        }
    };
    let at_once = decode(kind, data, 64 << 10);
    if at_once.plain.len() < 1 << 16 {
        let in_steps = decode(kind, data, 7);
        assert_eq!(at_once.ended, in_steps.ended, "whether a body is whole does not depend on how it is read");
        // Of a damaged one the last step may be lost, so that the larger steps give less.
        let both = at_once.plain.len().min(in_steps.plain.len());
        assert_eq!(at_once.plain[..both], in_steps.plain[..both], "how it is read does not matter");
        assert!(!at_once.ended || at_once.plain.len() == in_steps.plain.len(), "how it is read does not matter");
    }
}

/// What came out of a body.
struct Decoded {
    plain: Vec<u8>,
    /// Whether it came to its end without a complaint.
    ended: bool,
}

fn decode(kind: Compression, data: &[u8], step: usize) -> Decoded {
    let mut decoded = Decoded { plain: Vec::new(), ended: false };
    let Ok(decoder) = kind.decoder(data) else { return decoded };
    let mut decoder = decoder.take(PLAIN_LEN_MAX);
    let mut buf = vec![0; step];
    loop {
        match decoder.read(&mut buf) {
            Ok(0) => break decoded.ended = true,
            Ok(len) => decoded.plain.extend_from_slice(&buf[..len]),
            Err(_) => break,
        }
    }
    decoded
}
