//! DEFLATE (RFC 1951) both ways for COMPRESS, in steps of bounded output, without I/O.
//!
//! Invariants:
//! - One call makes no more output than it is given room for, whatever the input: what a few bytes blow up to comes in as
//!   many calls as it needs.
//! - Memory: inflating keeps the last 32 KB of its output (as long as there is that much) and 11 KB of tables, and at rest
//!   between two blocks no tables; deflating takes about 300 KB while there is something to send, and nothing at rest.
//!   Sessions take that from a common store, and where many talk at once ([`HELD_MAX`]) none keeps it beyond a flush: what
//!   they have given back is what the next ones use.
//! - What was deflated and flushed ends at a byte and refers to nothing that follows, so that another compressor can go on
//!   where one ended.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use flate2::{Compress, Compression, FlushCompress, Status};
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        BlockBoundaryState, DecompressorOxide, decompress,
        inflate_flags::{
            TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
        },
    },
};

/// How far back a stream may refer.
const WINDOW_LEN: usize = 32 * 1024;
/// Most output of one call.
const INFLATE_STEP_LEN: usize = 16 * 1024;
/// The same of a call after one that did not need as much: a short command takes little memory.
const INFLATE_STEP_LEN_MIN: usize = 512;
/// Room for output that is made at once while deflating.
const DEFLATE_ROOM: usize = 4 * 1024;
/// What Dovecot takes too: most of what can be saved, for a moderate time.
const LEVEL: u32 = 6;
/// Compressors that sessions keep between two flushes, so that what they send next may refer to what they have sent.
const HELD_MAX: usize = 16;
/// Compressors kept for whoever needs one next.
const SPARE_MAX: usize = 8;

/// The client's stream is none of DEFLATE.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the compressed stream is corrupt")]
pub(crate) struct CorruptStream;

/// Inflates.
pub(crate) struct Inflater {
    tables: Tables,
    /// The last output.
    window: Vec<u8>,
    /// Room that the next call makes.
    step_len: usize,
}

enum Tables {
    Active(Box<DecompressorOxide>),
    /// Between two blocks: of these bits the next one begins.
    Resting(BlockBoundaryState),
}

/// What one call did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Inflated {
    /// Bytes of input that are used.
    pub(crate) consumed: usize,
    /// Bytes of output that were appended.
    pub(crate) made: usize,
    /// There was no room for more.
    pub(crate) filled: bool,
    /// The client ended its stream: nothing follows.
    pub(crate) ended: bool,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            tables: Tables::Resting(BlockBoundaryState::default()),
            window: Vec::new(),
            step_len: INFLATE_STEP_LEN_MIN,
        }
    }

    /// Inflates into `out`, at most `room` bytes and 16 KB. Uses all input unless it fills that.
    pub(crate) fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Result<Inflated, CorruptStream> {
        const FLAGS: u32 =
            TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
        let mut tables = match std::mem::replace(&mut self.tables, Tables::Resting(BlockBoundaryState::default())) {
            Tables::Active(tables) => tables,
            Tables::Resting(state) => Box::new(DecompressorOxide::from_block_boundary_state(&state)),
        };
        let begin = self.window.len();
        self.window.resize(begin + room.min(self.step_len), 0);
        let (mut consumed, mut made) = (0, 0);
        let (resting, ended) = loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let (status, used, written) = decompress(&mut tables, rest, &mut self.window, begin + made, FLAGS);
            consumed += used;
            made += written;
            match status {
                TINFLStatus::BlockBoundary if consumed < input.len() && begin + made < self.window.len() => {}
                TINFLStatus::BlockBoundary => break (tables.block_boundary_state(), false),
                TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => break (None, false),
                TINFLStatus::Done => break (None, true),
                _ => return Err(CorruptStream),
            }
        };
        self.tables = resting.map_or(Tables::Active(tables), Tables::Resting);
        let filled = begin + made == self.window.len();
        self.step_len = if filled { (self.step_len * 4).min(INFLATE_STEP_LEN) } else { INFLATE_STEP_LEN_MIN };
        self.window.truncate(begin + made);
        out.extend_from_slice(self.window.get(begin..).unwrap_or_default());
        self.window.drain(..self.window.len().saturating_sub(WINDOW_LEN));
        Ok(Inflated { consumed, made, filled, ended })
    }

    /// Gives back what is not needed at rest.
    pub(crate) fn shrink(&mut self) {
        self.window.shrink_to_fit();
    }
}

/// The compressors of all sessions.
static COMPRESSORS: Compressors = Compressors { held: AtomicUsize::new(0), spare: Mutex::new(Vec::new()) };

struct Compressors {
    held: AtomicUsize,
    spare: Mutex<Vec<Compress>>,
}

/// One of them, given back when it is dropped.
struct Held(Option<Compress>);

impl Compressors {
    fn spare(&self) -> MutexGuard<'_, Vec<Compress>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_crowded(&self) -> bool {
        self.held.load(Ordering::Relaxed) > HELD_MAX
    }
}

impl Held {
    fn take() -> Self {
        COMPRESSORS.held.fetch_add(1, Ordering::Relaxed);
        let spare = COMPRESSORS.spare().pop();
        Self(Some(spare.unwrap_or_else(|| Compress::new(Compression::new(LEVEL), false))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        COMPRESSORS.held.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut compress) = self.0.take() {
            compress.reset();
            let mut spare = COMPRESSORS.spare();
            if spare.len() < SPARE_MAX {
                spare.push(compress);
            }
        }
    }
}

/// Deflates.
#[derive(Default)]
pub(crate) struct Deflater {
    held: Option<Held>,
}

impl Deflater {
    /// Deflates all of `input` and appends it to `out`; with `flush`, so that the other end can inflate all of it.
    pub(crate) fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>, flush: bool) {
        let Some(compress) = &mut self.held.get_or_insert_with(Held::take).0 else { return };
        deflate(compress, input, out, flush);
        if flush && COMPRESSORS.is_crowded() {
            self.held = None;
        }
    }

    /// Gives everything back. Only after a flush: what comes next begins anew.
    pub(crate) fn shrink(&mut self) {
        self.held = None;
    }
}

fn deflate(compress: &mut Compress, input: &[u8], out: &mut Vec<u8>, flush: bool) {
    let mode = if flush { FlushCompress::Sync } else { FlushCompress::None };
    let mut rest = input;
    loop {
        out.reserve(DEFLATE_ROOM);
        let before = compress.total_in();
        let status = compress.compress_vec(rest, out, mode);
        let used = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(used..).unwrap_or_default();
        // Room that is left says that nothing waits for room.
        let is_done = rest.is_empty() && out.len() < out.capacity();
        if is_done || !matches!(status, Ok(Status::Ok)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What another implementation makes of a stream.
    fn inflated_by_zlib(stream: &[u8]) -> Vec<u8> {
        let mut inflate = flate2::Decompress::new(false);
        let mut out = Vec::with_capacity(1 << 20);
        inflate.decompress_vec(stream, &mut out, flate2::FlushDecompress::Sync).unwrap();
        assert_eq!(inflate.total_in(), stream.len() as u64);
        out
    }

    /// All that can be had of an input, in calls of so much room.
    fn inflate_all(inflater: &mut Inflater, mut input: &[u8], room: usize) -> Result<Vec<u8>, CorruptStream> {
        let mut out = Vec::new();
        loop {
            let before = out.len();
            let Inflated { consumed, made, filled, ended } = inflater.inflate(input, &mut out, room)?;
            assert!(made <= room && out.len() == before + made && inflater.window.len() <= WINDOW_LEN);
            input = &input[consumed..];
            assert!(filled || input.is_empty());
            if ended || !filled {
                return Ok(out);
            }
        }
    }

    fn text(seed: u32, len: usize) -> Vec<u8> {
        let mut state = u64::from(seed) + 1;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        let words: Vec<Vec<u8>> =
            (0..50).map(|_| (0..1 + next() % 9).map(|_| b'a' + (next() % 26) as u8).collect()).collect();
        let mut text = Vec::new();
        while text.len() < len {
            text.extend_from_slice(&words[(next() % 50) as usize]);
            text.push(if next() % 7 == 0 { (next() % 256) as u8 } else { b' ' });
        }
        text.truncate(len);
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, rng_seed: prop::test_runner::RngSeed::Fixed(4978), ..Default::default() })]

        /// Every flush can be inflated at once, here and by zlib, whoever rests in between, in whichever pieces it comes.
        #[test]
        fn what_is_flushed_is_there(parts in prop::collection::vec((0u32..1000, 0usize..60_000, any::<bool>()), 1..6), room in 1usize..40_000, piece in 1usize..5000) {
            let (mut deflater, mut inflater) = (Deflater::default(), Inflater::new());
            let (mut stream, mut whole) = (Vec::new(), Vec::new());
            for (seed, len, rest) in parts {
                let text = text(seed, len);
                let begin = stream.len();
                let (first, last) = text.split_at(len / 3);
                deflater.deflate(first, &mut stream, false);
                deflater.deflate(last, &mut stream, true);
                let mut got = Vec::new();
                for piece in stream[begin..].chunks(piece) {
                    got.extend(inflate_all(&mut inflater, piece, room).unwrap());
                }
                prop_assert!(got == text);
                prop_assert!(matches!(inflater.tables, Tables::Resting(_)), "a flush ends between two blocks");
                if rest {
                    deflater.shrink();
                    inflater.shrink();
                }
                whole.extend(text);
            }
            prop_assert!(inflated_by_zlib(&stream) == whole);
        }

        #[test]
        fn rubbish_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000), room in 1usize..1000) {
            let mut inflater = Inflater::new();
            let mut out = Vec::new();
            let mut rest = &bytes[..];
            for _ in 0..10_000 {
                match inflater.inflate(rest, &mut out, room) {
                    Ok(Inflated { consumed, filled, ended, .. }) => {
                        rest = &rest[consumed..];
                        if ended || !filled {
                            break;
                        }
                    }
                    Err(CorruptStream) => break,
                }
            }
        }
    }

    /// However many sessions talk at once, few compressors are kept, and every stream is whole.
    #[test]
    fn compressors_go_round() {
        let mut sessions: Vec<_> = (0..100).map(|_| (Deflater::default(), Vec::new())).collect();
        for round in 0..3u32 {
            for (number, (deflater, stream)) in (0u32..).zip(&mut sessions) {
                deflater.deflate(&text(round * 100 + number, 500), stream, true);
            }
        }
        assert!(sessions.iter().filter(|(deflater, _)| deflater.held.is_some()).count() <= HELD_MAX);
        for (number, (_, stream)) in (0u32..).zip(&sessions) {
            let whole: Vec<u8> = (0..3u32).flat_map(|round| text(round * 100 + number, 500)).collect();
            assert!(inflated_by_zlib(stream) == whole);
        }
        drop(sessions);
        assert!(COMPRESSORS.spare().len() <= SPARE_MAX);
    }

    /// A thousandfold: it comes in steps, and the memory for it stays small.
    #[test]
    fn a_bomb_comes_in_steps() {
        let mut bomb = Vec::new();
        Deflater::default().deflate(&vec![b'x'; 10 << 20], &mut bomb, true);
        assert!(bomb.len() < 20_000);
        let mut inflater = Inflater::new();
        let (mut rest, mut total) = (&bomb[..], 0);
        loop {
            let mut out = Vec::new();
            let Inflated { consumed, made, .. } = inflater.inflate(rest, &mut out, 64 * 1024).unwrap();
            assert!(made <= INFLATE_STEP_LEN && inflater.window.capacity() <= 2 * (WINDOW_LEN + INFLATE_STEP_LEN));
            rest = &rest[consumed..];
            total += made;
            if made == 0 {
                break;
            }
        }
        assert_eq!((total, rest.len()), (10 << 20, 0));
    }

    /// Blocks that say nothing.
    #[test]
    fn empty_blocks_are_passed_over() {
        let blocks = [0, 0, 0, 0xff, 0xff].repeat(10_000);
        let mut out = Vec::new();
        let inflated = Inflater::new().inflate(&blocks, &mut out, 100).unwrap();
        assert_eq!(inflated, Inflated { consumed: blocks.len(), made: 0, filled: false, ended: false });
    }
}
