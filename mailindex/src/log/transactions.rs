//! Whole transactions only (`docs/formats/log.md`, "Transactions and BOUNDARY").

use super::{Change, Damage, DamageKind, LogStop, Record, Records};

/// A transaction that is in the log from its first byte to its last, each record of it checked.
#[derive(Clone, Copy, Debug)]
pub struct WrittenTransaction<'a> {
    /// Where it begins.
    pub offset: u32,
    /// Where the next one begins.
    pub end: u32,
    bytes: &'a [u8],
}

impl<'a> WrittenTransaction<'a> {
    /// Its records with what they say, in order, a BOUNDARY left out.
    pub fn changes(&self) -> impl Iterator<Item = (Record<'a>, Change<'a>)> + use<'a> {
        let records = Records::new(self.bytes, self.offset).map_while(Result::ok);
        let changes = records.filter_map(|record| Some((record, record.change().ok()?)));
        changes.filter(|(_, change)| !matches!(change, Change::Boundary { .. }))
    }
}

/// The whole transactions in a piece of a log. A record without a BOUNDARY is a transaction of its own. Ends with
/// `None`, or with one error; [`Self::end`] then tells where the last whole transaction ended.
#[derive(Clone, Debug)]
pub struct Transactions<'a> {
    bytes: &'a [u8],
    start: u32,
    records: Records<'a>,
    end: u32,
    stopped: bool,
}

impl<'a> Transactions<'a> {
    /// `bytes` begin at `offset` of the file, at a transaction.
    pub fn new(bytes: &'a [u8], offset: u32) -> Self {
        Self { bytes, start: offset, records: Records::new(bytes, offset), end: offset, stopped: false }
    }

    /// Where the last transaction that was yielded ends: everything before this is whole and valid.
    pub fn end(&self) -> u32 {
        self.end
    }

    fn take(&mut self) -> Result<Option<WrittenTransaction<'a>>, LogStop> {
        let offset = self.records.offset();
        let Some(first) = self.next_checked(offset)? else { return Ok(None) };
        let mut end = first.0.end();
        if let Some(boundary_end) = self.boundary_end(&first, offset)? {
            end = boundary_end;
            while self.records.offset() < end {
                let Some(next) = self.next_checked(offset)? else { return Err(LogStop::Torn { offset }) };
                // A record that runs over the boundary still belongs to it; a boundary inside one widens it.
                end = end.max(next.0.end()).max(self.boundary_end(&next, offset)?.unwrap_or(0));
            }
        }
        let at = |n: u32| (n - self.start) as usize;
        let bytes = self.bytes.get(at(offset)..at(end)).ok_or(LogStop::Torn { offset })?;
        self.end = end;
        Ok(Some(WrittenTransaction { offset, end, bytes }))
    }

    /// The next record, checked. A record that is incomplete tears its whole transaction.
    fn next_checked(&mut self, transaction: u32) -> Result<Option<(Record<'a>, Change<'a>)>, LogStop> {
        match self.records.next() {
            None => Ok(None),
            Some(Ok(record)) => Ok(Some((record, record.change()?))),
            Some(Err(LogStop::Torn { .. })) => Err(LogStop::Torn { offset: transaction }),
            Some(Err(corrupt)) => Err(corrupt),
        }
    }

    fn boundary_end(
        &self,
        (record, change): &(Record<'a>, Change<'a>),
        transaction: u32,
    ) -> Result<Option<u32>, LogStop> {
        let Change::Boundary { size } = *change else { return Ok(None) };
        if size < record.size() {
            return Err(Damage { offset: record.offset, kind: DamageKind::BoundarySize(size) }.into());
        }
        let available = u64::from(self.start) + self.bytes.len() as u64;
        let end = u64::from(record.offset) + u64::from(size);
        match u32::try_from(end) {
            Ok(end) if u64::from(end) <= available => Ok(Some(end)),
            _ => Err(LogStop::Torn { offset: transaction }),
        }
    }
}

impl<'a> Iterator for Transactions<'a> {
    type Item = Result<WrittenTransaction<'a>, LogStop>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        let taken = self.take().transpose();
        self.stopped = !matches!(taken, Some(Ok(_)));
        taken
    }
}

/// Where the last whole and valid transaction ends, and what comes after it, if anything. Linear in the bytes.
pub fn complete_end(bytes: &[u8], offset: u32) -> (u32, Option<LogStop>) {
    let mut transactions = Transactions::new(bytes, offset);
    let stop = transactions.by_ref().find_map(Result::err);
    (transactions.end(), stop)
}
