//! How messages get their places in an mbox: behind the last, under the write locks.
//!
//! # Invariants
//!
//! 1. The file is in agreement with the index when the first byte is written, and the undo file is durable.
//! 2. All messages of an operation are written at its end, in one go; the file is synced before their records are
//!    appended. After a crash before that, the undo file says what to cut off.
//! 3. A separator has a line end before it that belongs to no message.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use mailfs::{FileHandle, FileSystem, LockKind};
use mailindex::{
    engine::{CommitPoint, OpError},
    log::{Generation, Origin},
    state::State,
};
use mailmime::{Field, Fields};
use mailtypes::{Flags, Keyword, Uid, UidSet};

use super::{
    FromLine,
    files::{MBOX_EXT, MD5_EXT, MboxFiles, SyncHeader},
    locks::LockedFile,
    long_header::RawHeader,
    meta::{Base, Meta, OwnFields, header_md5, last_uid_digits},
    save::{MboxSave, Waiting},
    scan::{Rules, SMALL_WINDOW_LEN, Scanner},
    sync::{Extent, Outcome, Synced, offset_of, separator_at},
    undo::{Change, DUE_LEN_MAX, copy},
};
use crate::{
    indexed::{Backend, CopyFrom, First, Staged},
    traits::{Result, Save, SaveMeta},
};

/// Bytes gathered before they are written.
const WRITE_LEN: usize = 256 << 10;

/// First read of a waiting message's header.
const HEADER_FIRST_LEN: usize = 8 << 10;

/// Who sent a message whose sender nobody has told.
const SENDER: &str = "MAILER-DAEMON";

/// A longer sender is none.
const SENDER_LEN_MAX: usize = 512;

/// What was done under the locks.
#[derive(Default)]
pub(super) struct Placed {
    /// Where the last body before ended, if that is known.
    end: Option<u64>,
    messages: Vec<New>,
    appended: Option<Appended>,
}

/// A message with its UID, not written yet.
struct New {
    uid: Uid,
    content: FileHandle,
    len: u64,
    received: i64,
    flags: Flags,
    keywords: Vec<Keyword>,
}

/// For taking it back.
struct Appended {
    file: FileHandle,
    old_len: u64,
    digits: Option<(u64, Vec<u8>)>,
}

impl Backend for MboxFiles {
    type Waiting = Waiting;
    type Placed = Placed;
    const FLAGS_ORIGIN: Origin = Origin::Internal;

    fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    fn begin_save(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>> {
        Ok(Box::new(MboxSave::begin(self, meta, preview)))
    }

    /// Every copy is bytes that move.
    fn is_near(&self, _: &Self) -> bool {
        false
    }

    fn begin(&self, at: &mut CommitPoint<'_>, placed: &mut Placed) -> std::result::Result<(), OpError> {
        let Synced { outcome, end, .. } = self.sync(at, Extent::Tail)?;
        placed.end = end;
        self.check_outcome(outcome)
    }

    fn begin_expunge(&self, at: &mut CommitPoint<'_>) -> std::result::Result<UidSet, OpError> {
        let Synced { outcome, gone, .. } = self.sync(at, Extent::Whole)?;
        self.check_outcome(outcome)?;
        Ok(gone)
    }

    fn look_now(&self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        let Synced { outcome, .. } = self.sync(at, Extent::Whole)?;
        self.check_outcome(outcome)
    }

    /// The file goes while it is locked: what others put into it before was found, and who comes later finds none.
    fn take_away(&self) -> std::result::Result<(), OpError> {
        self.fs().unlink(self.path())?;
        Ok(self.path().parent().map_or(Ok(()), |folder| self.fs().sync_dir(folder))?)
    }

    fn place(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Placed,
        message: &mut Staged<Waiting>,
        with: First<'_>,
    ) -> std::result::Result<Uid, OpError> {
        let Waiting { content, len, received } = &mut message.waiting;
        let content = content.take().ok_or_else(|| OpError::refused("the message has its place already"))?;
        let uid = at.next_uid()?;
        let (flags, keywords) = (with.flags, with.keywords.to_vec());
        placed.messages.push(New { uid, content, len: *len, received: *received, flags, keywords });
        Ok(uid)
    }

    fn copy(
        &self,
        _: &mut CommitPoint<'_>,
        _: &mut Placed,
        _: &CopyFrom<'_, Self>,
        _: Uid,
        _: First<'_>,
    ) -> std::result::Result<Option<Uid>, OpError> {
        Err(OpError::refused("a copy within mbox files is read and saved"))
    }

    fn end(&self, at: &mut CommitPoint<'_>, placed: &mut Placed) -> std::result::Result<(), OpError> {
        let Some(held) = self.held().filter(|held| held.kind == LockKind::Exclusive) else {
            return Err(OpError::refused("the mbox file is not locked"));
        };
        self.append(at, placed, &held)
    }

    fn undo(&self, placed: Placed) {
        self.forget();
        let Some(Appended { file, old_len, digits }) = placed.appended else { return };
        let cut = file.set_len(old_len).and_then(|()| match digits {
            Some((at, digits)) => file.write_at(&digits, at),
            None => Ok(()),
        });
        if let Err(e) = cut {
            // The undo file stays, and whoever comes next takes it back.
            self.owes_clear.store(false, Ordering::Release);
            tracing::warn!("messages that were not committed stay for now: {e}");
        }
    }
}

impl MboxFiles {
    fn check_outcome(&self, outcome: Outcome) -> std::result::Result<(), OpError> {
        match outcome {
            Outcome::Synced => Ok(()),
            Outcome::Replaced => Err(OpError::refused("the mbox file has another UIDVALIDITY by now")),
        }
    }

    fn append(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Placed,
        held: &LockedFile,
    ) -> std::result::Result<(), OpError> {
        let file = &held.file;
        let old_len = file.len()?;
        let mut scanner = Scanner::of_part(Arc::clone(file), old_len, Rules::Dovecot, SMALL_WINDOW_LEN);
        let end = match placed.end {
            Some(end) => end,
            None => end_of_last(&mut scanner, at.state())?,
        };
        let (Some(first), Some(last)) = (placed.messages.first(), placed.messages.last()) else { return Ok(()) };
        let (first_uid, last_uid) = (first.uid, last.uid);
        let base = (old_len == 0).then(|| self.new_base(at.state(), last_uid, &placed.messages)).flatten();
        let mut pieces = Vec::with_capacity(placed.messages.len());
        for (number, message) in placed.messages.iter().enumerate() {
            pieces.push(self.head_of(message, base.as_ref().filter(|_| number == 0))?);
        }
        // Its line end belongs to no message.
        let lead = u64::from(old_len > 0 && end == old_len);
        let written: u64 = pieces.iter().zip(&placed.messages).map(|(head, new)| head.total_len(new) + 1).sum();
        let digits = last_uid_place(&mut scanner)?;
        let change = Change {
            old_len,
            new_len: old_len + lead + written,
            ranges: digits.iter().map(|(at, digits)| *at..*at + digits.len() as u64).collect(),
            due: due(lead > 0, pieces.first()),
            in_force_with: Some(first_uid),
        };
        let new_len = change.new_len;
        self.prepare_undo(file, change)?;
        placed.appended = Some(Appended { file: Arc::clone(file), old_len, digits: digits.clone() });
        // What others append when this is stopped half-way comes behind it all, and can be told from it.
        file.set_len(new_len)?;
        let mut out = Writer { file, at: old_len, buffer: Vec::new() };
        out.put(if lead > 0 { b"\n" } else { b"" })?;
        let mut before = end;
        for (head, new) in pieces.iter().zip(&placed.messages) {
            let offset = if out.end() == 0 { 0 } else { before };
            out.put(&head.bytes)?;
            out.copy(&new.content, 0, head.copied_len)?;
            out.put(&head.behind)?;
            out.copy(&new.content, head.header_len, new.len - head.header_len)?;
            before = out.end();
            out.put(b"\n")?;
            let (uid, transaction) = (new.uid, at.transaction());
            transaction.ext_record(&MBOX_EXT, Generation::Current, uid, &offset.to_le_bytes(), Origin::External);
            transaction.ext_record(&MD5_EXT, Generation::Current, uid, &head.hash, Origin::External);
        }
        out.flush()?;
        if let Some((place, _)) = digits {
            file.write_at(last_uid_digits(last_uid.value()).as_bytes(), place)?;
        }
        at.sync_file(file);
        let was_partial = SyncHeader::of(at.state()).is_some_and(|header| header.is_partial);
        self.note_synced(at, &file.metadata()?, was_partial);
        // Released before the commit waits for the disk.
        placed.messages.clear();
        Ok(())
    }

    /// One undo file for all that a commit appends.
    fn prepare_undo(&self, file: &FileHandle, change: Change) -> mailfs::Result<()> {
        let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let change = match appending.as_ref() {
            Some(before) => {
                let change = Change { new_len: change.new_len, ..before.clone() };
                self.undo.extend(file, &change)?;
                change
            }
            None => {
                self.undo.prepare(file, &change)?;
                change
            }
        };
        self.owes_clear.store(true, Ordering::Release);
        *appending = Some(change);
        Ok(())
    }

    /// What the first message of an empty file says of the mailbox.
    fn new_base(&self, state: &State, last_uid: Uid, messages: &[New]) -> Option<Base> {
        let mut keywords: Vec<Keyword> = state.keywords().iter().filter_map(|name| name.keyword().cloned()).collect();
        for keyword in messages.iter().flat_map(|message| &message.keywords) {
            if !keywords.contains(keyword) {
                keywords.push(keyword.clone());
            }
        }
        Some(Base { uid_validity: state.uid_validity()?, last_uid: last_uid.value(), keywords })
    }

    /// Separator and header.
    fn head_of(&self, new: &New, base: Option<&Base>) -> mailfs::Result<Head> {
        let header = read_header(new)?;
        let header_len = header.range.end;
        let own = OwnFields {
            base,
            is_pseudo: false,
            uid: Some(new.uid),
            flags: new.flags,
            is_old: false,
            keywords: &new.keywords,
            content_length: Some(new.len - header_len),
        };
        let zone = (self.shared.options.local_zone)(new.received);
        let zone = (self.shared.options.local_zone)(new.received + i64::from(zone) * 60);
        let mut bytes = Vec::with_capacity(header.bytes.len() + 256);
        FromLine::write_local(sender_of(&header.bytes), new.received + i64::from(zone) * 60, &mut bytes);
        // There is always room where no length is asked for.
        let written = own.write(&header.to_rewrite().0, None).unwrap_or_default();
        let (mut copied_len, mut behind) = (0, Vec::new());
        match (&header.long, header.fields()) {
            (None, _) => bytes.extend(written),
            (Some(_), Some(fields)) => (copied_len, behind) = (fields.end, written),
            // There is no place for fields of ours in what never ends; a message on its way in always has an end.
            (Some(_), None) => copied_len = header.range.end,
        }
        Ok(Head { bytes, copied_len, behind, header_len, hash: header_md5(&header.bytes, self.shared.options.md5) })
    }
}

/// The first bytes that are appended.
fn due(has_lead: bool, first: Option<&Head>) -> Vec<u8> {
    let lead = if has_lead { b"\n".iter() } else { b"".iter() };
    lead.chain(first.map_or(&[][..], |head| &head.bytes)).take(DUE_LEN_MAX).copied().collect()
}

/// Who sent a message, as its delivery has written it on top.
fn sender_of(header: &[u8]) -> &str {
    let is_it = |field: &Field<'_>| field.name.eq_ignore_ascii_case(b"Return-Path");
    let path = Fields::new(header).find(is_it).map(|field| field.raw_value.trim_ascii());
    let sender = path.and_then(|path| path.strip_prefix(b"<")?.strip_suffix(b">"));
    let sender = sender.and_then(|sender| str::from_utf8(sender).ok());
    // A quoted part could hold spaces, and then it must end.
    let fits = |sender: &&str| {
        let is_word = !sender.is_empty() && !sender.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
        is_word && sender.len() <= SENDER_LEN_MAX
    };
    sender.filter(fits).unwrap_or(SENDER)
}

/// What is written before a body.
struct Head {
    bytes: Vec<u8>,
    /// Bytes of a long header that are copied, and what is written behind them.
    copied_len: u64,
    behind: Vec<u8>,
    /// Bytes of the waiting message that are its header.
    header_len: u64,
    hash: [u8; 16],
}

impl Head {
    fn total_len(&self, new: &New) -> u64 {
        (self.bytes.len() + self.behind.len()) as u64 + self.copied_len + (new.len - self.header_len)
    }
}

fn read_header(new: &New) -> mailfs::Result<RawHeader> {
    let mut header = vec![0; HEADER_FIRST_LEN];
    let read = new.content.read_at(&mut header, 0)?;
    header.truncate(read);
    let len = mailmime::header_len(&header);
    if len < header.len() || read < HEADER_FIRST_LEN {
        header.truncate(len);
        return Ok(RawHeader::short(0, header));
    }
    Scanner::of_part(Arc::clone(&new.content), new.len, Rules::Dovecot, SMALL_WINDOW_LEN).header_at(0)
}

/// Where the last body ends.
fn end_of_last(scanner: &mut Scanner, state: &State) -> mailfs::Result<u64> {
    let last = state.message_count().checked_sub(1).and_then(|place| state.record(place));
    let offset = last.and_then(|record| offset_of(state, &record)).unwrap_or(0);
    let start = if offset == 0 { 0 } else { separator_at(scanner, offset)? };
    scanner.seek(start);
    let mut end = scanner.len();
    while let Some(message) = scanner.next_message()? {
        end = message.body.end;
    }
    Ok(end)
}

/// Where the highest UID stands in the first message, if it can be changed in place, and what it is.
pub(super) fn last_uid_place(scanner: &mut Scanner) -> mailfs::Result<Option<(u64, Vec<u8>)>> {
    let Some((_, header)) = scanner.header_of(0)? else { return Ok(None) };
    let Some(at) = Meta::parse(&header.bytes).last_uid_at else { return Ok(None) };
    let width = last_uid_digits(0).len();
    let digits = header.bytes.get(at..at + width).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let is_longer = header.bytes.get(at + width).is_some_and(u8::is_ascii_digit);
    let digits = digits.filter(|_| !is_longer);
    Ok(digits.and_then(|digits| Some((header.place_of(at)?, digits.to_vec()))))
}

/// Writes pieces one behind the other.
struct Writer<'a> {
    file: &'a FileHandle,
    at: u64,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn end(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> mailfs::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_LEN { self.flush() } else { Ok(()) }
    }

    fn copy(&mut self, from: &FileHandle, at: u64, len: u64) -> mailfs::Result<()> {
        if let Some(short) = usize::try_from(len).ok().filter(|len| *len < WRITE_LEN) {
            let start = self.buffer.len();
            self.buffer.resize(start + short, 0);
            from.read_at(self.buffer.get_mut(start..).unwrap_or_default(), at)?;
            return self.put(b"");
        }
        self.flush()?;
        copy(from, at, self.file, self.at, len)?;
        self.at += len;
        Ok(())
    }

    fn flush(&mut self) -> mailfs::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(&self.buffer, self.at)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}
