//! The running modseq counter (`docs/formats/log.md`, "Modseqs"). It counts records, not messages, and needs no
//! other state than the log itself.

use super::{Change, ExtIntro, LogHeaderError, LogStop, Origin, RawFlagUpdate, RawLogHeader, Record, Transactions};

/// Flags that a client sees; a change of others does not count.
const VISIBLE_FLAGS: u8 = 0x1f;
/// From this minor version on, changes of invisible flags are not counted.
const MINOR_VISIBLE_ONLY: u8 = 3;

/// Whether one entry of a FLAG_UPDATE is a change that clients are told of.
pub fn is_counted(update: &RawFlagUpdate) -> bool {
    (update.add | update.remove) & VISIBLE_FLAGS != 0 || update.modseq_inc != 0
}

/// The counter of one mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ModseqCounter {
    value: u64,
    minor_version: u8,
}

impl ModseqCounter {
    /// Starts from a known value in a file of this minor version.
    pub fn new(value: u64, minor_version: u8) -> Self {
        Self { value, minor_version }
    }

    /// The value now; 0: unknown (logs from before there were modseqs).
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Goes over one record.
    pub fn count(&mut self, record: &Record<'_>, change: &Change<'_>) {
        if let Change::ExtIntro(mut intros) = *change
            && self.value == 0
            && intros.any(|intro| intro.raw.ext_id.get() == ExtIntro::BY_NAME && intro.name == b"modseq")
        {
            self.value = 1;
        }
        if self.value == 0 {
            return;
        }
        let counts = match change {
            Change::Append(_) | Change::KeywordUpdate(_) | Change::KeywordReset(_) | Change::AttributeUpdate(_) => true,
            Change::Expunge(_) | Change::ExpungeGuid(_) => record.origin() == Origin::External,
            Change::FlagUpdate(updates) => self.minor_version < MINOR_VISIBLE_ONLY || updates.iter().any(is_counted),
            Change::ModseqUpdate(updates) => {
                let largest = updates.iter().map(|update| update.modseq()).max().unwrap_or(0);
                self.value = self.value.max(largest);
                false
            }
            _ => false,
        };
        self.value = self.value.saturating_add(counts.into());
    }
}

/// Why the counter's value at some place of a log could not be found.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CountError {
    /// The header is of no use.
    #[error(transparent)]
    Header(#[from] LogHeaderError),
    /// The log is torn or damaged before that place.
    #[error(transparent)]
    Log(#[from] LogStop),
}

/// A value that the counter does not exceed at offset `end`, where the file is damaged before: as if all that cannot be
/// read were records that count. Linear in the bytes.
pub fn modseq_bound_at(file: &[u8], end: u32) -> Result<u64, CountError> {
    let header = RawLogHeader::parse(file)?;
    let start = header.records_start();
    let mut counter = ModseqCounter::new(header.initial_modseq.get(), header.minor_version);
    let records = file.get(start as usize..end.max(start) as usize).ok_or(LogStop::Torn { offset: end })?;
    let mut transactions = Transactions::new(records, start);
    for transaction in transactions.by_ref().map_while(Result::ok) {
        transaction.changes().for_each(|(record, change)| counter.count(&record, &change));
    }
    let unread = end.saturating_sub(transactions.end());
    Ok(counter.value().saturating_add(u64::from(unread / RECORD_LEN_MIN)))
}

/// No record is shorter.
const RECORD_LEN_MIN: u32 = 8;

/// The counter's value at offset `end`, from the whole file up to there. Linear in the bytes.
pub fn modseq_at(file: &[u8], end: u32) -> Result<u64, CountError> {
    let header = RawLogHeader::parse(file)?;
    let start = header.records_start();
    let mut counter = ModseqCounter::new(header.initial_modseq.get(), header.minor_version);
    let records = file.get(start as usize..end.max(start) as usize).ok_or(LogStop::Torn { offset: end })?;
    for transaction in Transactions::new(records, start) {
        transaction?.changes().for_each(|(record, change)| counter.count(&record, &change));
    }
    Ok(counter.value())
}
