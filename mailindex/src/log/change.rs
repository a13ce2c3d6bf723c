//! What a record says: every type of `docs/formats/log.md`, borrowed from the record's bytes and checked once.

use std::ops::RangeInclusive;

use mailtypes::Uid;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{
    DamageKind, RawAppend, RawExpungeGuid, RawExtIntro, RawFlagUpdate, RawIncrement, RawModseqUpdate, RawUidRange,
    RecordType, TypeWord, attributes::Attributes,
};
use crate::offset_encoding::align4;

/// A decoded record. Whatever is in it has passed the checks that can be made without knowing the mailbox's state:
/// no empty payloads where something is required, ranges sorted, apart and valid.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Change<'a> {
    /// Messages are gone (external) or asked to be (internal).
    Expunge(&'a [RawUidRange]),
    /// New messages.
    Append(&'a [RawAppend]),
    /// Flags changed.
    FlagUpdate(&'a [RawFlagUpdate]),
    /// Bytes of the base header.
    HeaderUpdate(Patches<'a>),
    /// Extensions selected, the last one for the records that follow.
    ExtIntro(ExtIntros<'a>),
    /// A new generation of the selected extension.
    ExtReset {
        /// Its number.
        new_reset_id: u32,
        /// Whether the data stays.
        preserve: bool,
    },
    /// Bytes of the selected extension's header data (both widths of the record).
    ExtHdrUpdate(Patches<'a>),
    /// Fields of the selected extension, read with [`ext_records`].
    ExtRecUpdate(&'a [u8]),
    /// A keyword set or removed.
    KeywordUpdate(KeywordUpdate<'a>),
    /// All keywords removed.
    KeywordReset(&'a [RawUidRange]),
    /// Additions to the selected extension's fields.
    ExtAtomicInc(&'a [RawIncrement]),
    /// Messages are gone (external) or asked to be (internal), by UID and GUID.
    ExpungeGuid(&'a [RawExpungeGuid]),
    /// Modseqs given outright.
    ModseqUpdate(&'a [RawModseqUpdate]),
    /// The mailbox is deleted (external) or asked to be (internal).
    IndexDeleted,
    /// It is not, after all.
    IndexUndeleted,
    /// The next `size` bytes, from this record's first on, are one transaction.
    Boundary {
        /// Bytes.
        size: u32,
    },
    /// Mailbox attributes were changed.
    AttributeUpdate(Attributes<'a>),
    /// A type that this version does not know.
    Unknown,
}

/// A keyword set or removed on some messages.
#[derive(Clone, Copy, Debug)]
pub struct KeywordUpdate<'a> {
    /// Removed instead of set.
    pub remove: bool,
    /// The keyword's name, as spelled.
    pub name: &'a [u8],
    /// The messages.
    pub ranges: &'a [RawUidRange],
}

/// An extension introduction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExtIntro<'a> {
    /// The fixed part.
    pub raw: &'a RawExtIntro,
    /// The name; empty where the position says it all.
    pub name: &'a [u8],
}

impl ExtIntro<'_> {
    /// `ext_id` of an extension that is found by its name.
    pub const BY_NAME: u32 = u32::MAX;
    /// Flag: the sizes are minimums.
    pub const NO_SHRINK: u16 = 0x1;
}

/// The introductions in one record.
#[derive(Clone, Copy, Debug)]
pub struct ExtIntros<'a> {
    rest: &'a [u8],
}

impl<'a> ExtIntros<'a> {
    fn split(self) -> Option<(ExtIntro<'a>, Self)> {
        let (raw, rest) = RawExtIntro::ref_from_prefix(self.rest).ok()?;
        let name = rest.get(..usize::from(raw.name_size.get()))?;
        let rest = rest.get(align4(name.len())..)?;
        Some((ExtIntro { raw, name }, Self { rest }))
    }
}

impl<'a> Iterator for ExtIntros<'a> {
    type Item = ExtIntro<'a>;
    fn next(&mut self) -> Option<ExtIntro<'a>> {
        let (intro, rest) = self.split()?;
        *self = rest;
        Some(intro)
    }
}

/// Pieces of header data: where, and what.
#[derive(Clone, Copy, Debug)]
pub struct Patches<'a> {
    rest: &'a [u8],
    wide: bool,
}

impl<'a> Patches<'a> {
    fn split(self) -> Option<((u32, &'a [u8]), Self)> {
        let (offset, size, rest) = if self.wide {
            let (&[a, b, c, d, e, f, g, h], rest) = self.rest.split_first_chunk::<8>()?;
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), rest)
        } else {
            let (&[a, b, c, d], rest) = self.rest.split_first_chunk::<4>()?;
            (u32::from(u16::from_le_bytes([a, b])), u32::from(u16::from_le_bytes([c, d])), rest)
        };
        let data = rest.get(..size as usize)?;
        let rest = rest.get(align4(data.len())..)?;
        Some(((offset, data), Self { rest, ..self }))
    }

    /// The new log tail, if this is the record that moves it.
    pub fn tail_offset(mut self) -> Option<u32> {
        match (self.next(), self.rest) {
            (Some((64, &[a, b, c, d])), []) => Some(u32::from_le_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

impl<'a> Iterator for Patches<'a> {
    type Item = (u32, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let (patch, rest) = self.split()?;
        *self = rest;
        Some(patch)
    }
}

/// The entries of an EXT_REC_UPDATE whose introduction gave this record size; `None` if they do not come out even.
pub fn ext_records(payload: &[u8], record_size: u16) -> Option<impl Iterator<Item = (u32, &[u8])>> {
    let size = usize::from(record_size);
    let stride = 4 + align4(size);
    if size == 0 || payload.is_empty() || !payload.len().is_multiple_of(stride) {
        return None;
    }
    Some(payload.chunks_exact(stride).filter_map(move |entry| {
        let (uid, data) = entry.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*uid), data.get(..size)?))
    }))
}

impl<'a> Change<'a> {
    /// Decodes and checks a payload.
    pub fn decode(type_word: TypeWord, payload: &'a [u8]) -> Result<Self, DamageKind> {
        if type_word.is_unprotected_expunge() {
            return Err(DamageKind::UnprotectedExpunge);
        }
        let Some(record_type) = type_word.record_type() else { return Ok(Self::Unknown) };
        Ok(match record_type {
            RecordType::Expunge => Self::Expunge(ranges(payload)?),
            RecordType::Append => Self::Append(entries(payload)?),
            RecordType::FlagUpdate => Self::FlagUpdate(flag_updates(payload)?),
            RecordType::HeaderUpdate => Self::HeaderUpdate(patches(payload, false)?),
            RecordType::ExtHdrUpdate => Self::ExtHdrUpdate(patches(payload, false)?),
            RecordType::ExtHdrUpdate32 => Self::ExtHdrUpdate(patches(payload, true)?),
            RecordType::ExtIntro => Self::ExtIntro(ext_intros(payload)?),
            RecordType::ExtReset => ext_reset(payload)?,
            RecordType::ExtRecUpdate => Self::ExtRecUpdate(payload),
            RecordType::KeywordUpdate => Self::KeywordUpdate(keyword_update(payload)?),
            RecordType::KeywordReset => Self::KeywordReset(ranges(payload)?),
            RecordType::ExtAtomicInc => Self::ExtAtomicInc(entries(payload)?),
            RecordType::ExpungeGuid => Self::ExpungeGuid(expunge_guids(payload)?),
            RecordType::ModseqUpdate => Self::ModseqUpdate(entries(payload)?),
            RecordType::IndexDeleted => Self::IndexDeleted,
            RecordType::IndexUndeleted => Self::IndexUndeleted,
            RecordType::Boundary => match *payload {
                [a, b, c, d] => Self::Boundary { size: u32::from_le_bytes([a, b, c, d]) },
                _ => return Err(DamageKind::Payload),
            },
            RecordType::AttributeUpdate => {
                Self::AttributeUpdate(Attributes::parse(payload).ok_or(DamageKind::Payload)?)
            }
        })
    }
}

fn entries<T: FromBytes + Immutable + KnownLayout + Unaligned>(payload: &[u8]) -> Result<&[T], DamageKind> {
    match <[T]>::ref_from_bytes(payload) {
        Ok([]) | Err(_) => Err(DamageKind::Payload),
        Ok(entries) => Ok(entries),
    }
}

fn check_ranges(ranges: impl Iterator<Item = (u32, u32)>) -> Result<(), DamageKind> {
    let mut last = 0;
    for (uid1, uid2) in ranges {
        if uid1 <= last || uid1 > uid2 {
            return Err(DamageKind::UidRange { uid1, uid2 });
        }
        last = uid2;
    }
    Ok(())
}

fn ranges(payload: &[u8]) -> Result<&[RawUidRange], DamageKind> {
    let ranges: &[RawUidRange] = entries(payload)?;
    check_ranges(ranges.iter().map(|r| (r.uid1.get(), r.uid2.get())))?;
    Ok(ranges)
}

fn flag_updates(payload: &[u8]) -> Result<&[RawFlagUpdate], DamageKind> {
    let updates: &[RawFlagUpdate] = entries(payload)?;
    check_ranges(updates.iter().map(|u| (u.uid1.get(), u.uid2.get())))?;
    Ok(updates)
}

fn expunge_guids(payload: &[u8]) -> Result<&[RawExpungeGuid], DamageKind> {
    let expunges: &[RawExpungeGuid] = entries(payload)?;
    match expunges.iter().find(|e| e.uid.get() == 0) {
        Some(_) => Err(DamageKind::UidRange { uid1: 0, uid2: 0 }),
        None => Ok(expunges),
    }
}

fn patches(payload: &[u8], wide: bool) -> Result<Patches<'_>, DamageKind> {
    let patches = Patches { rest: payload, wide };
    let mut walk = patches;
    while walk.next().is_some() {}
    if payload.is_empty() || !walk.rest.is_empty() { Err(DamageKind::Payload) } else { Ok(patches) }
}

fn ext_intros(payload: &[u8]) -> Result<ExtIntros<'_>, DamageKind> {
    let intros = ExtIntros { rest: payload };
    let mut walk = intros;
    while walk.next().is_some() {}
    if payload.is_empty() || !walk.rest.is_empty() { Err(DamageKind::Payload) } else { Ok(intros) }
}

fn ext_reset<'a>(payload: &[u8]) -> Result<Change<'a>, DamageKind> {
    let (id, rest) = payload.split_first_chunk::<4>().ok_or(DamageKind::Payload)?;
    let preserve = rest.first().is_some_and(|&byte| byte != 0);
    Ok(Change::ExtReset { new_reset_id: u32::from_le_bytes(*id), preserve })
}

fn keyword_update(payload: &[u8]) -> Result<KeywordUpdate<'_>, DamageKind> {
    let (&[action, _, low, high], rest) = payload.split_first_chunk::<4>().ok_or(DamageKind::Payload)?;
    let name_size = usize::from(u16::from_le_bytes([low, high]));
    let name = rest.get(..name_size).ok_or(DamageKind::Payload)?;
    if action > 1 || name.is_empty() || name.contains(&0) {
        return Err(DamageKind::Payload);
    }
    let uids = rest.get(align4(name_size)..).ok_or(DamageKind::Payload)?;
    Ok(KeywordUpdate { remove: action == 1, name, ranges: ranges(uids)? })
}

impl RawUidRange {
    /// The range; `None` if it names UID 0.
    pub fn range(&self) -> Option<RangeInclusive<Uid>> {
        Some(Uid::new(self.uid1.get())?..=Uid::new(self.uid2.get())?)
    }
}
