//! The unique ids of a maildrop's messages, as far as they need more than UID and UIDVALIDITY: read in steps when UIDL is
//! first asked for.
//!
//! An id that a conversion saved with a message goes before what the format says, so that a client sees no mail twice
//! after it. What was converted came first: looking ends after [`WITHOUT_SAVED_MAX`] messages in a row that have none.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use mailstore::{Column, Columns, Cursor, FileIdentity, Result, Rows, ScanBudget, StorageError};
use mailtypes::Uid;

use crate::{Options, UidlDuplicates, UidlFormat, maildrop::Maildrop, uidl::Identity};

/// Messages in a row without a saved id after which no more are looked at: each may cost opening a file.
const WITHOUT_SAVED_MAX: usize = 16;
/// How long a step goes on.
const STEP_TIME: Duration = Duration::from_millis(10);

/// What was read for unique ids.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    /// GUID and file name by index, where the format needs them.
    identities: Vec<(Box<str>, Box<str>)>,
    /// Ids that are not what the format says, by index: saved ones, and those with a number behind them.
    special: BTreeMap<usize, String>,
}

/// Ids that are being read.
pub(crate) struct ReadingIds {
    ids: Ids,
    /// The message whose saved id is next, and how many before it had none.
    saved_at: Option<usize>,
    without_saved: usize,
    identities_at: Option<Cursor>,
    rows: Rows,
    needs_file_name: bool,
}

impl ReadingIds {
    pub(crate) fn new(options: &Options, maildrop: &Maildrop) -> Self {
        let format = &options.uidl_format;
        let needs_file_name = format.needs_file_name();
        let needs_identities = (format.needs_guid() || needs_file_name) && maildrop.len() > 0;
        let identities = if needs_identities { vec![Default::default(); maildrop.len()] } else { Vec::new() };
        Self {
            ids: Ids { identities, special: BTreeMap::new() },
            saved_at: Some(0),
            without_saved: 0,
            identities_at: needs_identities.then_some(Cursor::START),
            rows: Rows::new(),
            needs_file_name,
        }
    }

    /// Reads for a step's time. Says whether all is read.
    pub(crate) fn step(&mut self, maildrop: &Maildrop) -> Result<bool> {
        if self.saved_at.is_some() {
            self.read_saved(maildrop)?;
        } else if let Some(at) = self.identities_at {
            self.read_identities(maildrop, at)?;
        }
        Ok(self.saved_at.is_none() && self.identities_at.is_none())
    }

    fn read_saved(&mut self, maildrop: &Maildrop) -> Result<()> {
        let until = Instant::now() + STEP_TIME;
        while let Some(index) = self.saved_at.take() {
            let Some(uid) = maildrop.uid(index).filter(|_| self.without_saved < WITHOUT_SAVED_MAX) else { break };
            match maildrop.view.saved_uidl(uid) {
                Ok(Some(saved)) => {
                    self.without_saved = 0;
                    self.ids.special.insert(index, as_id(&saved));
                }
                Ok(None) => self.without_saved += 1,
                Err(StorageError::Expunged { .. }) => {}
                Err(error) => return Err(error),
            }
            self.saved_at = Some(index + 1);
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    fn read_identities(&mut self, maildrop: &Maildrop, at: Cursor) -> Result<()> {
        self.rows.clear();
        let columns = Columns::flags().with(Column::Guid);
        self.identities_at =
            maildrop.view.scan(&maildrop.view.uids(), at, &columns, ScanBudget::default(), &mut self.rows)?;
        for row in &self.rows.rows {
            let Some(index) = maildrop.index_of(row.uid) else { continue };
            let identity = match maildrop.view.file_identity(row.uid) {
                Some(FileIdentity { name, guid }) => (as_id(&guid).into(), as_id(&name).into()),
                None if self.needs_file_name && !row.expunged => {
                    return Err(StorageError::NotPossible("Unique ids by file name need a Maildir"));
                }
                None => (row.guid.unwrap_or_default().to_string().into(), Box::default()),
            };
            if let Some(place) = self.ids.identities.get_mut(index) {
                *place = identity;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, options: &Options, maildrop: &Maildrop) -> Ids {
        let may_repeat = options.uidl_format.may_repeat() || !self.ids.special.is_empty();
        if options.uidl_duplicates == UidlDuplicates::Rename && may_repeat {
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
            let count = counts.entry(id.clone()).or_insert(0);
            *count += 1;
            let mut number = *count;
            if number == 1 {
                continue;
            }
            let renamed = loop {
                let suffix = format!("-{number}");
                // The number counts; it may not be cut off by the limit of a unique id's length.
                let kept = id.len().min(UidlFormat::LEN_MAX - suffix.len());
                let renamed = id.get(..kept).unwrap_or_default().to_owned() + &suffix;
                if !counts.contains_key(&renamed) {
                    break renamed;
                }
                number += 1;
            };
            counts.insert(id, number);
            counts.insert(renamed.clone(), 1);
            self.special.insert(index, renamed);
        }
    }

    /// Puts a message's unique id at the end of the output.
    pub(crate) fn write(&self, index: usize, format: &UidlFormat, maildrop: &Maildrop, out: &mut String) {
        if let Some(special) = self.special.get(&index) {
            return out.push_str(special);
        }
        let (guid, file_name) = self.identities.get(index).map_or(("", ""), |(guid, name)| (&**guid, &**name));
        let uid = maildrop.uid(index).unwrap_or(Uid::MIN);
        let from = out.len();
        format.write(Identity { uid, uid_validity: maildrop.uid_validity(), guid, file_name }, out);
        out.truncate(out.len().min(from + UidlFormat::LEN_MAX));
    }
}

/// With nothing that no unique id may have, and no longer than one may be.
fn as_id(bytes: &[u8]) -> String {
    let allowed = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '_' };
    bytes.iter().take(UidlFormat::LEN_MAX).map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_ids_are_made_harmless() {
        assert_eq!(as_id(b"a b\r\n+OK\xff"), "a_b__+OK_");
        assert_eq!(as_id(&[b'x'; 200]).len(), UidlFormat::LEN_MAX);
    }
}
