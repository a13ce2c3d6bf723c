//! Where to cut an input: places that depend on nothing but the input, so that real files are inputs as they are and a
//! finding replays.

/// Inputs up to this are also cut into single bytes.
const SINGLE_BYTES_LEN_MAX: usize = 8192;

/// Numbers that follow from an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices(u64);

impl Choices {
    /// FNV-1a over the input.
    pub(crate) fn of(input: &[u8]) -> Self {
        Self(input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)))
    }

    /// The next one, below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^= n >> 31;
        n.checked_rem(end as u64).map_or(0, |n| n as usize)
    }
}

/// The input in several ways of cutting it, each of which adds up to the whole.
pub(crate) fn ways(input: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut choices = Choices::of(input);
    let (head, tail) = input.split_at(choices.below(input.len() + 1));
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let len_max = if choices.below(4) == 0 { 200 } else { 12 };
        let len = 1 + choices.below(len_max);
        let (piece, after) = rest.split_at(len.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    let mut ways = vec![vec![head, tail], pieces];
    if input.len() <= SINGLE_BYTES_LEN_MAX {
        ways.push(input.chunks(1).collect());
    }
    ways
}
