//! The records of one transaction, in the order of `docs/formats/log.md`.

use std::collections::BTreeMap;

use mailtypes::{ModSeq, Uid, UidSet};
use zerocopy::IntoBytes;

use super::{
    ExtensionChanges, Generation, KeywordAction, Transaction, TransactionError,
    messages::{FlagRecord, KeywordChange},
};
use crate::{
    log::{
        AttributeChange, ExtIntro, Origin, RECORD_HEADER_SIZE, RawAppend, RawExpungeGuid, RawExtIntro, RawFlagUpdate,
        RawIncrement, RawModseqUpdate, RawUidRange, RecordType, TypeWord, attributes,
    },
    offset_encoding::{align4, encode_offset},
    state::{State, names},
};

/// Which numbers and generations extensions have, now and behind what was written already.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    extensions: Vec<(Vec<u8>, u32)>,
}

impl Numbers {
    pub(super) fn new(state: &State) -> Self {
        let extensions = state.extensions().iter();
        Self { extensions: extensions.map(|ext| (ext.name().to_vec(), ext.reset_id())).collect() }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.extensions.iter().position(|(other, _)| other == name)
    }

    /// Its number, made if it is new.
    fn number(&mut self, name: &[u8], reset_id: u32) -> usize {
        let number = self.find(name).unwrap_or(self.extensions.len());
        if number == self.extensions.len() {
            self.extensions.push((name.to_vec(), reset_id));
        }
        number
    }
}

/// Records of one transaction, as they are gathered.
pub(super) struct RecordWriter<'a> {
    numbers: &'a mut Numbers,
    out: Vec<u8>,
    count: usize,
}

/// Bytes of a BOUNDARY record.
const BOUNDARY_SIZE: usize = RECORD_HEADER_SIZE + 4;

/// The bytes of a whole transaction, its BOUNDARY included. Extensions that it creates are entered into `numbers`.
pub(super) fn write(transaction: &Transaction, numbers: &mut Numbers) -> Result<Vec<u8>, TransactionError> {
    // Room for a BOUNDARY, which is taken away again if there is nothing to bind together.
    let mut writer = RecordWriter { numbers, out: vec![0; BOUNDARY_SIZE], count: 0 };
    writer.prologue(transaction)?;
    writer.messages(transaction)?;
    writer.epilogue(transaction)?;
    let RecordWriter { mut out, count, .. } = writer;
    if count < 2 {
        out.drain(..BOUNDARY_SIZE);
        return Ok(out);
    }
    let size = u32::try_from(out.len()).map_err(|_| TransactionError::TooLarge)?;
    let boundary = record_bytes(RecordType::Boundary, Origin::External, &size.to_le_bytes())?;
    out.iter_mut().zip(boundary).for_each(|(to, from)| *to = from);
    Ok(out)
}

/// One record on its own.
pub(super) fn record_bytes(
    record_type: RecordType,
    origin: Origin,
    payload: &[u8],
) -> Result<Vec<u8>, TransactionError> {
    let size = RECORD_HEADER_SIZE + align4(payload.len());
    let encoded = u32::try_from(size).ok().and_then(encode_offset).ok_or(TransactionError::TooLarge)?;
    let mut out = Vec::with_capacity(size);
    out.extend(encoded);
    out.extend(TypeWord::new(record_type, origin).0.to_le_bytes());
    out.extend(payload);
    out.resize(size, 0);
    Ok(out)
}

impl RecordWriter<'_> {
    fn put(&mut self, record_type: RecordType, origin: Origin, payload: &[u8]) -> Result<(), TransactionError> {
        self.out.extend(record_bytes(record_type, origin, payload)?);
        self.count += 1;
        Ok(())
    }

    fn prologue(&mut self, transaction: &Transaction) -> Result<(), TransactionError> {
        if let Some(origin) = transaction.undelete {
            self.put(RecordType::IndexUndeleted, origin, &[0; 4])?;
        }
        for extension in transaction.extensions.iter().filter(|e| e.has_prologue()) {
            self.extension_prologue(extension)?;
        }
        self.header_update(&transaction.header_before)?;
        if !transaction.attributes.is_empty() {
            let changes = transaction.attributes.iter().map(|update| AttributeChange {
                set: update.set,
                shared: update.shared,
                name: &update.name,
                timestamp: update.timestamp,
                value_len: update.value_len,
            });
            let mut payload = Vec::new();
            attributes::encode(changes, &mut payload);
            self.put(RecordType::AttributeUpdate, Origin::External, &payload)?;
        }
        Ok(())
    }

    fn extension_prologue(&mut self, extension: &ExtensionChanges) -> Result<(), TransactionError> {
        self.intro(extension)?;
        if let Some(reset) = extension.reset {
            let mut payload = reset.new_reset_id.to_le_bytes().to_vec();
            payload.extend([u8::from(reset.preserve), 0, 0, 0]);
            self.put(RecordType::ExtReset, extension.origin, &payload)?;
            let number = self.numbers.number(extension.spec.name.as_bytes(), 0);
            if let Some((_, reset_id)) = self.numbers.extensions.get_mut(number) {
                *reset_id = reset.new_reset_id;
            }
            if !extension.header.is_empty() {
                self.intro(extension)?;
            }
        }
        if extension.header.is_empty() {
            return Ok(());
        }
        let narrow = extension.header.iter().all(|(at, data)| *at as usize + data.len() <= usize::from(u16::MAX));
        let mut payload = Vec::new();
        for (at, data) in &extension.header {
            if narrow {
                payload.extend((*at as u16).to_le_bytes());
                payload.extend((data.len() as u16).to_le_bytes());
            } else {
                payload.extend(at.to_le_bytes());
                payload.extend((data.len() as u32).to_le_bytes());
            }
            payload.extend(data);
            payload.resize(align4(payload.len()), 0);
        }
        let record_type = if narrow { RecordType::ExtHdrUpdate } else { RecordType::ExtHdrUpdate32 };
        self.put(record_type, extension.origin, &payload)
    }

    /// EXT_INTRO: by number where the extension is there, else by name, which creates it.
    fn intro(&mut self, extension: &ExtensionChanges) -> Result<(), TransactionError> {
        let spec = &extension.spec;
        let name = spec.name.as_bytes();
        let known = self.numbers.find(name);
        let current = known.and_then(|number| self.numbers.extensions.get(number)).map_or(0, |(_, id)| *id);
        let reset_id = match extension.generation {
            Generation::Current => current,
            Generation::Only(reset_id) => reset_id,
        };
        self.numbers.number(name, reset_id);
        let written_name = if known.is_some() { &[] } else { name };
        let raw = RawExtIntro {
            ext_id: known.map_or(ExtIntro::BY_NAME, |number| number as u32).into(),
            reset_id: reset_id.into(),
            hdr_size: spec.hdr_size.into(),
            record_size: spec.record_size.into(),
            record_align: spec.record_align.into(),
            flags: spec.intro_flags().into(),
            name_size: (written_name.len() as u16).into(),
        };
        let mut payload = raw.as_bytes().to_vec();
        payload.extend(written_name);
        self.put(RecordType::ExtIntro, extension.origin, &payload)
    }

    fn header_update(&mut self, patches: &[(u16, Vec<u8>)]) -> Result<(), TransactionError> {
        let mut payload = Vec::new();
        for (offset, data) in patches {
            payload.extend(offset.to_le_bytes());
            payload.extend((data.len() as u16).to_le_bytes());
            payload.extend(data);
            payload.resize(align4(payload.len()), 0);
        }
        if payload.is_empty() { Ok(()) } else { self.put(RecordType::HeaderUpdate, Origin::External, &payload) }
    }

    fn messages(&mut self, transaction: &Transaction) -> Result<(), TransactionError> {
        if !transaction.appends.is_empty() {
            let appends = transaction.appends.iter().map(|(uid, flags)| RawAppend {
                uid: uid.value().into(),
                flags: flags.0,
                unused: [0; 3],
            });
            let appends: Vec<_> = appends.collect();
            self.put(RecordType::Append, transaction.appends_origin, appends.as_bytes())?;
        }
        for record in &transaction.flags {
            self.flag_update(record)?;
        }
        for extension in transaction.extensions.iter().filter(|e| !e.records.is_empty()) {
            self.intro(extension)?;
            let size = usize::from(extension.spec.record_size);
            // The last value for a UID is the one that counts.
            let records: BTreeMap<_, _> = extension.records.iter().map(|(uid, data)| (*uid, data)).collect();
            let mut payload = Vec::with_capacity(records.len() * (4 + align4(size)));
            for (uid, data) in records {
                payload.extend(uid.value().to_le_bytes());
                let start = payload.len();
                payload.extend(data);
                payload.resize(start + align4(size), 0);
            }
            self.put(RecordType::ExtRecUpdate, extension.origin, &payload)?;
        }
        for extension in transaction.extensions.iter().filter(|e| !e.increments.is_empty()) {
            self.increments(extension)?;
        }
        for change in &transaction.keywords {
            self.keyword_change(change)?;
        }
        self.modseq_update(&transaction.modseqs, transaction.min_modseq)?;
        self.expunges(transaction)
    }

    fn flag_update(&mut self, record: &FlagRecord) -> Result<(), TransactionError> {
        let ranges = |(change, uids): &(super::FlagChange, UidSet)| {
            let change = *change;
            uids.ranges().map(move |range| (range, change)).collect::<Vec<_>>()
        };
        let mut entries: Vec<_> = record.entries.iter().flat_map(ranges).collect();
        entries.sort_unstable_by_key(|(range, _)| *range.start());
        let updates = entries.into_iter().map(|(range, change)| RawFlagUpdate {
            uid1: range.start().value().into(),
            uid2: range.end().value().into(),
            add: change.add.0,
            remove: change.remove.0,
            modseq_inc: change.count_modseq.into(),
            unused: 0,
        });
        let updates: Vec<_> = updates.collect();
        self.put(RecordType::FlagUpdate, record.origin, updates.as_bytes())
    }

    fn increments(&mut self, extension: &ExtensionChanges) -> Result<(), TransactionError> {
        self.intro(extension)?;
        let mut sums: BTreeMap<Uid, i32> = BTreeMap::new();
        for &(uid, diff) in &extension.increments {
            let sum = sums.entry(uid).or_default();
            *sum = sum.checked_add(diff).ok_or(TransactionError::Increment { uid })?;
        }
        let increments =
            sums.into_iter().map(|(uid, diff)| RawIncrement { uid: uid.value().into(), diff: diff.into() });
        let increments: Vec<_> = increments.collect();
        self.put(RecordType::ExtAtomicInc, extension.origin, increments.as_bytes())
    }

    fn keyword_change(&mut self, change: &KeywordChange) -> Result<(), TransactionError> {
        let mut payload = Vec::new();
        let record_type = match &change.what {
            Some((action, keyword)) => {
                // Its first use creates the extension that holds the bits.
                self.numbers.number(names::KEYWORDS, 0);
                let name = keyword.as_str().as_bytes();
                payload.extend([u8::from(*action == KeywordAction::Remove), 0]);
                payload.extend((name.len() as u16).to_le_bytes());
                payload.extend(name);
                payload.resize(align4(payload.len()), 0);
                RecordType::KeywordUpdate
            }
            None => RecordType::KeywordReset,
        };
        for range in change.uids.ranges() {
            let raw = RawUidRange { uid1: range.start().value().into(), uid2: range.end().value().into() };
            payload.extend(raw.as_bytes());
        }
        self.put(record_type, change.origin, &payload)
    }

    fn modseq_update(&mut self, modseqs: &[(Uid, ModSeq)], min: Option<ModSeq>) -> Result<(), TransactionError> {
        let mut largest: BTreeMap<u32, u64> = BTreeMap::new();
        let all = modseqs.iter().map(|(uid, modseq)| (uid.value(), modseq.value()));
        for (uid, modseq) in all.chain(min.map(|modseq| (0, modseq.value()))) {
            let entry = largest.entry(uid).or_default();
            *entry = modseq.max(*entry);
        }
        let updates = largest.into_iter().map(|(uid, modseq)| RawModseqUpdate {
            uid: uid.into(),
            low: (modseq as u32).into(),
            high: ((modseq >> 32) as u32).into(),
        });
        let updates: Vec<_> = updates.collect();
        if updates.is_empty() {
            return Ok(());
        }
        self.put(RecordType::ModseqUpdate, Origin::External, updates.as_bytes())
    }

    fn expunges(&mut self, transaction: &Transaction) -> Result<(), TransactionError> {
        let requests = transaction.expunge_requests.iter();
        let requests: Vec<_> = requests.map(|uid| RawExpungeGuid { uid: uid.value().into(), guid: [0; 16] }).collect();
        if !requests.is_empty() {
            self.put(RecordType::ExpungeGuid, Origin::Internal, requests.as_bytes())?;
        }
        let done: BTreeMap<_, _> = transaction.expunges.iter().copied().collect();
        let done: Vec<_> =
            done.into_iter().map(|(uid, guid)| RawExpungeGuid { uid: uid.value().into(), guid: guid.0 }).collect();
        if !done.is_empty() {
            self.put(RecordType::ExpungeGuid, Origin::External, done.as_bytes())?;
        }
        Ok(())
    }

    fn epilogue(&mut self, transaction: &Transaction) -> Result<(), TransactionError> {
        self.header_update(&transaction.header_after)?;
        if let Some(origin) = transaction.delete {
            self.put(RecordType::IndexDeleted, origin, &[0; 4])?;
        }
        Ok(())
    }
}
