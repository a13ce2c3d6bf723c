//! Reading values, many messages by few reads.

use std::sync::Arc;

use mailtypes::Uid;

use super::{OpenCache, values::cmp_names, window::FileWindow};
use crate::{
    cache::{CacheError, FieldKind, Values, read_values},
    engine::MailboxIndex,
    state::{RecordRef, State},
};

/// Reads the values of some fields for messages of one state. Cheapest when messages are asked for in ascending order.
#[derive(Debug)]
pub struct CacheReader {
    index: Arc<MailboxIndex>,
    wanted: Arc<Wanted>,
    source: Option<(Arc<OpenCache>, FileWindow)>,
    stop_after: Option<usize>,
    /// Of which messages it is, and the first of them that was asked for.
    state: State,
    lowest: Option<Uid>,
}

/// The values of one message.
#[derive(Clone, Debug, Default)]
pub struct CachedValues {
    wanted: Arc<Wanted>,
    values: Values,
}

/// The fields that a reader was asked for, which may be thousands.
#[derive(Debug, Default)]
struct Wanted {
    /// Names and numbers, by name.
    fields: Vec<(Box<str>, Option<u32>)>,
    /// The numbers, ascending.
    numbers: Vec<u32>,
}

impl Wanted {
    fn new(names: &[&str], number: impl Fn(&str) -> Option<u32>) -> Self {
        let mut fields: Vec<_> = names.iter().map(|name| (Box::from(*name), number(name))).collect();
        fields.sort_unstable_by(|(a, _), (b, _)| cmp_names(a, b));
        fields.dedup_by(|(a, _), (b, _)| cmp_names(a, b).is_eq());
        let mut numbers: Vec<u32> = fields.iter().filter_map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        Self { fields, numbers }
    }

    fn has(&self, number: u32) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }

    fn number(&self, name: &str) -> Option<u32> {
        let at = self.fields.binary_search_by(|(there, _)| cmp_names(there, name)).ok()?;
        self.fields.get(at)?.1
    }
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
        let wanted = Wanted::new(fields, |name| cache.as_ref()?.fields.find(name.as_bytes()));
        let known = wanted.numbers.len();
        let kind = |number: &u32| cache.as_ref().and_then(|cache| Some(cache.fields.get(*number)?.kind));
        // Bitmasks are or-ed over the whole chain, so it must be read to its end.
        let masks = wanted.numbers.iter().any(|number| kind(number) == Some(FieldKind::Bitmask));
        let source = cache.filter(|_| known > 0).map(|cache| {
            let window = FileWindow::new(Arc::clone(&cache.handle));
            (cache, window)
        });
        CacheReader {
            index: Arc::clone(self),
            wanted: Arc::new(wanted),
            source,
            stop_after: (!masks).then_some(known),
            state: state.clone(),
            lowest: None,
        }
    }
}

impl CacheReader {
    /// What is cached of a message; damage is as good as nothing, and is reported once.
    pub fn read(&mut self, record: &RecordRef<'_>) -> CachedValues {
        let mut found = CachedValues { wanted: Arc::clone(&self.wanted), values: Values::default() };
        let (Some((cache, window)), Some(offset)) = (&mut self.source, record.cache_offset()) else { return found };
        self.lowest = Some(self.lowest.map_or(record.uid(), |lowest| lowest.min(record.uid())));
        let wanted = |number| self.wanted.has(number);
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

impl Drop for CacheReader {
    fn drop(&mut self) {
        if let (Some((cache, _)), Some(lowest)) = (&self.source, self.lowest) {
            self.index.note_uses(cache, &self.wanted.numbers, lowest, &self.state);
        }
    }
}

impl CachedValues {
    /// The value of a field; an empty one of a text or header field means that the message has none.
    pub fn get(&self, field: &str) -> Option<&[u8]> {
        self.values.get(self.wanted.number(field)?)
    }
}
