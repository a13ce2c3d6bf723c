//! What changed between two states of one mailbox.

use std::{cmp::Ordering, sync::Arc};

use mailtypes::{Uid, UidSet};

use super::{Inner, RecordRef, State};

/// What changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diff {
    /// Messages that are gone.
    pub expunged: UidSet,
    /// Messages that are new.
    pub appended: UidSet,
    /// Messages in both whose flags, keywords or own modseqs differ.
    pub flags_changed: UidSet,
}

impl Diff {
    /// Whether nothing did.
    pub fn is_empty(&self) -> bool {
        self.expunged.is_empty() && self.appended.is_empty() && self.flags_changed.is_empty()
    }
}

#[derive(Clone, Copy)]
struct Cursor<'a> {
    inner: &'a Inner,
    chunk: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(state: &'a State) -> Self {
        Self { inner: &state.0, chunk: 0, at: 0 }
    }

    fn record(&self) -> Option<RecordRef<'a>> {
        let chunk = self.inner.chunks.get(self.chunk)?;
        Some(RecordRef { inner: self.inner, chunk, at: self.at })
    }

    fn advance(&mut self) {
        self.at += 1;
        if self.inner.chunks.get(self.chunk).is_none_or(|chunk| self.at >= chunk.len()) {
            self.skip_chunk();
        }
    }

    fn skip_chunk(&mut self) {
        (self.chunk, self.at) = (self.chunk + 1, 0);
    }

    fn shares_chunk(&self, other: &Self) -> bool {
        let chunks = (self.inner.chunks.get(self.chunk), other.inner.chunks.get(other.chunk));
        self.at == 0 && other.at == 0 && matches!(chunks, (Some(a), Some(b)) if Arc::ptr_eq(a, b))
    }
}

/// Compares. Chunks that both share are passed over; the rest is linear in the records.
pub fn diff(old: &State, new: &State) -> Diff {
    let mut diff = Diff::default();
    if old.ptr_eq(new) {
        return diff;
    }
    let (mut a, mut b) = (Cursor::new(old), Cursor::new(new));
    // Extensions and keywords are only ever added behind; a state that was rebuilt may have them in another order.
    let comparable = continues(&old.0, &new.0);
    loop {
        if comparable && a.shares_chunk(&b) {
            a.skip_chunk();
            b.skip_chunk();
            continue;
        }
        let order = match (a.record(), b.record()) {
            (None, None) => return diff,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(x), Some(y)) => {
                if x.uid() == y.uid() && !(comparable && x.same_flags(&y)) {
                    diff.flags_changed.insert(x.uid());
                }
                x.uid().cmp(&y.uid())
            }
        };
        let insert = |set: &mut UidSet, uid: Option<Uid>| uid.into_iter().for_each(|uid| set.insert(uid));
        match order {
            Ordering::Less => insert(&mut diff.expunged, a.record().map(|r| r.uid())),
            Ordering::Greater => insert(&mut diff.appended, b.record().map(|r| r.uid())),
            Ordering::Equal => {}
        }
        if order.is_le() {
            a.advance();
        }
        if order.is_ge() {
            b.advance();
        }
    }
}

fn continues(old: &Inner, new: &Inner) -> bool {
    let same_place = |a: Option<usize>, b: Option<usize>| a.is_none() || a == b;
    let names = old.keywords.names().iter().zip(new.keywords.names());
    same_place(old.keywords_ext, new.keywords_ext)
        && same_place(old.modseq_ext, new.modseq_ext)
        && old.keywords.names().len() <= new.keywords.names().len()
        && (Arc::ptr_eq(&old.keywords, &new.keywords) || names.into_iter().all(|(a, b)| a.as_bytes() == b.as_bytes()))
}
