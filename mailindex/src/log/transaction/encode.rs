//! From a [`Transaction`] to bytes.

use mailtypes::Uid;

use super::{
    ExtensionChanges, Transaction,
    write::{Numbers, record_bytes, write},
};
use crate::{
    log::{Origin, RecordType},
    state::{EXT_HDR_SIZE_MAX, EXT_RECORD_SIZE_MAX, ExtensionSpec, RawIndexHeader, State, names},
};

/// Transactions are split, where their meaning allows it, so that none is larger, in bytes: below this size a process
/// that is killed while it writes has not been seen to leave a torn end.
pub const TRANSACTION_SIZE_TARGET: usize = 32 * 1024;

/// One transaction as it stands in the log, to be appended with one write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncodedTransaction {
    /// The bytes, a tail record included where one was asked for.
    pub bytes: Vec<u8>,
}

/// Why a transaction cannot be written: always a mistake of the caller, or a limit of the format.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Appended UIDs must be at least next_uid, and ascend.
    #[error("cannot append UID {uid}: the next UID is {next_uid}")]
    AppendUid {
        /// The UID.
        uid: Uid,
        /// What it must at least be.
        next_uid: Uid,
    },
    /// No message can have this UID.
    #[error("UID {uid} is past the last there can be")]
    UidRange {
        /// The UID.
        uid: Uid,
    },
    /// Header bytes that are not the writer's to set, or that lie outside the header.
    #[error("cannot write {size} header bytes at {offset}")]
    HeaderUpdate {
        /// Where.
        offset: u16,
        /// How many.
        size: usize,
    },
    /// Data or sizes that the extension cannot have.
    #[error("extension {name}: {what}")]
    Extension {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The increments of one message add up to more than can be written.
    #[error("the increments for UID {uid} are too large")]
    Increment {
        /// The message.
        uid: Uid,
    },
    /// An attribute's name that cannot be written.
    #[error("the attribute's name is empty or has a NUL")]
    AttributeName,
    /// More than a record, or the log, can hold.
    #[error("the transaction is too large for the log")]
    TooLarge,
    /// The state is in no log.
    #[error("the state has no position in a log")]
    NoLog,
}

impl Transaction {
    /// Encodes for a log that ends where `state` is ([`State::position`]), to be written in this order. More than one
    /// is returned only when one would be larger than [`TRANSACTION_SIZE_TARGET`]; then each says all there is to
    /// say about its messages. None is returned if there is nothing to write.
    pub fn encode(&self, state: &State) -> Result<Vec<EncodedTransaction>, TransactionError> {
        let position = state.position().ok_or(TransactionError::NoLog)?;
        self.check(state)?;
        let mut numbers = Numbers::new(state);
        let mut encoded = Vec::new();
        let mut waiting = vec![self.prepared(state)];
        while let Some(transaction) = waiting.pop() {
            let mut numbers_after = numbers.clone();
            let bytes = write(&transaction, &mut numbers_after)?;
            match transaction.middle() {
                Some(middle) if bytes.len() >= TRANSACTION_SIZE_TARGET && !self.keep_whole => {
                    let (first, second) = transaction.split(middle);
                    waiting.push(second);
                    waiting.push(first);
                }
                _ if bytes.is_empty() => {}
                _ => {
                    numbers = numbers_after;
                    encoded.push(EncodedTransaction { bytes });
                }
            }
        }
        if self.move_tail {
            let written: usize = encoded.iter().map(|transaction| transaction.bytes.len()).sum();
            let end = position.offset as usize + written + TAIL_RECORD_SIZE;
            let tail = tail_record(u32::try_from(end).map_err(|_| TransactionError::TooLarge)?)?;
            match encoded.last_mut() {
                Some(last) => last.bytes.extend(tail),
                None => encoded.push(EncodedTransaction { bytes: tail }),
            }
        }
        let size: usize = encoded.iter().map(|transaction| transaction.bytes.len()).sum();
        match u32::try_from(position.offset as usize + size) {
            Ok(_) => Ok(encoded),
            Err(_) => Err(TransactionError::TooLarge),
        }
    }

    pub(super) fn has_changes(&self) -> bool {
        let prologue = self.undelete.is_some() || !self.header_before.is_empty() || !self.attributes.is_empty();
        let messages = !self.appends.is_empty() || !self.flags.is_empty() || !self.keywords.is_empty();
        let gone = !self.expunge_requests.is_empty() || !self.expunges.is_empty();
        let modseqs = !self.modseqs.is_empty() || self.min_modseq.is_some() || self.enable_modseqs;
        let epilogue = !self.header_after.is_empty() || self.delete.is_some();
        prologue || messages || gone || modseqs || epilogue || self.extensions.iter().any(|e| !e.is_empty())
    }

    /// Puts in what depends on the state.
    fn prepared(&self, state: &State) -> Self {
        let mut transaction = self.clone();
        if self.enable_modseqs && !state.has_modseqs() {
            let mut header = state.highest_modseq().value().to_le_bytes().to_vec();
            header.extend([0; 8]);
            transaction.ext_header(&ExtensionSpec::MODSEQ, 0, &header, Origin::External);
        }
        transaction
    }

    fn check(&self, state: &State) -> Result<(), TransactionError> {
        let mut next_uid = state.next_uid();
        for &(uid, _) in &self.appends {
            if uid < next_uid {
                return Err(TransactionError::AppendUid { uid, next_uid });
            }
            next_uid = uid.successor().filter(|_| uid <= Uid::MAX_ON_DISK).ok_or(TransactionError::UidRange { uid })?;
        }
        for (offset, data) in self.header_before.iter().chain(&self.header_after) {
            check_header_update(*offset, data.len())?;
        }
        self.extensions.iter().try_for_each(check_extension)?;
        let bad_name = |name: &[u8]| name.is_empty() || name.contains(&0);
        if self.attributes.iter().any(|update| bad_name(&update.name)) {
            return Err(TransactionError::AttributeName);
        }
        Ok(())
    }
}

/// Parts of the base header that are written by header updates; the others belong to the snapshot, to replay, or to
/// tail records.
const WRITABLE: [std::ops::Range<usize>; 3] = [20..32, 48..60, 76..RawIndexHeader::SIZE];

fn check_header_update(offset: u16, size: usize) -> Result<(), TransactionError> {
    let (start, end) = (usize::from(offset), usize::from(offset) + size);
    let inside = |range: &std::ops::Range<usize>| range.start <= start && end <= range.end;
    if size > 0 && WRITABLE.iter().any(inside) { Ok(()) } else { Err(TransactionError::HeaderUpdate { offset, size }) }
}

fn check_extension(extension: &ExtensionChanges) -> Result<(), TransactionError> {
    let spec = &extension.spec;
    let wrong = |what| Err(TransactionError::Extension { name: spec.name, what });
    let size = usize::from(spec.record_size);
    if spec.name.is_empty() || spec.name.contains('\0') || spec.name.len() > usize::from(u16::MAX) {
        return wrong("no valid name");
    }
    if spec.name.as_bytes() == names::KEYWORDS {
        return wrong("keywords are not introduced");
    }
    if spec.hdr_size > EXT_HDR_SIZE_MAX || spec.record_size > EXT_RECORD_SIZE_MAX {
        return wrong("sizes out of range");
    }
    if spec.hdr_size == 0 && size == 0 {
        return wrong("it has no size at all");
    }
    if !matches!((size, spec.record_align), (0, 0) | (_, 1 | 2 | 4 | 8)) {
        return wrong("no valid alignment");
    }
    if extension.header.iter().any(|(at, data)| data.is_empty() || *at as usize + data.len() > spec.hdr_size as usize) {
        return wrong("header data outside the header");
    }
    if extension.records.iter().any(|(_, data)| data.len() > size) || (size == 0 && !extension.records.is_empty()) {
        return wrong("data larger than the field");
    }
    if !extension.increments.is_empty() && !matches!(size, 1 | 2 | 4 | 8) {
        return wrong("only numbers can be incremented");
    }
    Ok(())
}

/// Bytes of the record that moves the tail.
const TAIL_RECORD_SIZE: usize = 16;

/// The record that moves the tail to an offset (`docs/formats/log.md`, "Head and tail").
fn tail_record(tail: u32) -> Result<Vec<u8>, TransactionError> {
    let mut payload = RawIndexHeader::LOG_FILE_TAIL_OFFSET.to_le_bytes().to_vec();
    payload.extend(4u16.to_le_bytes());
    payload.extend(tail.to_le_bytes());
    record_bytes(RecordType::HeaderUpdate, Origin::External, &payload)
}
