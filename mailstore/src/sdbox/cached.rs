//! What the cache knows of a message.

use mailindex::{engine::CacheValues, state::RecordRef};
use mailmime::CachedHeader;
use mailtypes::Uid;

use super::view::SdboxView;
use crate::traits::Columns;

/// Reads the cached values that a scan's columns can be made of.
pub(super) struct CachedReader<'a> {
    view: &'a SdboxView,
}

/// The values of one message.
pub(super) struct Cached {
    values: Vec<(String, Vec<u8>)>,
}

impl<'a> CachedReader<'a> {
    pub(super) fn new(view: &'a SdboxView, _columns: &Columns) -> Self {
        Self { view }
    }

    pub(super) fn read(&mut self, _record: &RecordRef<'_>) -> Cached {
        Cached { values: Vec::new() }
    }

    pub(super) fn found(&mut self, _uid: Uid, _values: CacheValues) {
        let _ = self.view;
    }
}

impl Cached {
    pub(super) fn get(&self, field: &str) -> Option<&[u8]> {
        self.values.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value.as_slice())
    }

    pub(super) fn u32(&self, field: &str) -> Option<u32> {
        Some(u32::from_le_bytes(self.get(field)?.try_into().ok()?))
    }

    pub(super) fn u64(&self, field: &str) -> Option<u64> {
        Some(u64::from_le_bytes(self.get(field)?.try_into().ok()?))
    }

    pub(super) fn header(&self, name: &str) -> Option<CachedHeader<'_>> {
        CachedHeader::decode(self.get(&format!("hdr.{name}"))?).ok()
    }
}
