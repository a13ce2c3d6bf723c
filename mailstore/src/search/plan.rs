//! A search key made ready: sets resolved, texts folded, what must be read of each message known.

use std::{
    collections::HashSet,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use mailtypes::{CalendarDate, Flag, Keyword, ModSeq, SearchKey, SearchText, SeqNum, Uid, UidSet};
use memchr::memmem::Finder;

use super::fold::fold;
use crate::traits::{Column, Columns, Result, StorageError, View};

/// How deep keys may lie in each other.
pub const SEARCH_DEPTH_MAX: usize = 200;

/// How many keys one search may have.
pub const SEARCH_KEY_COUNT_MAX: usize = 10_000;

/// How many different header fields one search may name: each is found, and cached, for each message.
pub const SEARCH_HEADER_COUNT_MAX: usize = 1_000;

/// Longest text to look for, in bytes of UTF-8. As much of a body is kept from one piece to the next.
pub const SEARCH_TEXT_LEN_MAX: usize = 16 * 1024;

/// Checks a key that comes from elsewhere, without recursion. (Dropping a key of great depth recurses and can exhaust
/// the stack by itself: hand one that was refused to [`dismantle`].)
///
/// # Errors
/// `Limit` naming [`SEARCH_DEPTH_MAX`], [`SEARCH_KEY_COUNT_MAX`], [`SEARCH_HEADER_COUNT_MAX`] or [`SEARCH_TEXT_LEN_MAX`].
pub fn check_search_key(key: &SearchKey) -> Result<()> {
    let limit = |name, limit: usize| Err(StorageError::Limit { name, limit: limit as u64 });
    let (mut open, mut count, mut headers) = (vec![(key, 1)], 0, HashSet::new());
    while let Some((key, depth)) = open.pop() {
        count += 1;
        if depth > SEARCH_DEPTH_MAX {
            return limit("search_depth_max", SEARCH_DEPTH_MAX);
        }
        if let SearchKey::Header(name, _) = key
            && headers.insert(name.to_ascii_lowercase())
            && headers.len() > SEARCH_HEADER_COUNT_MAX
        {
            return limit("search_header_count_max", SEARCH_HEADER_COUNT_MAX);
        }
        match key {
            SearchKey::And(keys) => {
                if keys.len() > SEARCH_KEY_COUNT_MAX {
                    return limit("search_key_count_max", SEARCH_KEY_COUNT_MAX);
                }
                open.extend(keys.iter().map(|key| (key, depth + 1)));
            }
            SearchKey::Or(a, b) => open.extend([(&**a, depth + 1), (&**b, depth + 1)]),
            SearchKey::Not(key) => open.push((key, depth + 1)),
            SearchKey::Header(_, text)
            | SearchKey::Address(_, text)
            | SearchKey::Body(text)
            | SearchKey::Text(text)
                if text.len() > SEARCH_TEXT_LEN_MAX =>
            {
                return limit("search_text_len_max", SEARCH_TEXT_LEN_MAX);
            }
            _ => {}
        }
        if count + open.len() > SEARCH_KEY_COUNT_MAX {
            return limit("search_key_count_max", SEARCH_KEY_COUNT_MAX);
        }
    }
    Ok(())
}

/// Drops a key of any depth without recursion.
pub fn dismantle(key: SearchKey) {
    let mut open = vec![key];
    while let Some(key) = open.pop() {
        match key {
            SearchKey::And(keys) => open.extend(keys),
            SearchKey::Or(a, b) => open.extend([*a, *b]),
            SearchKey::Not(key) => open.push(*key),
            _ => {}
        }
    }
}

/// What must be read of a message to judge it, ascending in cost.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Level {
    Index,
    Columns,
    Headers,
    Body,
}

/// How a key is judged. As deep as the [`SearchKey`] it was made from, which was checked.
#[derive(Debug)]
pub(super) enum Node {
    And(Vec<Node>),
    Or(Box<[Node; 2]>),
    Not(Box<Node>),
    Leaf(Leaf),
}

#[derive(Debug)]
pub(super) enum Leaf {
    /// The same for every message.
    Always(bool),
    /// Sequence numbers, kept in the same kind of set as UIDs.
    Seqs(UidSet),
    Uids(UidSet),
    Flag(Flag),
    Keyword(Keyword),
    Recent,
    ModSeq(ModSeq),
    Before(CalendarDate),
    On(CalendarDate),
    Since(CalendarDate),
    SentBefore(CalendarDate),
    SentOn(CalendarDate),
    SentSince(CalendarDate),
    Larger(u64),
    Smaller(u64),
    /// Arrived at this time, Unix seconds, or before.
    ArrivedBy(i64),
    /// Arrived at this time or later.
    ArrivedSince(i64),
    SavedBefore(CalendarDate),
    SavedOn(CalendarDate),
    SavedSince(CalendarDate),
    EmailId(String),
    /// The text is in the addresses of the `n`-th header field asked for.
    Address(usize, FoldedText),
    /// The `n`-th header field asked for has the text; or is there, if that is empty.
    Header(usize, Option<FoldedText>),
    /// The text with this number of [`Plan::needles`] is in the body.
    Body(usize),
}

/// A text to look for in folded text.
pub(super) struct FoldedText(Box<Finder<'static>>);

impl FoldedText {
    fn new(text: &SearchText) -> Self {
        Self(Box::new(Finder::new(&fold(text)).into_owned()))
    }

    pub(super) fn is_in(&self, folded: &[u8]) -> bool {
        self.0.find(folded).is_some()
    }

    /// Whether it can be found only where line ends are as they were typed.
    pub(super) fn has_line_end(&self) -> bool {
        memchr::memchr2(b'\r', b'\n', self.0.needle()).is_some()
    }

    /// Bytes, folded.
    pub(super) fn len(&self) -> usize {
        self.0.needle().len()
    }
}

impl fmt::Debug for FoldedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0.needle()), f)
    }
}

/// A text to look for in bodies.
#[derive(Debug)]
pub(super) struct Needle {
    pub(super) text: FoldedText,
    /// In headers too: TEXT.
    pub(super) in_headers: bool,
}

#[derive(Debug)]
pub(super) struct Plan {
    root: Node,
    needles: Vec<Needle>,
    highest_level: Level,
    has_columns: bool,
    has_headers: bool,
    /// What to scan for at each [`Level`].
    columns: [Columns; 4],
}

impl Plan {
    /// `key` was checked.
    pub(super) fn new(key: SearchKey, view: &dyn View) -> Self {
        let highest_level = level_of(&key);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let mut builder = Builder { view, now, columns: Columns::flags(), headers: Vec::new(), needles: Vec::new() };
        let root = builder.node(key);
        let Builder { columns, headers, needles, .. } = builder;
        let with_headers = headers.iter().fold(columns.clone(), |columns, name| columns.with_header(name));
        let with_parts = with_headers.clone().with(Column::Parts);
        Self {
            root,
            needles,
            highest_level,
            has_columns: !columns.only_flags(),
            has_headers: !headers.is_empty(),
            columns: [Columns::flags(), columns, with_headers, with_parts],
        }
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    pub(super) fn needles(&self) -> &[Needle] {
        &self.needles
    }

    pub(super) fn highest_level(&self) -> Level {
        self.highest_level
    }

    pub(super) fn columns(&self, level: Level) -> &Columns {
        let [index, columns, headers, body] = &self.columns;
        match level {
            Level::Index => index,
            Level::Columns => columns,
            Level::Headers => headers,
            Level::Body => body,
        }
    }

    /// The pass behind one of this level.
    pub(super) fn level_after(&self, level: Level) -> Option<Level> {
        let passes = [
            (Level::Columns, self.has_columns),
            (Level::Headers, self.has_headers),
            (Level::Body, !self.needles.is_empty()),
        ];
        passes.into_iter().find(|&(next, is_needed)| is_needed && next > level).map(|(next, _)| next)
    }

    /// The messages that can match at all, by the sets that every match must be in.
    pub(super) fn candidates(&self, view: &dyn View) -> UidSet {
        let mut uids = view.uids();
        let mut narrow = |node: &Node| match node {
            Node::Leaf(Leaf::Uids(set)) => uids = uids.intersection(set),
            Node::Leaf(Leaf::Seqs(set)) => uids = uids.intersection(&view.uids_at(set)),
            _ => {}
        };
        match &self.root {
            Node::And(nodes) => nodes.iter().for_each(narrow),
            node => narrow(node),
        }
        uids
    }
}

/// What must be read to judge a key. Recurses as deep as a checked key is.
pub(super) fn level_of(key: &SearchKey) -> Level {
    match key {
        SearchKey::And(keys) => keys.iter().map(level_of).max().unwrap_or(Level::Index),
        SearchKey::Or(a, b) => level_of(a).max(level_of(b)),
        SearchKey::Not(key) => level_of(key),
        SearchKey::Before(_) | SearchKey::On(_) | SearchKey::Since(_) => Level::Columns,
        SearchKey::SentBefore(_) | SearchKey::SentOn(_) | SearchKey::SentSince(_) => Level::Columns,
        SearchKey::Larger(_) | SearchKey::Smaller(_) => Level::Columns,
        SearchKey::Older(_) | SearchKey::Younger(_) | SearchKey::EmailId(_) => Level::Columns,
        SearchKey::SavedBefore(_) | SearchKey::SavedOn(_) | SearchKey::SavedSince(_) => Level::Columns,
        SearchKey::Header(..) | SearchKey::Address(..) => Level::Headers,
        SearchKey::Body(_) | SearchKey::Text(_) => Level::Body,
        _ => Level::Index,
    }
}

struct Builder<'a> {
    view: &'a dyn View,
    /// Unix seconds.
    now: i64,
    columns: Columns,
    headers: Vec<String>,
    needles: Vec<Needle>,
}

impl Builder<'_> {
    fn node(&mut self, key: SearchKey) -> Node {
        match key {
            SearchKey::And(mut keys) => {
                // Within a pass the cheap comes first too.
                keys.sort_by_key(level_of);
                Node::And(keys.into_iter().map(|key| self.node(key)).collect())
            }
            SearchKey::Or(a, b) => {
                let (a, b) = if level_of(&a) <= level_of(&b) { (a, b) } else { (b, a) };
                Node::Or(Box::new([self.node(*a), self.node(*b)]))
            }
            SearchKey::Not(key) => Node::Not(Box::new(self.node(*key))),
            leaf => Node::Leaf(self.leaf(leaf)),
        }
    }

    fn leaf(&mut self, key: SearchKey) -> Leaf {
        match key {
            SearchKey::All => Leaf::Always(true),
            SearchKey::Sequence(set) => Leaf::Seqs(set.resolve(self.view.message_count())),
            SearchKey::Uid(set) => Leaf::Uids(set.resolve(self.largest_uid())),
            SearchKey::Flag(flag) => Leaf::Flag(flag),
            SearchKey::Keyword(keyword) => Leaf::Keyword(keyword),
            SearchKey::Recent => Leaf::Recent,
            SearchKey::ModSeq(modseq) => Leaf::ModSeq(modseq),
            SearchKey::Before(day) => self.with(Column::InternalDate, Leaf::Before(day)),
            SearchKey::On(day) => self.with(Column::InternalDate, Leaf::On(day)),
            SearchKey::Since(day) => self.with(Column::InternalDate, Leaf::Since(day)),
            SearchKey::SentBefore(day) => self.with(Column::SentDate, Leaf::SentBefore(day)),
            SearchKey::SentOn(day) => self.with(Column::SentDate, Leaf::SentOn(day)),
            SearchKey::SentSince(day) => self.with(Column::SentDate, Leaf::SentSince(day)),
            SearchKey::Larger(size) => self.with(Column::Size, Leaf::Larger(size)),
            SearchKey::Smaller(size) => self.with(Column::Size, Leaf::Smaller(size)),
            SearchKey::Older(seconds) => {
                self.with(Column::InternalDate, Leaf::ArrivedBy(self.now - i64::from(seconds)))
            }
            SearchKey::Younger(seconds) => {
                self.with(Column::InternalDate, Leaf::ArrivedSince(self.now - i64::from(seconds)))
            }
            SearchKey::SavedBefore(day) => self.saved(Leaf::SavedBefore(day)),
            SearchKey::SavedOn(day) => self.saved(Leaf::SavedOn(day)),
            SearchKey::SavedSince(day) => self.saved(Leaf::SavedSince(day)),
            // Every backend keeps them.
            SearchKey::SaveDateSupported => Leaf::Always(true),
            SearchKey::EmailId(id) => self.with(Column::Guid, Leaf::EmailId(id)),
            // Threads have no identities here.
            SearchKey::ThreadId(_) => Leaf::Always(false),
            SearchKey::Address(name, text) => {
                let n = self.header(name);
                match text.is_empty() {
                    true => Leaf::Header(n, None),
                    false => Leaf::Address(n, FoldedText::new(&text)),
                }
            }
            SearchKey::Header(name, text) => {
                let text = (!text.is_empty()).then(|| FoldedText::new(&text));
                Leaf::Header(self.header(name), text)
            }
            SearchKey::Body(text) => self.needle(&text, false),
            SearchKey::Text(text) => self.needle(&text, true),
            // A criterion of a later version matches nothing here.
            _ => Leaf::Always(false),
        }
    }

    fn largest_uid(&self) -> u32 {
        let last = SeqNum::new(self.view.message_count());
        last.and_then(|last| self.view.uid_at(last)).map_or(0, Uid::value)
    }

    fn with(&mut self, column: Column, leaf: Leaf) -> Leaf {
        self.columns = std::mem::take(&mut self.columns).with(column);
        leaf
    }

    /// Where a message's date of saving is not known, its internal date counts (RFC 8514 §5).
    fn saved(&mut self, leaf: Leaf) -> Leaf {
        let leaf = self.with(Column::SaveDate, leaf);
        self.with(Column::InternalDate, leaf)
    }

    fn header(&mut self, name: String) -> usize {
        match self.headers.iter().position(|have| have.eq_ignore_ascii_case(&name)) {
            Some(at) => at,
            None => {
                self.headers.push(name);
                self.headers.len() - 1
            }
        }
    }

    fn needle(&mut self, text: &SearchText, in_headers: bool) -> Leaf {
        if text.is_empty() {
            return Leaf::Always(true);
        }
        self.needles.push(Needle { text: FoldedText::new(text), in_headers });
        Leaf::Body(self.needles.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(key: SearchKey) -> &'static str {
        let outcome = check_search_key(&key);
        dismantle(key);
        match outcome {
            Err(StorageError::Limit { name, .. }) => name,
            _ => "none",
        }
    }

    fn nested(depth: usize) -> SearchKey {
        (1..depth).fold(SearchKey::All, |key, _| SearchKey::Not(Box::new(key)))
    }

    #[test]
    fn hostile_keys_are_refused_without_exhausting_the_stack() {
        assert_eq!(limit_of(nested(SEARCH_DEPTH_MAX)), "none");
        assert_eq!(limit_of(nested(SEARCH_DEPTH_MAX + 1)), "search_depth_max");
        assert_eq!(limit_of(nested(1_000_000)), "search_depth_max");
        assert_eq!(limit_of(SearchKey::And(vec![SearchKey::All; 10_001])), "search_key_count_max");
        let wide = SearchKey::And(vec![SearchKey::And(vec![SearchKey::All; 4_000]); 3]);
        assert_eq!(limit_of(wide), "search_key_count_max");
        let headers = |count| {
            let field = |n| SearchKey::Header(format!("X-{n}"), SearchText::default());
            // Whatever its case, a name counts once.
            SearchKey::And(
                (0..count).map(field).chain([SearchKey::Header("x-0".to_owned(), SearchText::default())]).collect(),
            )
        };
        assert_eq!(limit_of(headers(SEARCH_HEADER_COUNT_MAX)), "none");
        assert_eq!(limit_of(headers(SEARCH_HEADER_COUNT_MAX + 1)), "search_header_count_max");
        assert_eq!(limit_of(SearchKey::Body("x".repeat(SEARCH_TEXT_LEN_MAX + 1))), "search_text_len_max");
    }
}
