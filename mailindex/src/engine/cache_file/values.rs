//! Values on their way into the cache.

use std::collections::VecDeque;

use mailtypes::Uid;

/// One value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheValue {
    /// The field's name, such as `size.virtual` or `hdr.subject`.
    pub field: String,
    /// Its bytes as the cache holds them; empty: known to be absent.
    pub data: Vec<u8>,
}

/// The values of one message, each field at most once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CacheValues(pub Vec<CacheValue>);

impl CacheValues {
    /// Adds a value; a field that is there already keeps its first.
    pub fn put(&mut self, field: impl Into<String>, data: impl Into<Vec<u8>>) {
        let field = field.into();
        if !self.0.iter().any(|value| value.field.eq_ignore_ascii_case(&field)) {
            self.0.push(CacheValue { field, data: data.into() });
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes, roughly as on disk.
    pub(crate) fn byte_len(&self) -> usize {
        self.0.iter().map(|value| value.data.len() + 8).sum()
    }
}

/// Values that wait for the end of a command.
#[derive(Debug, Default)]
pub(in crate::engine) struct Fills {
    waiting: VecDeque<(Uid, CacheValues)>,
    len: usize,
}

impl Fills {
    /// Values of one message that come one after the other become one record; of more than `max` bytes the oldest go.
    pub(super) fn push(&mut self, uid: Uid, values: CacheValues, max: usize) {
        match self.waiting.back_mut().filter(|(there, _)| *there == uid) {
            Some((_, there)) => {
                self.len -= there.byte_len();
                values.0.into_iter().for_each(|value| there.put(value.field, value.data));
                self.len += there.byte_len();
            }
            None => {
                self.len += values.byte_len();
                self.waiting.push_back((uid, values));
            }
        }
        while self.len > max {
            let Some((_, dropped)) = self.waiting.pop_front() else { break };
            self.len -= dropped.byte_len();
        }
    }

    pub(super) fn take(&mut self) -> Vec<(Uid, CacheValues)> {
        self.len = 0;
        std::mem::take(&mut self.waiting).into()
    }
}

/// What a mailbox knows of its cache file.
#[derive(Debug, Default)]
pub(in crate::engine) struct CacheSlot {
    pub(super) open: Option<std::sync::Arc<super::OpenCache>>,
    /// The file that must not be read any more.
    pub(super) damaged: Option<u32>,
    /// The file that reaches as far as the index's offsets.
    pub(super) checked: Option<u32>,
}
