//! The keyword table: a name for each bit of the `keywords` extension's field.

use std::{collections::HashMap, sync::Arc};

use mailtypes::Keyword;

/// Most keywords that one index can have; each costs a bit in every message.
pub const KEYWORDS_MAX: usize = 4096;

/// A keyword's name as the index has it.
#[derive(Clone, Debug)]
pub struct KeywordName {
    raw: Arc<[u8]>,
    keyword: Option<Keyword>,
}

impl KeywordName {
    pub(crate) fn new(raw: &[u8]) -> Self {
        let keyword = std::str::from_utf8(raw).ok().and_then(|name| Keyword::new(name).ok());
        Self { raw: raw.into(), keyword }
    }

    /// The bytes on disk, in the spelling of the first use.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The keyword; `None` if clients could not be shown such a name.
    pub fn keyword(&self) -> Option<&Keyword> {
        self.keyword.as_ref()
    }
}

/// All keywords by bit number. Only grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeywordTable {
    names: Vec<KeywordName>,
    by_name: HashMap<Box<[u8]>, u16>,
}

impl KeywordTable {
    pub(crate) fn names(&self) -> &[KeywordName] {
        &self.names
    }

    /// The bit of a name, whatever its case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u16> {
        self.by_name.get(name.to_ascii_lowercase().as_slice()).copied()
    }

    /// Gives the name the next bit. The caller has looked that it is new and that there is room.
    pub(crate) fn push(&mut self, name: &[u8]) -> u16 {
        let bit = self.names.len() as u16;
        self.names.push(KeywordName::new(name));
        self.by_name.entry(name.to_ascii_lowercase().into()).or_insert(bit);
        bit
    }
}
