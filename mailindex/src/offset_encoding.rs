//! Numbers in offset encoding (`docs/formats/README.md`): the size of a log record, the pointers to a cache file's
//! field blocks. Four groups of seven bits, each marked by its top bit, so that a number that is still being
//! written can be told from a finished one.

/// Numbers from here on cannot be encoded.
pub const OFFSET_LIMIT: u32 = 1 << 30;

/// Encodes a multiple of 4 below [`OFFSET_LIMIT`]; `None` for any other number.
pub fn encode_offset(n: u32) -> Option<[u8; 4]> {
    if !n.is_multiple_of(4) || n >= OFFSET_LIMIT {
        return None;
    }
    let n = n >> 2;
    let group = |shift: u32| 0x80 | ((n >> shift) & 0x7f) as u8;
    Some([group(21), group(14), group(7), group(0)])
}

/// Decodes; `None` if any of the four marks is missing, which means "not finished" (in a log) or "none" (in a
/// cache file).
pub fn decode_offset(raw: [u8; 4]) -> Option<u32> {
    let complete = raw.iter().all(|b| b & 0x80 != 0);
    complete.then(|| raw.iter().fold(0, |n, b| n << 7 | u32::from(b & 0x7f)) << 2)
}

/// `n` rounded up to a multiple of 4.
pub(crate) const fn align4(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// `n` rounded up to a multiple of 8.
pub(crate) const fn align8(n: usize) -> usize {
    n.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_answers() {
        for (n, raw) in [
            (0, [0x80, 0x80, 0x80, 0x80]),
            (12, [0x80, 0x80, 0x80, 0x83]),
            (16, [0x80, 0x80, 0x80, 0x84]),
            (32, [0x80, 0x80, 0x80, 0x88]),
            (36, [0x80, 0x80, 0x80, 0x89]),
            (512, [0x80, 0x80, 0x81, 0x80]),
            (OFFSET_LIMIT - 4, [0xff; 4]),
        ] {
            assert_eq!(encode_offset(n), Some(raw));
            assert_eq!(decode_offset(raw), Some(n));
        }
        assert_eq!(encode_offset(OFFSET_LIMIT), None);
        assert_eq!(encode_offset(6), None);
        assert_eq!(decode_offset([0; 4]), None);
        assert_eq!(decode_offset([0x80, 0x80, 0x00, 0x84]), None);
    }

    proptest! {
        #[test]
        fn every_multiple_of_four_survives(n in 0u32..OFFSET_LIMIT / 4) {
            prop_assert_eq!(encode_offset(n * 4).and_then(decode_offset), Some(n * 4));
        }
    }
}
