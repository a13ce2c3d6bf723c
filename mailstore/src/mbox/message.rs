//! One message of an mbox, open.
//!
//! # Invariants
//!
//! 1. Each read is made with the read locks held, of a file that looks as it did when the message was found; else the
//!    message is found again. Between reads nothing is locked, however slow the reader.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mailfs::{LockKind, Metadata};
use mailindex::state::{RecordRef, State};
use mailtypes::{Guid, MailboxName, Uid};

use super::{
    files::MboxFiles,
    locks::LockedFile,
    meta::{header_md5, visible},
    scan::{Rules, SMALL_WINDOW_LEN, Scanner},
    sync::{Extent, md5_of, offset_of, separator_at, work_of},
};
use crate::{
    indexed::{FolderWatch, Indexed, Known, MessageFiles, StoredMessage, lost},
    traits::{Freshness, Result, StorageError, Wake, Watch},
};

/// How often a file that changes under our hands is looked at again.
const FIND_TRIES_MAX: usize = 8;

/// Messages up to this length are read whole when they are opened.
const WHOLE_LEN_MAX: u64 = 64 << 10;

/// What was found of a message.
struct Found {
    /// How the file looked.
    there: Metadata,
    /// What clients see of its header; nothing of one that is too long to be held.
    header: Vec<u8>,
    /// What is behind that: its body.
    body: Stretches,
    hash: [u8; 16],
    received: i64,
    /// The body, where it is short.
    whole: Option<Vec<u8>>,
}

struct MboxMessage {
    files: Arc<MboxFiles>,
    uid: Uid,
    stored_len: u64,
    hash: [u8; 16],
    received: i64,
    found: Mutex<Found>,
}

fn expunged(uid: Uid) -> StorageError {
    StorageError::Expunged { uid }
}

impl MboxFiles {
    /// Finds a message in the file as it is now.
    fn find(&self, uid: Uid) -> Result<Found> {
        let index = self.index().ok_or_else(lost)?;
        for turn in 0..FIND_TRIES_MAX {
            let mut extent = if turn < FIND_TRIES_MAX / 2 { Extent::Tail } else { Extent::Whole };
            {
                let locked = match self.lock_file(LockKind::Shared, self.shared.options.locks.timeout) {
                    Err(e) if e.is_not_found() => return Err(expunged(uid)),
                    other => other?,
                };
                let there = locked.file.metadata()?;
                let state = index.state();
                if self.is_current(&state, &there) {
                    let Some(record) = state.record_of(uid) else { return Err(expunged(uid)) };
                    if let Some(found) = self.read(&locked, there, &state, &record)? {
                        return Ok(found);
                    }
                    tracing::warn!(path = %self.path().display(), %uid, "the message is not where the index says");
                    extent = Extent::Forced;
                }
            }
            if turn > 0 {
                self.forget();
            }
            match self.sync_now(&MailboxName::inbox(), work_of(&index.state()), extent) {
                Err(StorageError::Deleted(_)) => return Err(expunged(uid)),
                other => other?,
            }
        }
        Err(StorageError::Unavailable(format!("{} changes faster than it can be read", self.path().display()).into()))
    }

    /// `None` if there is no separator where the record says, or that of another message.
    fn read(
        &self,
        locked: &LockedFile,
        there: Metadata,
        state: &State,
        record: &RecordRef<'_>,
    ) -> Result<Option<Found>> {
        let Some(offset) = offset_of(state, record) else { return Ok(None) };
        let file = Arc::clone(&locked.file);
        let mut scanner = Scanner::of_part(file, there.len, Rules::Dovecot, SMALL_WINDOW_LEN);
        let start = if offset == 0 { 0 } else { separator_at(&mut scanner, offset)? };
        let next = state.record(state.count_below(record.uid()) + 1).and_then(|next| offset_of(state, &next));
        let (from, header, body) = match next {
            Some(end) => {
                let Some((from, mut header)) = scanner.header_of(start)? else { return Ok(None) };
                let behind = separator_at(&mut scanner, end)?;
                if end < header.range.start || behind == end || !scanner.is_separator(behind)? {
                    // The place of the next message is wrong, and so is where this one ends.
                    return Ok(None);
                }
                header.cut(end);
                let body_start = header.range.end;
                (from, header, body_start..end.max(body_start))
            }
            None => {
                scanner.seek(start);
                let Some(message) = scanner.next_message()? else { return Ok(None) };
                (message.from, message.header, message.body)
            }
        };
        let hash = header_md5(&header.bytes, self.shared.options.md5);
        if md5_of(state, record).is_some_and(|known| known != hash) {
            // Another one: the state is old, and the file has come to look alike within a second.
            return Ok(None);
        }
        let (header, body) = match header.seen_with_body(body.end) {
            Some(seen) => (Vec::new(), Stretches(seen)),
            None => (visible(&header.bytes), Stretches(vec![body])),
        };
        let whole = if body.len() <= WHOLE_LEN_MAX { Some(read_exactly(locked, &body)?) } else { None };
        Ok(Some(Found {
            there,
            hash,
            header,
            body,
            received: from.date.resolve(self.shared.options.local_zone).unix,
            whole,
        }))
    }
}

/// Stretches of the file that are read as one.
struct Stretches(Vec<Range<u64>>);

impl Stretches {
    fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    fn start(&self) -> u64 {
        self.0.first().map_or(0, |range| range.start)
    }

    /// What is left of the stretch that a byte is in.
    fn rest_at(&self, mut offset: u64) -> Option<Range<u64>> {
        for range in &self.0 {
            let len = range.end - range.start;
            if offset < len {
                return Some(range.start + offset..range.end);
            }
            offset -= len;
        }
        None
    }
}

fn read_exactly(locked: &LockedFile, body: &Stretches) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(body.len()).unwrap_or(0));
    for range in &body.0 {
        let before = bytes.len();
        bytes.resize(before + usize::try_from(range.end - range.start).unwrap_or(0), 0);
        let read = locked.file.read_at(bytes.get_mut(before..).unwrap_or_default(), range.start)?;
        bytes.truncate(before + read);
    }
    Ok(bytes)
}

impl MboxMessage {
    fn read_body(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..FIND_TRIES_MAX {
            if let Some(whole) = &found.whole {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = whole.get(from..).unwrap_or_default();
                let len = rest.len().min(buf.len());
                buf.get_mut(..len).unwrap_or_default().copy_from_slice(rest.get(..len).unwrap_or_default());
                return Ok(len);
            }
            {
                let locked = self.files.lock_file(LockKind::Shared, self.files.shared.options.locks.timeout)?;
                if locked.file.metadata().is_ok_and(|there| looks_as(&there, &found.there)) {
                    let Some(rest) = found.body.rest_at(offset) else { return Ok(0) };
                    let want = usize::try_from(rest.end - rest.start).unwrap_or(usize::MAX).min(buf.len());
                    let buf = buf.get_mut(..want).unwrap_or_default();
                    return Ok(locked.file.read_at(buf, rest.start)?);
                }
            }
            let again = self.files.find(self.uid)?;
            let is_same = again.header == found.header && again.body.len() == self.body_len(&found);
            if !is_same {
                let path = self.files.path().to_owned();
                let what = format!("message {} was changed while it was read", self.uid);
                return Err(StorageError::Corrupt { path, offset: again.body.start(), what });
            }
            *found = again;
        }
        Err(StorageError::Unavailable("the mbox file changes faster than it can be read".into()))
    }

    fn body_len(&self, found: &Found) -> u64 {
        self.stored_len - found.header.len() as u64
    }
}

fn looks_as(there: &Metadata, before: &Metadata) -> bool {
    let look = |m: &Metadata| (m.device, m.inode, m.len, m.modified);
    look(there) == look(before)
}

impl StoredMessage for MboxMessage {
    fn stored_len(&self) -> u64 {
        self.stored_len
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        let header_len = {
            let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            let header = usize::try_from(offset).ok().and_then(|from| found.header.get(from..)).unwrap_or_default();
            let len = header.len().min(buf.len());
            buf.get_mut(..len).unwrap_or_default().copy_from_slice(header.get(..len).unwrap_or_default());
            filled += len;
            found.header.len() as u64
        };
        while filled < buf.len() {
            let at = (offset + filled as u64).saturating_sub(header_len);
            let read = self.read_body(at, buf.get_mut(filled..).unwrap_or_default())?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    fn virtual_size(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn received(&self) -> Result<Option<u32>> {
        Ok(u32::try_from(self.received.max(0)).ok())
    }

    /// An mbox does not tell when a message was put there.
    fn changed(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.received).unwrap_or(0))
    }

    fn guid(&self) -> Result<Option<Guid>> {
        Ok(Some(Guid(self.hash)))
    }
}

impl MessageFiles for MboxFiles {
    fn open(&self, _: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let found = self.find(uid)?;
        let files = self.shared_self().ok_or_else(lost)?;
        let stored_len = found.header.len() as u64 + found.body.len();
        let (hash, received) = (found.hash, found.received);
        Ok(Box::new(MboxMessage { files, uid, stored_len, hash, received, found: Mutex::new(found) }))
    }

    fn known(&self, uid: Uid) -> Known {
        let state = self.index().map(|index| index.state());
        let hash = state.as_ref().and_then(|state| md5_of(state, &state.record_of(uid)?));
        Known { virtual_size: None, guid: hash.map(Guid) }
    }

    fn look(&self, mailbox: &Indexed, _takes_recent: bool) -> Result<()> {
        self.look_for_changes(mailbox)?;
        self.flush_if_due();
        Ok(())
    }

    fn close(&self) {
        if self.open_count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flush_soon();
        }
    }

    fn checkpoint(&self) {
        self.flush_now();
    }

    fn freshness(&self) -> Freshness {
        self.stir.freshness()
    }

    fn watch(&self, wake: Wake) -> Result<Option<Box<dyn Watch>>> {
        Ok(Some(Box::new(FolderWatch::of_file(self.fs(), self.path(), &self.stir, &wake)?)))
    }
}
