//! Answers to RETR made ahead for a client that fetches one message after the other: what costs most with short messages
//! is that each waits for its turn on the pool.
//!
//! Invariants:
//! - What is made ahead is bounded ([`ANSWERS_LEN_MAX`]), and is given up when the client asks for something else.
//! - A message that cannot be read is not answered here: the client is told when it asks for it.

use std::{collections::VecDeque, mem, time::Instant};

use crate::{
    maildrop::Maildrop,
    retrieve::{Begun, Retrieval, STEP_TIME},
};

/// Bytes of answers made ahead.
const ANSWERS_LEN_MAX: usize = 48 * 1024;

/// Answers made ahead.
const ANSWERS_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(crate) struct Ahead {
    /// By index, ascending.
    answers: VecDeque<(usize, Vec<u8>)>,
    len: usize,
    /// The message that was shown last.
    last: Option<usize>,
}

impl Ahead {
    /// The whole answer that shows this message, if it was made.
    pub(crate) fn take(&mut self, index: usize) -> Option<Vec<u8>> {
        while let Some((made, answer)) = self.answers.pop_front() {
            self.len = self.len.saturating_sub(answer.len());
            if made == index {
                self.last = Some(index);
                return Some(answer);
            }
            if made > index {
                *self = Self { last: self.last, ..Self::default() };
            }
        }
        None
    }

    /// What it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.len
    }

    /// A message was shown: makes answers to what comes next, if it came next itself.
    pub(crate) fn shown(maildrop: &mut Maildrop, index: usize) {
        let mut ahead = mem::take(&mut maildrop.ahead);
        let in_turn = ahead.last.is_some_and(|last| maildrop.next_shown(last + 1) == Some(index));
        ahead.last = Some(index);
        if in_turn {
            ahead.make(maildrop, index);
        }
        maildrop.ahead = ahead;
    }

    fn make(&mut self, maildrop: &Maildrop, index: usize) {
        let until = Instant::now() + STEP_TIME;
        let mut at = index;
        while let Some(next) = maildrop.next_shown(at + 1) {
            let size = usize::try_from(maildrop.size(next)).unwrap_or(usize::MAX);
            let is_full = self.len.saturating_add(size) > ANSWERS_LEN_MAX || self.answers.len() >= ANSWERS_MAX;
            if is_full || Instant::now() >= until {
                return;
            }
            let mut answer = Vec::with_capacity(size + size / 32 + 64);
            let Begun::Shown(mut retrieval) = Retrieval::begin(maildrop, next, None, &mut answer) else { return };
            if !matches!(retrieval.step(&mut answer, ANSWERS_LEN_MAX), Ok(true)) {
                return;
            }
            self.len += answer.len();
            self.answers.push_back((next, answer));
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_given_up() {
        let answer = |index: usize| (index, vec![b'x'; index]);
        let made = || Ahead { answers: [answer(3), answer(4), answer(6)].into(), len: 13, last: Some(2) };
        let mut ahead = made();
        assert_eq!((ahead.take(3), ahead.len), (Some(vec![b'x'; 3]), 10));
        assert_eq!((ahead.take(6), ahead.len, ahead.last), (Some(vec![b'x'; 6]), 0, Some(6)));
        assert_eq!(ahead.take(7), None);
        let mut ahead = made();
        assert_eq!((ahead.take(1), ahead.len, ahead.answers.len()), (None, 0, 0));
        let mut ahead = made();
        assert_eq!((ahead.take(5), ahead.len, ahead.answers.len()), (None, 0, 0));
    }
}
