//! Reading values, many messages by few reads.

use std::sync::Arc;

use super::{OpenCache, window::FileWindow};
use crate::{
    cache::{CacheError, FieldKind, Values, read_values},
    engine::MailboxIndex,
    state::{RecordRef, State},
};

/// Reads the values of some fields for messages of one state. Cheapest when messages are asked for in ascending order.
#[derive(Debug)]
pub struct CacheReader {
    index: Arc<MailboxIndex>,
    names: Arc<[Box<str>]>,
    /// The fields' numbers, in the order of the names.
    numbers: Arc<[Option<u32>]>,
    source: Option<(Arc<OpenCache>, FileWindow)>,
    stop_after: Option<usize>,
}

/// The values of one message.
#[derive(Clone, Debug, Default)]
pub struct CachedValues {
    names: Arc<[Box<str>]>,
    numbers: Arc<[Option<u32>]>,
    values: Values,
}

impl MailboxIndex {
    /// Whether values of a field are stored for new messages: clients have asked for it. For values that cost more to
    /// find out than to give away. Costs a read of the file's fields.
    pub fn caches_new(&self, field: &str) -> bool {
        let cache = self.open_cache(&self.state());
        let stores =
            |cache: &OpenCache| Some(cache.fields.get(cache.fields.find(field.as_bytes())?)?.decision.stores());
        cache.and_then(|cache| stores(&cache)).unwrap_or(false)
    }

    /// A reader of these fields for messages of `state`. Costs a read of the file's fields.
    pub fn cache_reader(self: &Arc<Self>, state: &State, fields: &[&str]) -> CacheReader {
        let cache = self.open_cache(state);
        let number = |name: &&str| cache.as_ref()?.fields.find(name.as_bytes());
        let numbers: Arc<[Option<u32>]> = fields.iter().map(number).collect();
        let known = numbers.iter().flatten().count();
        let kind = |number: &u32| cache.as_ref().and_then(|cache| Some(cache.fields.get(*number)?.kind));
        // Bitmasks are or-ed over the whole chain, so it must be read to its end.
        let masks = numbers.iter().flatten().any(|number| kind(number) == Some(FieldKind::Bitmask));
        let source = cache.filter(|_| known > 0).map(|cache| {
            let window = FileWindow::new(Arc::clone(&cache.handle));
            (cache, window)
        });
        CacheReader {
            index: Arc::clone(self),
            names: fields.iter().map(|name| Box::from(*name)).collect(),
            numbers,
            source,
            stop_after: (!masks).then_some(known),
        }
    }
}

impl CacheReader {
    /// What is cached of a message; damage is as good as nothing, and is reported once.
    pub fn read(&mut self, record: &RecordRef<'_>) -> CachedValues {
        let (names, numbers) = (Arc::clone(&self.names), Arc::clone(&self.numbers));
        let mut found = CachedValues { names, numbers, values: Values::default() };
        let (Some((cache, window)), Some(offset)) = (&mut self.source, record.cache_offset()) else { return found };
        let wanted = |number| self.numbers.contains(&Some(number));
        match read_values(window, &cache.fields, offset, wanted, self.stop_after) {
            Ok(values) => found.values = values,
            Err(CacheError::Read(e)) => {
                tracing::warn!("cache not read: {e}");
                self.source = None;
            }
            Err(CacheError::Damage(damage)) => {
                self.index.give_up_cache(cache.file_seq, &damage);
                self.source = None;
            }
        }
        found
    }
}

impl CachedValues {
    /// The value of a field; an empty one of a text or header field means that the message has none.
    pub fn get(&self, field: &str) -> Option<&[u8]> {
        let at = self.names.iter().position(|name| name.eq_ignore_ascii_case(field))?;
        self.values.get((*self.numbers.get(at)?)?)
    }
}
