//! What messages are compared by: for each criterion a number, or a text in one arena for all messages.

use std::{cmp::Ordering, sync::Arc};

use mailmime::{Address, BaseSubject, Fields, collation_key, decode_header_text, parse_address_list};
use mailtypes::{SortCriterion, SortKey};

use super::SortOrder;
use crate::traits::{Column, Columns, Result, Row, Rows, StorageError};

/// Longest text that is compared, in bytes; texts that are equal so far are equal.
pub const SORT_KEY_LEN_MAX: usize = 8 * 1024;

/// Bytes of all texts of one sort together.
pub const SORT_KEYS_LEN_MAX: usize = 256 * 1024 * 1024;

/// The keys of all messages.
#[derive(Debug)]
pub(super) struct Keys {
    criteria: Vec<Criterion>,
    columns: Columns,
    /// As many as there are criteria, for each message: a number, or the stretch of `texts` in halves.
    values: Vec<u64>,
    texts: Vec<u8>,
}

#[derive(Debug)]
struct Criterion {
    /// As asked for.
    key: SortKey,
    source: Source,
    reverse: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Arrival,
    Date,
    Size,
    /// With the number of the header field in the columns.
    Subject(usize),
    Mailbox(usize),
    Display(usize),
    /// A text by its number in an order that is known.
    Ranked(Arc<SortOrder>),
}

impl Source {
    const fn is_text(&self) -> bool {
        matches!(self, Self::Subject(_) | Self::Mailbox(_) | Self::Display(_))
    }
}

/// The number of a message's keys.
pub(super) type KeyIndex = u32;

impl Keys {
    pub(super) fn new(criteria: &[SortCriterion]) -> Self {
        Self::with_orders(criteria, |_| None)
    }

    /// With the orders that are known.
    pub(super) fn with_orders(criteria: &[SortCriterion], order: impl Fn(SortKey) -> Option<Arc<SortOrder>>) -> Self {
        let mut keys = Self { criteria: Vec::new(), columns: Columns::flags(), values: Vec::new(), texts: Vec::new() };
        for (place, criterion) in criteria.iter().enumerate() {
            // What is equal by a criterion is equal by it once more, in whatever direction.
            if !criteria.iter().take(place).any(|before| before.key == criterion.key) {
                keys.criterion(criterion, order(criterion.key));
            }
        }
        keys
    }

    fn criterion(&mut self, criterion: &SortCriterion, order: Option<Arc<SortOrder>>) {
        if let Some(order) = order {
            let SortCriterion { key, reverse } = *criterion;
            self.criteria.push(Criterion { key, source: Source::Ranked(order), reverse });
            return;
        }
        let source = match criterion.key {
            SortKey::Arrival => self.column(Column::InternalDate, Source::Arrival),
            SortKey::Date => {
                self.column(Column::InternalDate, Source::Date);
                self.column(Column::SentDate, Source::Date)
            }
            SortKey::Size => self.column(Column::Size, Source::Size),
            SortKey::Subject => Source::Subject(self.header("Subject")),
            SortKey::From => Source::Mailbox(self.header("From")),
            SortKey::To => Source::Mailbox(self.header("To")),
            SortKey::Cc => Source::Mailbox(self.header("Cc")),
            SortKey::DisplayFrom => Source::Display(self.header("From")),
            SortKey::DisplayTo => Source::Display(self.header("To")),
            // A key of a later version orders nothing here.
            _ => return,
        };
        self.criteria.push(Criterion { key: criterion.key, source, reverse: criterion.reverse });
    }

    fn column(&mut self, column: Column, source: Source) -> Source {
        self.columns = std::mem::take(&mut self.columns).with(column);
        source
    }

    fn header(&mut self, name: &str) -> usize {
        self.columns = std::mem::take(&mut self.columns).with_header(name);
        self.columns.headers.iter().position(|have| have == name).unwrap_or_default()
    }

    /// What must be scanned.
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Takes in a message's keys.
    pub(super) fn read(&mut self, row: &Row, rows: &Rows) -> Result<KeyIndex> {
        let index = self.values.len().checked_div(self.criteria.len()).unwrap_or_default();
        for at in 0..self.criteria.len() {
            let Some(source) = self.criteria.get(at).map(|criterion| criterion.source.clone()) else { break };
            let value = match source {
                Source::Arrival => ordered(row.internal_date.map(|date| date.unix)),
                Source::Date => ordered(sent_date(row)),
                Source::Size => row.size.unwrap_or_default(),
                Source::Subject(n) => self.text(|out| out.extend(BaseSubject::of(&first_field(row, rows, n)).key))?,
                Source::Mailbox(n) => self.text(|out| mailbox_key(&first_field(row, rows, n), out))?,
                Source::Display(n) => self.text(|out| display_key(&first_field(row, rows, n), out))?,
                Source::Ranked(order) => order.rank(row.uid).unwrap_or_default().into(),
            };
            self.values.push(value);
        }
        Ok(KeyIndex::try_from(index).unwrap_or(KeyIndex::MAX))
    }

    /// The text that weighs most, and whether the order is the other way round; `None` where that is no text.
    pub(super) fn first_text(&self) -> Option<(SortKey, bool)> {
        let first = self.criteria.first().filter(|criterion| criterion.source.is_text())?;
        Some((first.key, first.reverse))
    }

    /// Whether two messages are equal in what weighs most, which is a text.
    pub(super) fn is_first_text_equal(&self, a: KeyIndex, b: KeyIndex) -> bool {
        let text = |key| self.values_of(key).first().map(|value| self.text_of(*value));
        text(a) == text(b)
    }

    /// The texts of all messages, one after the other.
    pub(super) fn into_texts(self) -> Vec<u8> {
        self.texts
    }

    fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<u64> {
        let start = self.texts.len();
        write(&mut self.texts);
        self.texts.truncate(start + SORT_KEY_LEN_MAX);
        if self.texts.len() > SORT_KEYS_LEN_MAX {
            return Err(StorageError::Limit { name: "sort_keys_len_max", limit: SORT_KEYS_LEN_MAX as u64 });
        }
        // Both fit into 32 bits, for the limit does.
        Ok((start as u64) << 32 | (self.texts.len() - start) as u64)
    }

    /// Which of two messages comes first; equal ones do not know.
    pub(super) fn compare(&self, a: KeyIndex, b: KeyIndex) -> Ordering {
        let (a, b) = (self.values_of(a), self.values_of(b));
        for ((criterion, &a), &b) in self.criteria.iter().zip(a).zip(b) {
            let ordering = if criterion.source.is_text() { self.text_of(a).cmp(self.text_of(b)) } else { a.cmp(&b) };
            if ordering != Ordering::Equal {
                return if criterion.reverse { ordering.reverse() } else { ordering };
            }
        }
        Ordering::Equal
    }

    fn values_of(&self, key: KeyIndex) -> &[u64] {
        let (count, start) = (self.criteria.len(), key as usize * self.criteria.len());
        self.values.get(start..start + count).unwrap_or_default()
    }

    fn text_of(&self, value: u64) -> &[u8] {
        let (start, len) = ((value >> 32) as usize, (value & u64::from(u32::MAX)) as usize);
        self.texts.get(start..start + len).unwrap_or_default()
    }
}

/// The time in the Date field, else the internal date (RFC 5256 §2.2).
pub(crate) fn sent_date(row: &Row) -> Option<i64> {
    row.sent_date.or(row.internal_date).map(|date| date.unix)
}

/// Times before 1970 sort before it.
fn ordered(unix: Option<i64>) -> u64 {
    unix.unwrap_or_default().cast_unsigned() ^ 1 << 63
}

fn first_field(row: &Row, rows: &Rows, n: usize) -> Vec<u8> {
    Fields::new(rows.header(row, n)).next().map(|field| field.value().into_owned()).unwrap_or_default()
}

/// `addr-mailbox` of the first address; of a group, its name.
fn mailbox_key(value: &[u8], out: &mut Vec<u8>) {
    if let Some(mailbox) = first_address(value).and_then(|address| address.mailbox) {
        text_key(&String::from_utf8_lossy(&mailbox), out);
    }
}

/// RFC 5957 §2: the display name, else the address.
fn display_key(value: &[u8], out: &mut Vec<u8>) {
    let Some(address) = first_address(value) else { return };
    let name = address.name.as_deref().map(decode_header_text).unwrap_or_default();
    if !name.is_empty() {
        return text_key(&name, out);
    }
    let mailbox = address.mailbox.unwrap_or_default();
    text_key(&String::from_utf8_lossy(&mailbox), out);
    if let Some(domain) = address.domain {
        text_key("@", out);
        text_key(&String::from_utf8_lossy(&domain), out);
    }
}

fn first_address(value: &[u8]) -> Option<Address> {
    parse_address_list(value, 1).into_iter().next()
}

/// What C strings are compared by ends at a NUL.
fn text_key(text: &str, out: &mut Vec<u8>) {
    collation_key(text.split('\0').next().unwrap_or_default(), out);
}
