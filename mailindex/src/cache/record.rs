//! Records and their chains (`docs/formats/cache.md`, "Records").

use std::ops::Range;

use super::{CacheDamageKind, CacheError, FieldKind, Fields, Window, window::read_exact};
use crate::offset_encoding::align4;

/// Largest record that is read, in bytes. Dovecot writes up to 64 KiB by default.
pub const RECORD_SIZE_MAX: usize = 16 << 20;
/// Most links of one message's chain that are followed. Real ones have up to seven.
pub const CHAIN_LEN_MAX: usize = 1000;

const RECORD_HEADER_SIZE: usize = 8;

/// What a disk writes or loses at once. A cache is not synced: after a power cut it may have its length, and zeros in it.
const SECTOR_SIZE: usize = 512;

/// One record of a message.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it begins.
    pub offset: u32,
    /// The record before it; 0: none.
    pub prev_offset: u32,
    body: &'a [u8],
}

/// Reads one record.
pub fn read_record<W: Window + ?Sized>(window: &mut W, offset: u32) -> Result<Record<'_>, CacheError<W::Error>> {
    let truncated = CacheDamageKind::Truncated;
    let head = read_exact(window, offset, RECORD_HEADER_SIZE)?;
    let &[p0, p1, p2, p3, s0, s1, s2, s3] = head.first_chunk::<RECORD_HEADER_SIZE>().ok_or(truncated.at(offset))?;
    let (prev_offset, size) = (u32::from_le_bytes([p0, p1, p2, p3]), u32::from_le_bytes([s0, s1, s2, s3]));
    if (size as usize) < RECORD_HEADER_SIZE || size as usize > RECORD_SIZE_MAX || !size.is_multiple_of(4) {
        return Err(CacheDamageKind::Size(size).at(offset));
    }
    if prev_offset != 0 && prev_offset >= offset {
        return Err(CacheDamageKind::Pointer(prev_offset).at(offset));
    }
    let record = read_exact(window, offset, size as usize)?;
    let body = record.get(RECORD_HEADER_SIZE..).ok_or(truncated.at(offset))?;
    Ok(Record { offset, prev_offset, body })
}

impl<'a> Record<'a> {
    /// Bytes of the whole record.
    pub fn size(&self) -> u32 {
        (RECORD_HEADER_SIZE + self.body.len()) as u32
    }

    /// Its values with the numbers of their fields.
    pub fn values(
        &self,
        fields: &'a Fields,
    ) -> impl Iterator<Item = Result<(u32, &'a [u8]), CacheDamageKind>> + use<'a> {
        let (mut rest, mut zeros) = (self.body, 0);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let value = split_value(rest, fields).and_then(|(number, value, after)| {
                // In a row of zeros the first field is there again and again.
                zeros += u32::from(number == 0);
                let kind = fields.get(number).map(|field| field.kind);
                if zeros > 1 || kind.is_some_and(|kind| has_lost_bytes(value, kind)) {
                    return Err(CacheDamageKind::Zeros);
                }
                Ok((number, value, after))
            });
            rest = value.as_ref().map_or(&[], |(_, _, rest)| rest);
            Some(value.map(|(number, value, _)| (number, value)))
        })
    }

    /// Whether the disk may have lost a value, or its end, from a sector's beginning on: it cannot be told from a true one
    /// then, and is not believed. (Of a number that a sector's beginning divides, the upper half is nearly always zero.)
    fn is_doubtful(&self, value: &[u8], kind: FieldKind) -> bool {
        let before = (value.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize);
        let at = self.offset as usize + RECORD_HEADER_SIZE + before;
        let end = at + value.len();
        // The last sector that it reaches into.
        let sector = end.saturating_sub(1) / SECTOR_SIZE * SECTOR_SIZE;
        let lost = value.get(sector.saturating_sub(at)..).unwrap_or_default();
        let is_cut = sector == at || sector > at && kind == FieldKind::Variable;
        is_cut && matches!(kind, FieldKind::Fixed | FieldKind::Variable) && !lost.is_empty() && is_zero(lost)
    }
}

/// Whether zeros stand where no writer puts them.
fn has_lost_bytes(value: &[u8], kind: FieldKind) -> bool {
    match kind {
        FieldKind::String => value.contains(&0),
        // After the line numbers and their zero comes text.
        FieldKind::Header => value.len() > 4 && value.last() == Some(&0),
        FieldKind::Variable => value.len() >= SECTOR_SIZE && value.chunks_exact(SECTOR_SIZE).any(is_zero),
        FieldKind::Fixed | FieldKind::Bitmask => false,
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn split_value<'a>(rest: &'a [u8], fields: &Fields) -> Result<(u32, &'a [u8], &'a [u8]), CacheDamageKind> {
    let truncated = CacheDamageKind::Truncated;
    let (number, mut rest) = rest.split_first_chunk::<4>().ok_or(truncated)?;
    let number = u32::from_le_bytes(*number);
    let field = fields.get(number).ok_or(CacheDamageKind::FieldNumber(number))?;
    let len = match field.size {
        Some(size) => size,
        None => {
            let (len, after) = rest.split_first_chunk::<4>().ok_or(truncated)?;
            rest = after;
            u32::from_le_bytes(*len)
        }
    };
    let value = rest.get(..len as usize).ok_or(truncated)?;
    let rest = rest.get(align4(len as usize)..).ok_or(truncated)?;
    Ok((number, value, rest))
}

/// A message's values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Values {
    /// Numbers of fields, ascending, and where in `bytes` their values are.
    places: Vec<(u32, Range<usize>)>,
    bytes: Vec<u8>,
}

impl Values {
    /// The value of a field; an empty one of a text or header field means "known to be absent".
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let at = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.bytes.get(self.places.get(at)?.1.clone())
    }

    /// All, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.places.iter().map(|(number, place)| (*number, self.bytes.get(place.clone()).unwrap_or_default()))
    }

    fn add(&mut self, number: u32, value: &[u8], kind: FieldKind) {
        let at = match self.places.last() {
            Some((last, _)) if *last >= number => self.places.binary_search_by_key(&number, |(number, _)| *number),
            _ => Err(self.places.len()),
        };
        match at {
            Ok(at) if kind == FieldKind::Bitmask => {
                let place = self.places.get(at).map_or(0..0, |(_, place)| place.clone());
                let there = self.bytes.get_mut(place).unwrap_or_default();
                there.iter_mut().zip(value).for_each(|(bits, more)| *bits |= more);
            }
            Ok(_) => {}
            Err(at) => {
                let begin = self.bytes.len();
                self.bytes.extend_from_slice(value);
                self.places.insert(at, (number, begin..self.bytes.len()));
            }
        }
    }
}

/// A message's values from its whole chain, newest record first: the first of a field counts, bitmasks are or-ed. Only
/// fields that are `wanted` are copied; once all `stop_after` of them are there the rest of the chain is not read
/// (`None`: to its end, as bitmasks need).
pub fn read_values<W: Window + ?Sized>(
    window: &mut W,
    fields: &Fields,
    offset: u32,
    wanted: impl Fn(u32) -> bool,
    stop_after: Option<usize>,
) -> Result<Values, CacheError<W::Error>> {
    let mut found = Values::default();
    let mut at = offset;
    for _ in 0..CHAIN_LEN_MAX {
        if at == 0 || stop_after.is_some_and(|enough| found.places.len() >= enough) {
            return Ok(found);
        }
        let record = read_record(window, at)?;
        for value in record.values(fields) {
            let (number, value) = value.map_err(|kind| kind.at(at))?;
            if let Some(field) = fields.get(number).filter(|_| wanted(number))
                && !record.is_doubtful(value, field.kind)
            {
                found.add(number, value, field.kind);
            }
        }
        at = record.prev_offset;
    }
    if at == 0 { Ok(found) } else { Err(CacheDamageKind::ChainLength.at(offset)) }
}

/// A record that cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnwritableRecord {
    /// No field has this number.
    #[error("no cache field has number {0}")]
    Field(u32),
    /// The value has not the field's size.
    #[error("a value of cache field {number} cannot have {len} bytes")]
    Length {
        /// The field.
        number: u32,
        /// Bytes of the value.
        len: usize,
    },
    /// The value has zeros that stand for lost bytes.
    #[error("a value of cache field {number} cannot have zeros there")]
    Zeros {
        /// The field.
        number: u32,
    },
    /// Larger than `max`.
    #[error("the cache record would be larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
}

/// A record of at most `max` bytes, to be appended at a multiple of 4 behind `prev_offset`.
pub fn encode_record(
    fields: &Fields,
    prev_offset: u32,
    values: &[(u32, &[u8])],
    max: usize,
) -> Result<Vec<u8>, UnwritableRecord> {
    let max = max.min(RECORD_SIZE_MAX);
    let mut out = prev_offset.to_le_bytes().to_vec();
    out.extend([0; 4]);
    for &(number, value) in values {
        let field = fields.get(number).ok_or(UnwritableRecord::Field(number))?;
        if field.size.is_some_and(|size| size as usize != value.len()) {
            return Err(UnwritableRecord::Length { number, len: value.len() });
        }
        if has_lost_bytes(value, field.kind) {
            return Err(UnwritableRecord::Zeros { number });
        }
        if out.len() + 8 + align4(value.len()) > max {
            return Err(UnwritableRecord::TooLarge { max });
        }
        out.extend(number.to_le_bytes());
        if field.size.is_none() {
            out.extend((value.len() as u32).to_le_bytes());
        }
        out.extend(value);
        out.resize(align4(out.len()), 0);
    }
    let size = (out.len() as u32).to_le_bytes();
    out.iter_mut().skip(4).zip(size).for_each(|(to, from)| *to = from);
    Ok(out)
}
