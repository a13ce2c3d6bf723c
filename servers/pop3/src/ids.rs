//! The unique ids of a maildrop's messages, as far as they need more than UID and UIDVALIDITY: read in steps when UIDL is
//! first asked for.

use std::collections::{BTreeMap, HashMap};

use mailstore::{Column, Columns, Cursor, Result, Rows, ScanBudget};
use mailtypes::{Guid, Uid};

use crate::{Options, UidlDuplicates, UidlFormat, maildrop::Maildrop};

/// What was read for unique ids.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// By index, where the format needs them; zero for a message that is gone.
    guids: Vec<Guid>,
    /// Ids that are not what the format says, by index: those with a number behind them.
    special: BTreeMap<usize, String>,
}

/// Ids that are being read.
pub(crate) struct ReadingIds {
    ids: Ids,
    at: Option<Cursor>,
    rows: Rows,
}

impl ReadingIds {
    /// `None` if the format needs nothing to be read.
    pub(crate) fn new(options: &Options, maildrop: &Maildrop) -> Option<Self> {
        let format = &options.uidl_format;
        let renames = options.uidl_duplicates == UidlDuplicates::Rename && format.may_repeat();
        (format.needs_guid() || renames).then(|| {
            let guids = if format.needs_guid() { vec![Guid::ZERO; maildrop.len()] } else { Vec::new() };
            let at = (format.needs_guid() && maildrop.len() > 0).then_some(Cursor::START);
            Self { ids: Ids { guids, special: BTreeMap::new() }, at, rows: Rows::new() }
        })
    }

    /// Reads for a step's time. Says whether all is read.
    pub(crate) fn step(&mut self, maildrop: &Maildrop) -> Result<bool> {
        let Some(at) = self.at else { return Ok(true) };
        self.rows.clear();
        let columns = Columns::flags().with(Column::Guid);
        self.at = maildrop.view.scan(&maildrop.view.uids(), at, &columns, ScanBudget::default(), &mut self.rows)?;
        for row in &self.rows.rows {
            if let Some(place) = maildrop.index_of(row.uid).and_then(|index| self.ids.guids.get_mut(index)) {
                *place = row.guid.unwrap_or_default();
            }
        }
        Ok(self.at.is_none())
    }

    pub(crate) fn finish(mut self, options: &Options, maildrop: &Maildrop) -> Ids {
        if options.uidl_duplicates == UidlDuplicates::Rename && options.uidl_format.may_repeat() {
            self.ids.rename_duplicates(&options.uidl_format, maildrop);
        }
        self.ids
    }
}

impl Ids {
    fn rename_duplicates(&mut self, format: &UidlFormat, maildrop: &Maildrop) {
        let mut counts: HashMap<String, u32> = HashMap::with_capacity(maildrop.len());
        for index in 0..maildrop.len() {
            let mut id = String::new();
            self.write(index, format, maildrop, &mut id);
            if !counts.contains_key(&id) {
                counts.insert(id, 1);
                continue;
            }
            let renamed = loop {
                let count = counts.entry(id.clone()).or_insert(1);
                *count += 1;
                let suffix = format!("-{count}");
                // The number counts; it may not be cut off by the limit of a unique id's length.
                let kept = id.len().min(UidlFormat::LEN_MAX - suffix.len());
                let renamed = id.get(..kept).unwrap_or_default().to_owned() + &suffix;
                if !counts.contains_key(&renamed) {
                    break renamed;
                }
            };
            counts.insert(renamed.clone(), 1);
            self.special.insert(index, renamed);
        }
    }

    /// Puts a message's unique id at the end of the output.
    pub(crate) fn write(&self, index: usize, format: &UidlFormat, maildrop: &Maildrop, out: &mut String) {
        if let Some(special) = self.special.get(&index) {
            return out.push_str(special);
        }
        let guid = self.guids.get(index).copied().unwrap_or_default();
        format.write(maildrop.uid(index).unwrap_or(Uid::MIN), maildrop.uid_validity(), guid, out);
    }
}
