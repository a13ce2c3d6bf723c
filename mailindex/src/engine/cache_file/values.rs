//! Values on their way into the cache.

use std::{cmp::Ordering, collections::VecDeque};

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
pub struct CacheValues {
    /// In the order in which they were put in.
    values: Vec<CacheValue>,
    /// Their places, by name: a search may ask for thousands of fields.
    by_name: Vec<u32>,
}

impl CacheValues {
    /// Adds a value; a field that is there already keeps its first. Logarithmic in the number of values but for the moving
    /// of some bytes.
    pub fn put(&mut self, field: impl Into<String>, data: impl Into<Vec<u8>>) {
        let field = field.into();
        let place = self.by_name.binary_search_by(|at| match self.values.get(*at as usize) {
            Some(value) => cmp_names(&value.field, &field),
            None => Ordering::Less,
        });
        if let Err(place) = place {
            self.by_name.insert(place, self.values.len() as u32);
            self.values.push(CacheValue { field, data: data.into() });
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All, in the order in which they were put in.
    pub fn iter(&self) -> impl Iterator<Item = &CacheValue> {
        self.values.iter()
    }

    /// Bytes, roughly as on disk.
    pub(crate) fn byte_len(&self) -> usize {
        self.values.iter().map(|value| value.data.len() + 8).sum()
    }
}

/// Compares names of fields, which have no case.
pub(super) fn cmp_names(a: &str, b: &str) -> Ordering {
    a.bytes().map(|b| b.to_ascii_lowercase()).cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
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
                values.values.into_iter().for_each(|value| there.put(value.field, value.data));
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
    /// What was asked for.
    pub(super) uses: super::decisions::Uses,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_its_first_value() {
        let mut values = CacheValues::default();
        for (field, data) in [("hdr.Subject", "a"), ("size.virtual", "b"), ("hdr.subject", "c"), ("HDR.CC", "d")] {
            values.put(field, data);
        }
        let there: Vec<_> = values.iter().map(|value| (value.field.as_str(), value.data.as_slice())).collect();
        assert_eq!(there, [("hdr.Subject", &b"a"[..]), ("size.virtual", b"b"), ("HDR.CC", b"d")]);
    }
}
