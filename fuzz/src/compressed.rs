//! Compressed bodies: any bytes as one, by their magic, with bounded output.

use std::io::Read;

use mailstore::compressed::Compression;

/// Plain bytes that are looked at: a few bytes may stand for very many.
const PLAIN_LEN_MAX: u64 = 4 << 20;

/// Any bytes may be a compressed body: of the kind that their beginning tells, and, without a magic, the chunks of lz4.
pub fn compressed_body(data: &[u8]) {
    let whole = match Compression::of(data) {
        Some(kind) => decode(kind, data, usize::MAX),
        None => {
            // What stands before the chunks is not found by chance.
            let framed = [b"Dovecot-LZ4\x0d\x2a\x9b\xc5\x00\x01\x00\x00".as_slice(), data].concat();
            assert_eq!(Compression::of(&framed), Some(Compression::Lz4), "a magic is known");
            decode(Compression::Lz4, &framed, usize::MAX)
        }
    };
    if let (Some(kind), true) = (Compression::of(data), whole.len() < 1 << 16) {
        assert_eq!(decode(kind, data, 7), whole, "how it is read does not matter");
    }
}

fn decode(kind: Compression, data: &[u8], step: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    let Ok(decoder) = kind.decoder(data) else { return plain };
    let mut decoder = decoder.take(PLAIN_LEN_MAX);
    let mut buf = vec![0; step.min(64 << 10)];
    while let Ok(len @ 1..) = decoder.read(&mut buf) {
        plain.extend_from_slice(&buf[..len]);
    }
    plain
}
