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
    pub(super) waiting: VecDeque<(Uid, CacheValues)>,
    pub(super) len: usize,
}
