//! Rows of a view: from the index records, then from the cache, and what is in neither from the message itself, which is
//! looked at once and then offered to the cache.

use std::iter::Peekable;

use mailindex::{
    engine::CacheValues,
    state::{ExtensionSpec, RecordRef},
};
use mailmime::{CacheFlags, CachedHeader, Envelope, decode_mime_parts, encode_cached_header, encode_mime_parts};
use mailtypes::{Flags, Guid, InternalDate, SeqNum, Uid, UidSet};

use super::{
    cached::{Cached, CachedReader, ENVELOPE_FIELDS},
    fill,
    source::Source,
    view::IndexedView,
};
use crate::preview::CACHED_PREFIX;
use crate::traits::{ArenaRange, Column, Columns, Cursor, Result, Row, Rows, ScanBudget, StorageError};

/// See [`crate::View::scan`].
pub(super) fn scan(
    view: &IndexedView,
    uids: &UidSet,
    at: Cursor,
    columns: &Columns,
    budget: ScanBudget,
    out: &mut Rows,
) -> Result<Option<Cursor>> {
    let mut from_here = UidSet::new();
    from_here.insert_range(at.0..=Uid::MAX);
    let uids = uids.intersection(&from_here);
    if columns.only_flags() {
        return scan_with(view, &uids, columns, budget, out, &mut None);
    }
    let mut reader = Some(CachedReader::new(view, columns));
    let scanned = scan_with(view, &uids, columns, budget, out, &mut reader);
    if let Err(e) = view.check_place() {
        out.clear();
        return Err(e);
    }
    if let Some(reader) = reader {
        reader.offer_found();
    }
    scanned
}

fn scan_with<'a>(
    view: &'a IndexedView,
    uids: &UidSet,
    columns: &Columns,
    budget: ScanBudget,
    out: &mut Rows,
    reader: &mut Option<CachedReader<'a>>,
) -> Result<Option<Cursor>> {
    let (first_row, first_byte) = (out.rows.len(), out.arena.len());
    let mut late = false;
    for range in uids.ranges() {
        let (start, end) = range.into_inner();
        for (seq, shown) in (view.place(start)..).zip(Shown::new(view, start, end)) {
            let rows = out.rows.len() - first_row;
            if rows > 0 && (rows >= budget.rows || out.arena.len() - first_byte >= budget.bytes || late) {
                return Ok(Some(Cursor(shown.uid())));
            }
            let Some(place) = SeqNum::from_index(seq) else { break };
            let row = match (&shown, &mut *reader) {
                (Message::Ghost(uid), _) => gone(view, place, *uid),
                (Message::Here(record), None) => from_record(view, place, record, out),
                (Message::Here(record), Some(reader)) => {
                    let arena_len = out.arena.len();
                    let mut row = from_record(view, place, record, out);
                    let mut filler = Filler { view, columns, record, out };
                    match filler.fill(&mut row, reader) {
                        Ok(used_file) => {
                            late = used_file && budget.until.is_some_and(|t| std::time::Instant::now() >= t)
                        }
                        Err(StorageError::Expunged { .. }) => {
                            out.arena.truncate(arena_len);
                            row = gone(view, place, record.uid());
                        }
                        // What came before is served; the error comes when this message is first.
                        Err(_) if rows > 0 => {
                            out.arena.truncate(arena_len);
                            return Ok(Some(Cursor(record.uid())));
                        }
                        Err(e) => return Err(e),
                    }
                    row
                }
            };
            out.rows.push(row);
        }
    }
    Ok(None)
}

/// A message that the view shows.
enum Message<'a> {
    Here(RecordRef<'a>),
    Ghost(Uid),
}

impl Message<'_> {
    fn uid(&self) -> Uid {
        match self {
            Self::Here(record) => record.uid(),
            Self::Ghost(uid) => *uid,
        }
    }
}

/// Messages and ghosts between two UIDs, in order.
struct Shown<'a, I: Iterator<Item = RecordRef<'a>>> {
    records: Peekable<I>,
    ghosts: &'a [Uid],
    end: Uid,
}

impl<'a> Shown<'a, mailindex::state::RecordsFrom<'a>> {
    fn new(view: &'a IndexedView, start: Uid, end: Uid) -> Self {
        let records = view.state.records_from(view.state.count_below(start)).peekable();
        Self { records, ghosts: view.ghosts_from(start), end }
    }
}

impl<'a, I: Iterator<Item = RecordRef<'a>>> Iterator for Shown<'a, I> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let record = self.records.peek().map(RecordRef::uid).filter(|uid| *uid <= self.end);
        match self.ghosts.split_first().filter(|(ghost, _)| **ghost <= self.end) {
            Some((ghost, rest)) if record.is_none_or(|uid| *ghost < uid) => {
                self.ghosts = rest;
                Some(Message::Ghost(*ghost))
            }
            _ if record.is_some() => self.records.next().map(Message::Here),
            _ => None,
        }
    }
}

fn gone(view: &IndexedView, seq: SeqNum, uid: Uid) -> Row {
    let mut row = Row::new(seq, uid, Flags::NONE, view.state.highest_modseq());
    row.expunged = true;
    row
}

fn from_record(view: &IndexedView, seq: SeqNum, record: &RecordRef<'_>, out: &mut Rows) -> Row {
    let mut row = Row::new(seq, record.uid(), record.flags(), record.modseq());
    row.recent = !view.recent.is_empty() && view.recent.contains(record.uid());
    let start = out.keywords.len() as u32;
    let names = record.keyword_bits().iter().filter_map(|bit| view.state.keyword(bit)?.keyword());
    out.keywords.extend(names.cloned());
    row.keywords = ArenaRange { start, end: out.keywords.len() as u32 };
    row
}

/// Fills the columns of one row.
struct Filler<'a> {
    view: &'a IndexedView,
    columns: &'a Columns,
    record: &'a RecordRef<'a>,
    out: &'a mut Rows,
}

impl Filler<'_> {
    /// Tells whether the message's file had to be read.
    fn fill(&mut self, row: &mut Row, reader: &mut CachedReader<'_>) -> Result<bool> {
        let cached = reader.read(self.record);
        let mailbox = &self.view.mailbox;
        let (uid, state) = (self.record.uid(), &self.view.state);
        let mut source = Source::new(&*mailbox.files, state, &mailbox.limits, uid);
        let mut found = CacheValues::default();
        self.dates_and_sizes(row, &cached, &mut source, &mut found)?;
        self.structures(row, &cached, &mut source, &mut found)?;
        if self.columns.has(Column::Preview) || self.columns.has(Column::CachedPreview) {
            row.preview = self.preview(&cached, &mut source, &mut found)?;
        }
        if self.columns.has(Column::Envelope) {
            row.envelope = Some(self.envelope(&cached, &mut source, &mut found, reader.keeps_envelopes)?);
        }
        if !self.columns.headers.is_empty() {
            row.headers = Some(self.headers(&reader.headers, &cached, &mut source, &mut found)?);
        }
        let used_file = source.was_used();
        if !found.is_empty() {
            reader.found(self.record.uid(), found);
        }
        Ok(used_file)
    }

    fn dates_and_sizes(
        &self,
        row: &mut Row,
        cached: &Cached,
        source: &mut Source<'_>,
        found: &mut CacheValues,
    ) -> Result<()> {
        let wanted = |column| self.columns.has(column);
        if wanted(Column::Size) {
            row.size = Some(match self.known_size(cached) {
                Some(size) => size,
                None => {
                    let size = source.size()?;
                    found.put("size.virtual", size.to_le_bytes());
                    size
                }
            });
        }
        if wanted(Column::InternalDate) {
            let unix = match cached.u32("date.received") {
                Some(received) => i64::from(received),
                None => {
                    let received = source.received()?;
                    if let Some(received) = received {
                        found.put("date.received", received.to_le_bytes());
                    }
                    received.map_or_else(|| source.changed(), |received| Ok(i64::from(received)))?
                }
            };
            row.internal_date = Some(InternalDate::utc(unix));
        }
        if wanted(Column::SaveDate) {
            row.save_date = Some(match cached.u32("date.save") {
                Some(saved) => i64::from(saved),
                None => {
                    let saved = source.changed()?;
                    if let Ok(saved) = u32::try_from(saved) {
                        found.put("date.save", saved.to_le_bytes());
                    }
                    saved
                }
            });
        }
        if wanted(Column::Guid) {
            let known = self.view.mailbox.files.known(self.record.uid()).guid;
            row.guid = match known.or_else(|| self.recorded_guid()).or_else(|| Guid::parse(cached.get("guid")?).ok()) {
                Some(guid) => Some(guid),
                None => {
                    let guid = source.guid()?;
                    if let Some(guid) = guid {
                        found.put("guid", guid.to_string());
                    }
                    guid
                }
            };
        }
        if wanted(Column::SentDate) {
            row.sent_date = match cached.get("date.sent").and_then(fill::decode_sent_date) {
                Some(date) => date,
                None => sent_date(source, found)?,
            };
        }
        Ok(())
    }

    /// Where the index has GUIDs.
    fn recorded_guid(&self) -> Option<Guid> {
        let field = self.view.state.extension_index(ExtensionSpec::GUID.name)?;
        self.record.field(field).first_chunk().copied().map(Guid).filter(|guid| !guid.is_zero())
    }

    fn known_size(&self, cached: &Cached) -> Option<u64> {
        cached
            .u64("size.virtual")
            .or_else(|| {
                let field = self.view.state.extension_index("vsize")?;
                u64::from(self.record.field_u32(field)).checked_sub(1)
            })
            .or_else(|| self.view.mailbox.files.known(self.record.uid()).virtual_size)
    }

    fn structures(
        &mut self,
        row: &mut Row,
        cached: &Cached,
        source: &mut Source<'_>,
        found: &mut CacheValues,
    ) -> Result<()> {
        if self.columns.has(Column::Body) {
            row.body = match self.cached_structure(cached, "imap.body", false) {
                Some(range) => Some(range),
                None => {
                    let structure = source.structure()?;
                    fill::put_structure(found, structure);
                    Some(self.out.push_text(|out| structure.write_body(out)))
                }
            };
        }
        if self.columns.has(Column::BodyStructure) {
            row.body_structure = match self.cached_structure(cached, "imap.bodystructure", true) {
                Some(range) => Some(range),
                None => {
                    let structure = source.structure()?;
                    fill::put_structure(found, structure);
                    Some(self.out.push_text(|out| structure.write_bodystructure(out)))
                }
            };
        }
        if self.columns.has(Column::Parts) {
            // A value that does not parse would be of no use to anybody.
            let parts = cached.get("mime.parts").filter(|value| decode_mime_parts(value).is_ok());
            row.parts = Some(match parts {
                Some(value) => self.out.push_text(|out| out.extend_from_slice(value)),
                None => {
                    let structure = source.structure()?;
                    fill::put_structure(found, structure);
                    let value = encode_mime_parts(structure.tree());
                    self.out.push_text(|out| out.extend_from_slice(&value))
                }
            });
        }
        Ok(())
    }

    /// The text from the cache, or what follows from the sizes of a plain text.
    fn cached_structure(&mut self, cached: &Cached, field: &str, extended: bool) -> Option<ArenaRange> {
        if let Some(text) = cached.get(field).filter(|text| !text.is_empty()) {
            return Some(self.out.push_text(|out| {
                out.push(b'(');
                out.extend_from_slice(text);
                out.push(b')');
            }));
        }
        if cached.u32("flags")? & CacheFlags::PLAIN_7BIT == 0 {
            return None;
        }
        let tree = decode_mime_parts(cached.get("mime.parts")?).ok()?;
        let body = tree.root().body;
        let tail = if extended { " NIL NIL NIL NIL" } else { "" };
        let text = format!(
            r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" {} {}{tail})"#,
            body.virtual_len, body.lines
        );
        Some(self.out.push_text(|out| out.extend_from_slice(text.as_bytes())))
    }

    /// A value that was made otherwise is made anew.
    fn preview(
        &mut self,
        cached: &Cached,
        source: &mut Source<'_>,
        found: &mut CacheValues,
    ) -> Result<Option<ArenaRange>> {
        let known = cached.get(fill::PREVIEW_FIELD).and_then(|value| value.strip_prefix(CACHED_PREFIX.as_bytes()));
        if let Some(text) = known.filter(|text| std::str::from_utf8(text).is_ok()) {
            return Ok(Some(self.out.push_text(|out| out.extend_from_slice(text))));
        }
        if !self.columns.has(Column::Preview) {
            return Ok(None);
        }
        let text = source.preview()?;
        fill::put_preview(found, &text);
        Ok(Some(self.out.push_text(|out| out.extend_from_slice(text.as_bytes()))))
    }

    fn envelope(
        &mut self,
        cached: &Cached,
        source: &mut Source<'_>,
        found: &mut CacheValues,
        keeps: bool,
    ) -> Result<ArenaRange> {
        if let Some(text) = cached.get("imap.envelope").filter(|text| !text.is_empty()) {
            return Ok(self.out.push_text(|out| {
                out.push(b'(');
                out.extend_from_slice(text);
                out.push(b')');
            }));
        }
        let fields: Option<Vec<CachedHeader<'_>>> = ENVELOPE_FIELDS.iter().map(|name| cached.header(name)).collect();
        let envelope = match fields {
            Some(fields) => {
                Envelope::from_fields(fields.iter().flat_map(CachedHeader::fields).map(|f| (f.name, f.raw_value)))
            }
            None => {
                let header = source.header()?;
                Envelope::FIELDS.iter().for_each(|name| fill::put_header(found, header, name));
                Envelope::from_header(header)
            }
        };
        let range = self.out.push_text(|out| envelope.write(out));
        // Without the outer parentheses.
        let text = self.out.text(range);
        if let Some(inner) = text.strip_prefix(b"(").and_then(|text| text.strip_suffix(b")")).filter(|_| keeps) {
            found.put("imap.envelope", inner);
        }
        Ok(range)
    }

    fn headers(
        &mut self,
        fields: &[String],
        cached: &Cached,
        source: &mut Source<'_>,
        found: &mut CacheValues,
    ) -> Result<u32> {
        let first = self.out.header_ranges.len() as u32;
        for (field, name) in fields.iter().zip(&self.columns.headers) {
            match cached.header(field) {
                Some(header) => self.out.push_header(header.lines(), |out| out.extend_from_slice(header.text)),
                None => {
                    let value = encode_cached_header(source.header()?, name.as_bytes());
                    if let Ok(header) = CachedHeader::decode(&value) {
                        self.out.push_header(header.lines(), |out| out.extend_from_slice(header.text));
                    }
                    found.put(field.as_str(), value);
                }
            }
        }
        Ok(first)
    }
}

fn sent_date(source: &mut Source<'_>, found: &mut CacheValues) -> Result<Option<InternalDate>> {
    let header = source.header()?;
    let field = mailmime::Fields::new(header).find(|field| field.is(b"Date"));
    let date = field.and_then(|field| mailmime::parse_date(&field.value())).map(fill::date_of);
    let value = date.map_or([0; 8], |date| fill::encode_sent_date(date).encode());
    found.put("date.sent", value);
    Ok(date)
}
