//! Flags that each user has for himself: a state as one of them sees it.

use std::sync::Arc;

use super::{Chunk, RecordFlags, State};

impl State {
    /// The same messages, but the flags in `mask` are those that `private` has for them; a message that it does not know
    /// has none of these. Chunks in which nothing differs are shared. Linear in the records.
    pub fn with_flags_of(&self, private: &Self, mask: RecordFlags) -> Self {
        let mut theirs =
            private.records_from(0).map(|record| (record.uid().value(), record.record_flags().0)).peekable();
        let mut inner = (*self.0).clone();
        for chunk in &mut inner.chunks {
            let flag_of = |uid: u32| {
                while theirs.next_if(|(other, _)| *other < uid).is_some() {}
                theirs.next_if(|(other, _)| *other == uid).map_or(0, |(_, flags)| flags)
            };
            let changes = differences(chunk, mask.0, flag_of);
            if !changes.is_empty() {
                let chunk = Arc::make_mut(chunk);
                for (at, add) in changes {
                    chunk.update_flags(at..at + 1, add, mask.0);
                }
            }
        }
        inner.finish()
    }
}

/// Records whose flags in `mask` are others than they are to be: the place of each, and what they are to be.
fn differences(chunk: &Chunk, mask: u8, mut flag_of: impl FnMut(u32) -> u8) -> Vec<(usize, u8)> {
    let records = chunk.uids.iter().zip(&chunk.flags).enumerate();
    let wanted = records.map(|(at, (uid, flags))| (at, *flags, flag_of(*uid) & mask));
    wanted.filter(|(_, flags, wanted)| flags & mask != *wanted).map(|(at, _, wanted)| (at, wanted)).collect()
}
