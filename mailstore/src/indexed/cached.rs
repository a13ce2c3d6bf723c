//! What the cache knows of a message, by what a scan's columns can be made of.

use std::sync::Arc;

use mailindex::{
    engine::{CacheReader, CacheValues, CachedValues, MailboxIndex},
    state::RecordRef,
};
use mailmime::CachedHeader;
use mailtypes::Uid;

use super::{
    fill::{HEADER_PREFIX, PREVIEW_FIELD},
    view::IndexedView,
};
use crate::traits::{Column, Columns};

/// The cache fields of [`mailmime::Envelope::FIELDS`], in its order.
pub(super) const ENVELOPE_FIELDS: [&str; 10] = [
    "hdr.Date",
    "hdr.Subject",
    "hdr.From",
    "hdr.Sender",
    "hdr.Reply-To",
    "hdr.To",
    "hdr.Cc",
    "hdr.Bcc",
    "hdr.In-Reply-To",
    "hdr.Message-ID",
];

/// Reads the cached values that a scan's columns can be made of.
pub(super) struct CachedReader<'a> {
    index: &'a Arc<MailboxIndex>,
    reader: CacheReader,
    /// The cache fields of the header fields asked for, in their order.
    pub(super) headers: Vec<String>,
    found: Vec<(Uid, CacheValues)>,
    /// Whether the file's decisions want `imap.envelope`: Dovecot's default forbids it.
    pub(super) keeps_envelopes: bool,
}

/// The values of one message.
pub(super) struct Cached(CachedValues);

impl<'a> CachedReader<'a> {
    pub(super) fn new(view: &'a IndexedView, columns: &Columns) -> Self {
        let index = &view.mailbox.index;
        let headers: Vec<String> = columns.headers.iter().map(|name| format!("{HEADER_PREFIX}{name}")).collect();
        let mut fields: Vec<&str> = Vec::new();
        let made_of: [(Column, &[&str]); 11] = [
            (Column::Size, &["size.virtual"]),
            (Column::InternalDate, &["date.received"]),
            (Column::SaveDate, &["date.save"]),
            (Column::SentDate, &["date.sent"]),
            (Column::Guid, &["guid"]),
            (Column::Envelope, &["imap.envelope"]),
            (Column::Body, &["imap.body", "flags", "mime.parts"]),
            (Column::BodyStructure, &["imap.bodystructure", "flags", "mime.parts"]),
            (Column::Parts, &["mime.parts"]),
            (Column::Preview, &[PREVIEW_FIELD]),
            (Column::CachedPreview, &[PREVIEW_FIELD]),
        ];
        for (_, names) in made_of.iter().filter(|(column, _)| columns.has(*column)) {
            fields.extend_from_slice(names);
        }
        if columns.has(Column::Envelope) {
            fields.extend_from_slice(&ENVELOPE_FIELDS);
        }
        fields.extend(headers.iter().map(String::as_str));
        fields.sort_unstable_by_key(|name| name.to_ascii_lowercase());
        fields.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
        let reader = index.cache_reader(&view.state, &fields);
        let keeps_envelopes = columns.has(Column::Envelope) && index.caches_new("imap.envelope");
        Self { index, reader, headers, found: Vec::new(), keeps_envelopes }
    }

    pub(super) fn read(&mut self, record: &RecordRef<'_>) -> Cached {
        Cached(self.reader.read(record))
    }

    /// Values that had to be computed.
    pub(super) fn found(&mut self, uid: Uid, values: CacheValues) {
        self.found.push((uid, values));
    }

    /// Offers them to the cache, which takes them at the command's end.
    pub(super) fn offer_found(self) {
        for (uid, values) in self.found {
            self.index.queue_fill(uid, values);
        }
    }
}

impl Cached {
    pub(super) fn get(&self, field: &str) -> Option<&[u8]> {
        self.0.get(field)
    }

    pub(super) fn u32(&self, field: &str) -> Option<u32> {
        Some(u32::from_le_bytes(self.get(field)?.try_into().ok()?))
    }

    pub(super) fn u64(&self, field: &str) -> Option<u64> {
        Some(u64::from_le_bytes(self.get(field)?.try_into().ok()?))
    }

    /// By the name of its cache field; one that the message does not have is empty.
    pub(super) fn header(&self, field: &str) -> Option<CachedHeader<'_>> {
        CachedHeader::decode(self.get(field)?).ok()
    }
}
