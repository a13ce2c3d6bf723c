//! The size of a whole mailbox: added up once, and kept in the index where Dovecot keeps it (`hdr-vsize`,
//! `docs/formats/index.md`), so that the next who asks looks at what has come since.
//!
//! # Invariants
//!
//! 1. What is written is the sum, the highest UID and the number of messages of one state. It is believed as long as there
//!    are that many messages up to that UID, here as by Dovecot: who expunges need not touch it.
//! 2. Each writes all three at once, so that of two writers either is right.

use mailindex::{
    log::Origin,
    state::{ExtensionSpec, State},
};
use mailtypes::{Uid, UidSet};

use super::{Indexed, change, scan, view::IndexedView};
use crate::traits::{Column, Columns, Cursor, Result, Rows, ScanBudget};

/// So few messages behind the sum are added up each time rather than written about.
const UNSUMMED_MAX: u32 = 16;

/// A sum and what it is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Summed {
    sum: u64,
    highest: Uid,
    count: u32,
}

impl Summed {
    /// As the index has it, if it still counts the messages that there are.
    fn of(state: &State) -> Option<Self> {
        let header = state.extension(ExtensionSpec::HDR_VSIZE.name)?;
        let sum = u64::from_le_bytes(header.hdr_bytes(0)?);
        let highest = Uid::new(u32::from_le_bytes(header.hdr_bytes(8)?))?;
        let count = u32::from_le_bytes(header.hdr_bytes(12)?);
        Some(Self { sum, highest, count }).filter(|summed| summed.is_of(state))
    }

    fn is_of(&self, state: &State) -> bool {
        self.highest.successor().is_some_and(|next| state.count_below(next) == self.count)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.sum.to_le_bytes().to_vec();
        bytes.extend(self.highest.value().to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes
    }
}

/// RFC822.SIZE of all messages.
pub(super) fn total_size(view: &IndexedView) -> Result<u64> {
    let before = Summed::of(&view.state);
    let (mut total, first) = match before {
        Some(summed) => (summed.sum, summed.highest.successor()),
        None => (0, Some(Uid::MIN)),
    };
    let Some((first, last)) = first.zip(view.state.last_uid()).filter(|(first, last)| first <= last) else {
        return Ok(total);
    };
    let columns = Columns::default() | Column::Size;
    let budget = ScanBudget { until: None, ..ScanBudget::default() };
    let (uids, mut rows) = (UidSet::from(first..=last), Rows::new());
    let (mut at, mut whole) = (Some(Cursor::START), true);
    while let Some(cursor) = at {
        rows.clear();
        at = scan::scan(view, &uids, cursor, &columns, budget, &mut rows)?;
        whole &= rows.rows.iter().all(|row| row.size.is_some());
        total = rows.rows.iter().filter_map(|row| row.size).fold(total, u64::saturating_add);
    }
    let count = view.state.message_count();
    if whole && count - before.map_or(0, |summed| summed.count) > UNSUMMED_MAX {
        keep(&view.mailbox, Summed { sum: total, highest: last, count });
    }
    Ok(total)
}

/// Writes the sum into the index, unless messages of it are gone by then. Best effort.
fn keep(mailbox: &Indexed, summed: Summed) {
    if mailbox.is_read_only() {
        return;
    }
    let kept = change(&mailbox.name, &mailbox.index, move |at| {
        if summed.is_of(at.state()) {
            at.transaction().ext_header(&ExtensionSpec::HDR_VSIZE, 0, &summed.encode(), Origin::External);
        }
    });
    if let Err(e) = kept {
        tracing::debug!(mailbox = %mailbox.name, "its size is not kept: {e}");
    }
}
