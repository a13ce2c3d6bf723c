//! A message's bytes. They are kept with CRLF line ends, so that places as stored and as shown are the same.

use std::sync::Arc;

use super::snapshot::Content;
use crate::traits::{Body, Result, Section};

pub(super) struct MemoryBody(pub(super) Arc<Content>);

impl Body for MemoryBody {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn stored_size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let end = section.start.saturating_add(section.len).min(self.0.size());
        let start = section.start.saturating_add(offset).min(end);
        let bytes = self.0.bytes.get(start as usize..end as usize).unwrap_or_default();
        let len = bytes.len().min(buf.len());
        if let (Some(from), Some(to)) = (bytes.get(..len), buf.get_mut(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}
