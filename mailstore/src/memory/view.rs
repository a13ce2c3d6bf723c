//! A view: a pinned snapshot, and what may not be told yet.

use std::sync::Arc;

use mailmime::{Fields, encode_mime_parts};
use mailtypes::{Flag, InternalDate, Keyword, MailboxName, ModSeq, SeqNum, Uid, UidSet, UidValidity};

use super::{
    body::MemoryBody,
    snapshot::{Content, Mail, Snapshot, find, places, uids},
    state::State,
};
use crate::preview::preview;
use crate::traits::{
    ArenaRange, Body, Changes, Column, Columns, Cursor, Expunges, Freshness, Result, Row, Rows, ScanBudget,
    StorageError, View,
};

pub(super) struct MemoryView {
    name: MailboxName,
    state: Arc<State>,
    takes_recent: bool,
    /// What was committed when the view was last synced.
    snapshot: Snapshot,
    /// What the view shows: the snapshot's messages and, in their places among them, those that are gone and were not
    /// told of. Without any of these it is the snapshot's own list.
    shown: Arc<Vec<Mail>>,
    recent: UidSet,
}

impl MemoryView {
    pub(super) fn new(name: MailboxName, state: Arc<State>, takes_recent: bool) -> Self {
        let look = state.look(takes_recent);
        let recent = uids(look.snapshot.mails.iter().filter(|mail| mail.uid >= look.recent_from));
        let shown = Arc::clone(&look.snapshot.mails);
        Self { name, state, takes_recent, snapshot: look.snapshot, shown, recent }
    }

    fn place_to_seq(place: usize) -> Option<SeqNum> {
        u32::try_from(place).ok().and_then(SeqNum::from_index)
    }

    /// The new list for the view, and what it changes. Both lists ascend by UID.
    fn merge(&self, new: &Snapshot, expunges: Expunges) -> (Vec<Mail>, Changes) {
        let mut changes =
            Changes { keywords_grew: new.keywords.len() > self.snapshot.keywords.len(), ..Changes::default() };
        let mut shown = Vec::with_capacity(new.mails.len());
        let mut told = self.shown.iter().enumerate().peekable();
        for mail in new.mails.iter() {
            while let Some((place, gone)) = told.next_if(|(_, old)| old.uid < mail.uid) {
                pass_expunged(place, gone, expunges, &mut shown, &mut changes);
            }
            match told.next_if(|(_, old)| old.uid == mail.uid) {
                Some((_, old)) if old.modseq != mail.modseq => changes.flags.insert(mail.uid),
                Some(_) => {}
                None => changes.appended.insert(mail.uid),
            }
            shown.push(mail.clone());
        }
        for (place, gone) in told {
            pass_expunged(place, gone, expunges, &mut shown, &mut changes);
        }
        // The last first, so that no number moves before it is told.
        changes.expunged.reverse();
        (shown, changes)
    }

    fn content(&self, uid: Uid) -> Option<&Content> {
        let mail = self.shown.get(find(&self.shown, uid).ok()?)?;
        Some(&mail.content)
    }

    fn row(&self, place: usize, mail: &Mail, columns: &Columns, out: &mut Rows) -> Option<Row> {
        let mut row = Row::new(Self::place_to_seq(place)?, mail.uid, mail.flags, mail.modseq);
        row.recent = self.recent.contains(mail.uid);
        row.expunged = mail.expunged;
        let start = out.keywords.len() as u32;
        out.keywords.extend_from_slice(&mail.keywords);
        row.keywords = ArenaRange { start, end: out.keywords.len() as u32 };
        if !mail.expunged && !columns.only_flags() {
            fill_columns(&mut row, mail, columns, out);
        }
        Some(row)
    }
}

/// A message that the view shows and that is gone.
fn pass_expunged(place: usize, gone: &Mail, expunges: Expunges, shown: &mut Vec<Mail>, changes: &mut Changes) {
    match expunges {
        Expunges::Hold => shown.push(Mail { expunged: true, ..gone.clone() }),
        Expunges::Apply => {
            changes.expunged.extend(MemoryView::place_to_seq(place));
            changes.expunged_uids.insert(gone.uid);
        }
    }
}

fn fill_columns(row: &mut Row, mail: &Mail, columns: &Columns, out: &mut Rows) {
    let content = &mail.content;
    row.size = columns.has(Column::Size).then(|| content.size());
    row.internal_date = columns.has(Column::InternalDate).then_some(content.internal_date);
    row.save_date = columns.has(Column::SaveDate).then_some(mail.save_date);
    row.guid = columns.has(Column::Guid).then_some(content.guid);
    let structure = &content.structure;
    if columns.has(Column::SentDate) {
        row.sent_date = structure
            .sent_date()
            .map(|date| InternalDate { unix: date.unix_seconds, zone: i16::try_from(date.zone_minutes).unwrap_or(0) });
    }
    if columns.has(Column::Envelope) {
        row.envelope = Some(out.push_text(|text| structure.write_envelope(text)));
    }
    if columns.has(Column::Body) {
        row.body = Some(out.push_text(|text| structure.write_body(text)));
    }
    if columns.has(Column::BodyStructure) {
        row.body_structure = Some(out.push_text(|text| structure.write_bodystructure(text)));
    }
    if columns.has(Column::Parts) {
        row.parts = Some(out.push_text(|text| text.extend_from_slice(&encode_mime_parts(structure.tree()))));
    }
    if columns.has(Column::Preview) || columns.has(Column::CachedPreview) {
        let text = preview(structure, |offset, buf| Ok(read(&content.bytes, offset, buf))).unwrap_or_default();
        row.preview = Some(out.push_text(|out| out.extend_from_slice(text.as_bytes())));
    }
    if !columns.headers.is_empty() {
        row.headers = Some(out.header_ranges.len() as u32);
        for name in &columns.headers {
            let fields = Fields::new(&content.bytes).filter(|field| field.is(name.as_bytes()));
            out.push_header(fields.map(|field| field.line), |text| write_fields(&content.bytes, name, text));
        }
    }
}

/// Fills the buffer with what is there from an offset on.
fn read(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let bytes = bytes.get(from..).unwrap_or_default();
    let len = bytes.len().min(buf.len());
    for (to, from) in buf.iter_mut().zip(bytes) {
        *to = *from;
    }
    len
}

/// The lines of the fields with this name, with LF line ends.
fn write_fields(message: &[u8], name: &str, text: &mut Vec<u8>) {
    for field in Fields::new(message).filter(|field| field.is(name.as_bytes())) {
        for line in field.raw.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\r\n") {
                Some(line) => {
                    text.extend_from_slice(line);
                    text.push(b'\n');
                }
                None => text.extend_from_slice(line),
            }
        }
    }
}

impl View for MemoryView {
    fn uid_validity(&self) -> UidValidity {
        self.state.uid_validity
    }

    fn uid_next(&self) -> Uid {
        self.snapshot.uid_next
    }

    fn highest_modseq(&self) -> ModSeq {
        self.snapshot.highest_modseq
    }

    fn message_count(&self) -> u32 {
        self.shown.len() as u32
    }

    fn recent_count(&self) -> u32 {
        self.recent.count() as u32
    }

    fn first_unseen(&self) -> Option<SeqNum> {
        self.shown.iter().position(|mail| !mail.flags.contains(Flag::Seen)).and_then(Self::place_to_seq)
    }

    fn keywords(&self) -> Vec<Keyword> {
        self.snapshot.keywords.to_vec()
    }

    fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        find(&self.shown, uid).ok().and_then(Self::place_to_seq)
    }

    fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
        self.shown.get(seq.index() as usize).map(|mail| mail.uid)
    }

    fn uids_at(&self, set: &UidSet) -> UidSet {
        let shown = set.ranges().flat_map(|range| {
            let end = (range.end().value() as usize).min(self.shown.len());
            self.shown.get(range.start().value() as usize - 1..end).unwrap_or_default()
        });
        uids(shown)
    }

    fn uids(&self) -> UidSet {
        uids(self.shown.iter())
    }

    fn holds_expunged(&self) -> bool {
        !Arc::ptr_eq(&self.shown, &self.snapshot.mails)
    }

    fn freshness(&self) -> Freshness {
        let same = self.state.visible() == self.snapshot.highest_modseq.value() && self.state.check(&self.name).is_ok();
        if same { Freshness::Same } else { Freshness::Changed }
    }

    fn sync(&mut self, expunges: Expunges) -> Result<Changes> {
        self.state.check(&self.name)?;
        let look = self.state.look(self.takes_recent);
        if !self.holds_expunged() && look.snapshot.highest_modseq == self.snapshot.highest_modseq {
            return Ok(Changes::default());
        }
        let (shown, changes) = self.merge(&look.snapshot, expunges);
        self.recent = self.recent.difference(&changes.expunged_uids);
        self.recent.extend(changes.appended.iter().filter(|&uid| uid >= look.recent_from));
        let nothing_held = shown.len() == look.snapshot.mails.len();
        self.shown = if nothing_held { Arc::clone(&look.snapshot.mails) } else { Arc::new(shown) };
        self.snapshot = look.snapshot;
        Ok(changes)
    }

    fn scan(
        &self,
        uids: &UidSet,
        at: Cursor,
        columns: &Columns,
        budget: ScanBudget,
        out: &mut Rows,
    ) -> Result<Option<Cursor>> {
        out.clear();
        let end_of_time = || budget.until.is_some_and(|until| std::time::Instant::now() >= until);
        for range in uids.ranges().filter(|range| *range.end() >= at.0) {
            for place in places(&self.shown, &(at.0.max(*range.start())..=*range.end())) {
                let Some(mail) = self.shown.get(place) else { continue };
                let spent = out.rows.len() >= budget.rows
                    || out.arena.len() >= budget.bytes
                    || !columns.only_flags() && end_of_time();
                if spent && !out.rows.is_empty() {
                    return Ok(Some(Cursor(mail.uid)));
                }
                let row = self.row(place, mail, columns, out);
                out.rows.extend(row);
            }
        }
        Ok(None)
    }

    fn saved_uidl(&self, uid: Uid) -> Result<Option<Vec<u8>>> {
        Ok(self.content(uid).and_then(|content| content.pop3.uidl.clone()))
    }

    fn saved_pop3_order(&self, uid: Uid) -> Result<Option<u32>> {
        Ok(self.content(uid).and_then(|content| content.pop3.order))
    }

    fn body(&self, uid: Uid) -> Result<Box<dyn Body>> {
        let mail = find(&self.shown, uid).ok().and_then(|place| self.shown.get(place));
        match mail.filter(|mail| !mail.expunged) {
            Some(mail) => Ok(Box::new(MemoryBody(Arc::clone(&mail.content)))),
            None => Err(StorageError::Expunged { uid }),
        }
    }
}
