//! A log, record by record.

use std::fmt;

use super::entry::{Entry, Sink, Value};
use crate::{
    log::{
        Change, ExtIntro, LogStop, ModseqCounter, Origin, RawLogHeader, RawUidRange, Record, RecordType, Records,
        TypeWord, complete_end, ext_records,
    },
    offset_encoding::decode_offset,
};

pub(super) fn dump(file: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let header = match RawLogHeader::parse(file) {
        Ok(header) => header,
        Err(error) => {
            out(Entry::problem(0u64, error))?;
            return out(Entry::at("bytes", 0u64).with("size", file.len()));
        }
    };
    out(header_entry(&header))?;
    if let Err(error) = header.check_usable() {
        out(Entry::problem(0u64, error))?;
    }
    let start = header.records_start();
    let records = file.get(start as usize..).unwrap_or(&[]);
    let mut dumper =
        Dumper { counter: ModseqCounter::new(header.initial_modseq.get(), header.minor_version), record_size: None };
    let mut rest = (records, start);
    loop {
        let damage = dumper.records(rest.0, rest.1, out)?;
        let Some(at) = damage else { break };
        // Behind damage, the next place where a record could begin is tried.
        let Some(next) = resume(file, at) else { break };
        out(Entry::at("resumed", next).with("skipped", next - at))?;
        rest = (file.get(next as usize..).unwrap_or(&[]), next);
    }
    let (end, stop) = complete_end(records, start);
    let entry = Entry::at("end", file.len() as u64).with("complete_to", end);
    match stop {
        None => out(entry.with("state", "complete")),
        Some(LogStop::Torn { .. }) => out(entry.with("state", "torn")),
        Some(LogStop::Corrupt(_)) => out(entry.with("state", "corrupt")),
    }
}

fn header_entry(header: &RawLogHeader) -> Entry {
    Entry::at("log-header", 0u64)
        .with("version", format!("{}.{}", header.major_version, header.minor_version))
        .with("hdr_size", header.hdr_size.get())
        .with("indexid", header.indexid.get())
        .with("file_seq", header.file_seq.get())
        .with("prev_file_seq", header.prev_file_seq.get())
        .with("prev_file_offset", header.prev_file_offset.get())
        .with("create_stamp", header.create_stamp.get())
        .with("initial_modseq", header.initial_modseq.get())
        .with("compat_flags", header.compat_flags)
}

/// The next offset at which a complete record of a known type stands.
fn resume(file: &[u8], damage: u32) -> Option<u32> {
    let mut at = damage as usize + 4;
    while let Some(&[s0, s1, s2, s3, t0, t1, t2, t3]) = file.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let known = TypeWord(u32::from_le_bytes([t0, t1, t2, t3])).record_type().is_some();
        let size = decode_offset([s0, s1, s2, s3]).filter(|&size| size > 8 && known);
        if size.is_some_and(|size| file.len() - at >= size as usize) {
            return u32::try_from(at).ok();
        }
        at += 4;
    }
    None
}

struct Dumper {
    counter: ModseqCounter,
    /// As the last introduction gave it.
    record_size: Option<u16>,
}

impl Dumper {
    /// Dumps records up to an error, whose offset is returned.
    fn records(&mut self, bytes: &[u8], offset: u32, out: &mut Sink<'_>) -> Result<Option<u32>, fmt::Error> {
        for record in Records::new(bytes, offset) {
            match record {
                Ok(record) => self.record(&record, out)?,
                Err(stop) => {
                    out(Entry::problem(stop.offset(), stop))?;
                    return Ok(Some(stop.offset()));
                }
            }
        }
        Ok(None)
    }

    fn record(&mut self, record: &Record<'_>, out: &mut Sink<'_>) -> fmt::Result {
        let kind = record.type_word.record_type().map_or("unknown", RecordType::name);
        let mut entry = Entry::at(kind, record.offset).with("size", record.size());
        if record.origin() == Origin::External {
            entry = entry.with("external", true);
        }
        if record.type_word.is_sync() {
            entry = entry.with("sync", true);
        }
        let change = match record.change() {
            Ok(change) => change,
            Err(damage) => {
                let entry = entry.with("type_word", format!("{:08x}", record.type_word.0));
                out(entry.with("payload", Value::hex(record.payload)))?;
                return out(Entry::problem(record.offset, damage));
            }
        };
        let before = self.counter.value();
        self.counter.count(record, &change);
        if self.counter.value() != before {
            entry = entry.with("modseq", self.counter.value());
        }
        out(self.describe(entry, record, &change))
    }

    fn describe(&mut self, entry: Entry, record: &Record<'_>, change: &Change<'_>) -> Entry {
        match *change {
            Change::Expunge(uids) | Change::KeywordReset(uids) => entry.list("uids", ranges(uids)),
            Change::Append(appends) => entry.list(
                "messages",
                appends.iter().map(|a| Value::Object(vec![("uid", a.uid.get().into()), ("flags", a.flags.into())])),
            ),
            Change::FlagUpdate(updates) => entry.list(
                "updates",
                updates.iter().map(|u| {
                    Value::Object(vec![
                        ("uids", range(u.uid1.get(), u.uid2.get())),
                        ("add", u.add.into()),
                        ("remove", u.remove.into()),
                        ("modseq_inc", u.modseq_inc.into()),
                    ])
                }),
            ),
            Change::HeaderUpdate(patches) => match patches.tail_offset() {
                Some(tail) => entry.with("log_file_tail_offset", tail),
                None => entry.list("header", patches.map(patch)),
            },
            Change::ExtHdrUpdate(patches) => entry.list("header", patches.map(patch)),
            Change::ExtIntro(intros) => {
                let intros: Vec<_> = intros.map(|intro| self.intro(intro)).collect();
                entry.list("extensions", intros)
            }
            Change::ExtReset { new_reset_id, preserve } => {
                entry.with("new_reset_id", new_reset_id).with("preserve", preserve)
            }
            Change::ExtRecUpdate(payload) => match self.record_size.and_then(|size| ext_records(payload, size)) {
                Some(records) => {
                    let records =
                        records.map(|(uid, data)| Value::Object(vec![("uid", uid.into()), ("data", Value::hex(data))]));
                    entry.list("records", records)
                }
                None => entry.with("payload", Value::hex(payload)),
            },
            Change::KeywordUpdate(update) => entry
                .with("action", if update.remove { "remove" } else { "add" })
                .with("keyword", Value::bytes(update.name))
                .list("uids", ranges(update.ranges)),
            Change::ExtAtomicInc(increments) => entry.list(
                "increments",
                increments
                    .iter()
                    .map(|i| Value::Object(vec![("uid", i.uid.get().into()), ("diff", i.diff.get().into())])),
            ),
            Change::ExpungeGuid(expunges) => entry.list(
                "messages",
                expunges
                    .iter()
                    .map(|e| Value::Object(vec![("uid", e.uid.get().into()), ("guid", Value::hex(&e.guid))])),
            ),
            Change::ModseqUpdate(updates) => entry.list(
                "updates",
                updates.iter().map(|u| Value::Object(vec![("uid", u.uid.get().into()), ("modseq", u.modseq().into())])),
            ),
            Change::IndexDeleted | Change::IndexUndeleted => entry,
            Change::Boundary { size } => entry.with("transaction_size", size),
            Change::AttributeUpdate(attributes) => entry.list(
                "attributes",
                attributes.map(|a| {
                    Value::Object(vec![
                        ("set", a.set.into()),
                        ("shared", a.shared.into()),
                        ("name", Value::bytes(a.name)),
                        ("timestamp", a.timestamp.into()),
                        ("value_len", a.value_len.into()),
                    ])
                }),
            ),
            Change::Unknown => entry
                .with("type_word", format!("{:08x}", record.type_word.0))
                .with("payload", Value::hex(record.payload)),
        }
    }

    fn intro(&mut self, intro: ExtIntro<'_>) -> Value {
        let raw = intro.raw;
        self.record_size = Some(raw.record_size.get());
        let id = match raw.ext_id.get() {
            ExtIntro::BY_NAME => Value::from("new"),
            id => Value::from(id),
        };
        Value::Object(vec![
            ("id", id),
            ("name", Value::bytes(intro.name)),
            ("reset_id", raw.reset_id.get().into()),
            ("hdr_size", raw.hdr_size.get().into()),
            ("record_size", raw.record_size.get().into()),
            ("record_align", raw.record_align.get().into()),
            ("flags", raw.flags.get().into()),
        ])
    }
}

fn patch((offset, data): (u32, &[u8])) -> Value {
    Value::Object(vec![("offset", offset.into()), ("size", data.len().into()), ("data", Value::hex(data))])
}

fn range(uid1: u32, uid2: u32) -> Value {
    if uid1 == uid2 { Value::from(format!("{uid1}")) } else { Value::from(format!("{uid1}:{uid2}")) }
}

fn ranges(ranges: &[RawUidRange]) -> Vec<Value> {
    ranges.iter().map(|r| range(r.uid1.get(), r.uid2.get())).collect()
}
