//! Sorting of what comes in time: in runs that are sorted when they are full, and merged in the end.

use std::cmp::Ordering;

use super::{
    SortedMessage,
    keys::{KeyIndex, Keys},
};

/// Messages of a run: sorting one takes a millisecond or two.
const RUN_LEN: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Runs {
    entries: Vec<Entry>,
    /// Where the run that is being filled begins.
    open: usize,
    /// Once merging: what is left of each run, the run whose first entry is next at the top of a heap.
    heap: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    message: SortedMessage,
    key: KeyIndex,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    end: usize,
}

impl Runs {
    /// Takes a message. They come in the order of their sequence numbers.
    pub(super) fn push(&mut self, message: SortedMessage, key: KeyIndex, keys: &Keys) {
        self.entries.push(Entry { message, key });
        if self.entries.len() - self.open >= RUN_LEN {
            self.close_run(keys);
        }
    }

    /// There are no more.
    pub(super) fn end(&mut self, keys: &Keys) {
        self.close_run(keys);
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at, keys);
        }
    }

    fn close_run(&mut self, keys: &Keys) {
        let run = Run { start: self.open, end: self.entries.len() };
        if run.start == run.end {
            return;
        }
        self.entries.get_mut(run.start..).unwrap_or_default().sort_unstable_by(|a, b| compare(keys, a, b));
        self.open = run.end;
        self.heap.push(run);
    }

    /// Appends the next messages in order, `count` at most. Says whether there are more.
    /// `note` is told each with its key.
    pub(super) fn merge(
        &mut self,
        keys: &Keys,
        count: usize,
        out: &mut Vec<SortedMessage>,
        mut note: impl FnMut(SortedMessage, KeyIndex),
    ) -> bool {
        for _ in 0..count {
            let Some(run) = self.heap.first_mut() else { break };
            if let Some(entry) = self.entries.get(run.start) {
                note(entry.message, entry.key);
                out.push(entry.message);
            }
            run.start += 1;
            if run.start >= run.end {
                self.heap.swap_remove(0);
            }
            self.sift_down(0, keys);
        }
        if self.heap.is_empty() {
            self.entries = Vec::new();
        }
        !self.heap.is_empty()
    }

    fn sift_down(&mut self, mut at: usize, keys: &Keys) {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let Some(least) = children
                .into_iter()
                .filter(|&child| child < self.heap.len())
                .min_by(|&a, &b| self.compare_runs(a, b, keys))
            else {
                return;
            };
            if self.compare_runs(at, least, keys) != Ordering::Greater {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn compare_runs(&self, a: usize, b: usize, keys: &Keys) -> Ordering {
        let first = |run: usize| self.heap.get(run).and_then(|run| self.entries.get(run.start));
        match (first(a), first(b)) {
            (Some(a), Some(b)) => compare(keys, a, b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

fn compare(keys: &Keys, a: &Entry, b: &Entry) -> Ordering {
    keys.compare(a.key, b.key).then(a.message.seq.cmp(&b.message.seq))
}
