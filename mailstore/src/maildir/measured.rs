//! Sizes with CRLF line ends as they were counted in the files.
//!
//! What a file name says of its size (`docs/formats/maildir.md`, "File names") is anybody's word. Told to a client that
//! is then sent the message, a wrong size would cut it short or end the session, so the file itself is asked: a message
//! that one read brings is counted each time, a longer one once.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mailtypes::Uid;

use super::files::Mark;

/// Messages of which the size is remembered; of more all is counted again.
const SIZES_MAX: usize = 1 << 18;

/// How long a message is, line ends as stored and all CRLF.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Counted {
    pub(super) plain_len: u64,
    pub(super) virtual_size: u64,
}

/// What was counted, and of which content.
#[derive(Clone, Copy, Debug)]
struct Size {
    of: Mark,
    counted: Counted,
    /// The name says otherwise.
    wrong: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Measured {
    sizes: Mutex<HashMap<Uid, Size>>,
    any_wrong: AtomicBool,
}

impl Measured {
    fn sizes(&self) -> MutexGuard<'_, HashMap<Uid, Size>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of a message's file, if it was counted and is the same file still.
    pub(super) fn get(&self, uid: Uid, of: Mark) -> Option<Counted> {
        self.sizes().get(&uid).filter(|known| known.of == of).map(|known| known.counted)
    }

    /// Remembers a size; `wrong`: the name says otherwise.
    pub(super) fn note(&self, uid: Uid, of: Mark, counted: Counted, wrong: bool) {
        let mut sizes = self.sizes();
        if sizes.len() >= SIZES_MAX {
            sizes.clear();
        }
        sizes.insert(uid, Size { of, counted, wrong });
        self.any_wrong.fetch_or(wrong, Ordering::AcqRel);
    }

    /// What to say instead of the size in the name.
    pub(super) fn instead(&self, uid: Uid) -> Option<u64> {
        if !self.any_wrong.load(Ordering::Acquire) {
            return None;
        }
        self.sizes().get(&uid).filter(|known| known.wrong).map(|known| known.counted.virtual_size)
    }

    pub(super) fn forget(&self) {
        self.sizes().clear();
    }
}

/// Counts line ends without their CR, in bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct BareLineEnds {
    pub(super) count: u64,
    last: u8,
}

impl BareLineEnds {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for at in memchr::memchr_iter(b'\n', bytes) {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied().unwrap_or(self.last);
            self.count += u64::from(before != b'\r');
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_counted_across_pieces() {
        let text = b"\na\r\n\r\r\nb\n\n\r";
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            let mut ends = BareLineEnds::default();
            [head, b"", tail].into_iter().for_each(|piece| ends.add(piece));
            assert_eq!(ends.count, 3, "cut at {cut}");
        }
    }
}
