//! Blocks of fields: which number is which value (`docs/formats/cache.md`, "Field blocks").

use std::{collections::HashMap, sync::Arc};

use super::{CacheDamageKind, CacheError, RawCacheHeader, Window, window::read_exact};
use crate::offset_encoding::{align4, decode_offset, encode_offset};

/// Most fields that one file can have.
pub const FIELDS_MAX: usize = 4096;
/// Longest name of a field, in bytes.
pub const NAME_LEN_MAX: usize = 1024;
/// Most blocks that are followed.
const BLOCKS_MAX: usize = 1000;
/// Bytes before the arrays.
const BLOCK_HEADER_SIZE: usize = 12;
/// Size of a field whose values have each a length of their own.
const VARIABLE: u32 = u32::MAX;

/// How a field's values are stored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum FieldKind {
    /// A fixed number of bytes.
    Fixed = 0,
    /// Any bytes.
    Variable = 1,
    /// Text.
    String = 2,
    /// A fixed number of bytes; all values of a message are or-ed.
    Bitmask = 3,
    /// Lines of the message's header.
    Header = 4,
}

impl FieldKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Fixed, Self::Variable, Self::String, Self::Bitmask, Self::Header].into_iter().find(|&k| k as u8 == byte)
    }
}

/// Whether a field's values are kept.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Decision(pub u8);

impl Decision {
    /// Not stored for new mails.
    pub const NO: Self = Self(0);
    /// Kept for about a week.
    pub const TEMP: Self = Self(1);
    /// Kept.
    pub const YES: Self = Self(2);
    /// Or-ed in: set by configuration.
    pub const FORCED: u8 = 0x80;

    /// Without the mark of configuration.
    pub fn base(self) -> Self {
        Self(self.0 & !Self::FORCED)
    }

    /// Whether values are stored for new mails.
    pub fn stores(self) -> bool {
        matches!(self.base(), Self::TEMP | Self::YES)
    }
}

/// One field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its name, as first spelled.
    pub name: Arc<[u8]>,
    /// How values are stored.
    pub kind: FieldKind,
    /// Bytes of each value; `None`: each has its own length.
    pub size: Option<u32>,
    /// Whether values are kept.
    pub decision: Decision,
    /// When a client last wanted it, Unix seconds.
    pub last_used: u32,
}

impl Field {
    /// A field whose values have lengths of their own.
    pub fn variable(name: &str, kind: FieldKind, decision: Decision) -> Self {
        Self { name: name.as_bytes().into(), kind, size: None, decision, last_used: 0 }
    }

    /// A field of a fixed size.
    pub fn fixed(name: &str, kind: FieldKind, size: u32, decision: Decision) -> Self {
        Self { name: name.as_bytes().into(), kind, size: Some(size), decision, last_used: 0 }
    }
}

/// A field that cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnusableField {
    /// Its name is empty, too long, has a NUL, or another field has it too.
    #[error("cache field {0} has no usable name")]
    Name(usize),
    /// There are too many.
    #[error("{0} cache fields are too many")]
    Count(usize),
}

/// The 15 fields that Dovecot registers in a new file, in its order, with the decisions that it begins with.
pub fn standard_fields() -> Vec<Field> {
    use FieldKind::{Bitmask, Fixed, String, Variable};
    vec![
        Field::fixed("flags", Bitmask, 4, Decision::NO),
        Field::fixed("date.sent", Fixed, 8, Decision::NO),
        Field::fixed("date.received", Fixed, 4, Decision::NO),
        Field::fixed("date.save", Fixed, 4, Decision::NO),
        Field::fixed("size.virtual", Fixed, 8, Decision::NO),
        Field::fixed("size.physical", Fixed, 8, Decision::NO),
        Field::variable("imap.body", String, Decision::NO),
        Field::variable("imap.bodystructure", String, Decision::NO),
        Field::variable("imap.envelope", String, Decision(Decision::FORCED)),
        Field::variable("pop3.uidl", String, Decision::NO),
        Field::fixed("pop3.order", Fixed, 4, Decision::NO),
        Field::variable("guid", String, Decision::NO),
        Field::variable("mime.parts", Variable, Decision::NO),
        Field::variable("binary.parts", Variable, Decision::NO),
        Field::variable("body.snippet", Variable, Decision::NO),
    ]
}

/// The fields of a file: its newest block.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    offset: u32,
    /// The block as it stands in the file.
    block: Box<[u8]>,
    fields: Vec<Field>,
    by_name: HashMap<Box<[u8]>, u32>,
}

impl Fields {
    /// Follows the chain of blocks to the newest. Without any block there are no fields.
    pub fn read<W: Window + ?Sized>(window: &mut W, header: &RawCacheHeader) -> Result<Self, CacheError<W::Error>> {
        match header.fields_offset() {
            Some(offset) => Self::read_from(window, offset),
            None => Ok(Self::default()),
        }
    }

    /// The same, from a block that is known already: fields are only added in newer ones.
    pub fn read_from<W: Window + ?Sized>(window: &mut W, start: u32) -> Result<Self, CacheError<W::Error>> {
        let mut offset = start;
        for _ in 0..BLOCKS_MAX {
            let header = block_header(window, offset)?;
            match header.next {
                Some(next) if next <= offset => return Err(CacheDamageKind::Pointer(next).at(offset)),
                Some(next) => offset = next,
                None => return Self::read_block(window, offset, &header),
            }
        }
        Err(CacheDamageKind::ChainLength.at(start))
    }

    /// How many blocks the file has, of which the newest counts.
    pub fn count_blocks<W: Window + ?Sized>(
        window: &mut W,
        header: &RawCacheHeader,
    ) -> Result<usize, CacheError<W::Error>> {
        let (mut at, mut count) = (header.fields_offset(), 0);
        while let Some(offset) = at.filter(|_| count < BLOCKS_MAX) {
            at = block_header(window, offset)?.next.filter(|next| *next > offset);
            count += 1;
        }
        Ok(count)
    }

    fn read_block<W: Window + ?Sized>(
        window: &mut W,
        offset: u32,
        header: &BlockHeader,
    ) -> Result<Self, CacheError<W::Error>> {
        let block = read_exact(window, offset, header.size as usize)?;
        let wrong = |what| CacheDamageKind::Fields(what).at(offset);
        let short = || wrong("it is too short for its fields");
        let n = header.count as usize;
        let body = block.get(BLOCK_HEADER_SIZE..).ok_or_else(short)?;
        let (last_used, body) = body.split_at_checked(n * 4).ok_or_else(short)?;
        let (sizes, body) = body.split_at_checked(n * 4).ok_or_else(short)?;
        let (kinds, body) = body.split_at_checked(n).ok_or_else(short)?;
        let (decisions, names) = body.split_at_checked(n).ok_or_else(short)?;
        let mut all =
            Self { offset, block: block.into(), fields: Vec::with_capacity(n), by_name: HashMap::with_capacity(n) };
        let numbers =
            |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect::<Vec<_>>();
        let fixed = numbers(last_used).into_iter().zip(numbers(sizes)).zip(kinds.iter().zip(decisions));
        let mut names = names.split_inclusive(|&byte| byte == 0);
        for ((last_used, size), (&kind, &decision)) in fixed {
            let name = names.next().and_then(|name| name.strip_suffix(&[0])).ok_or_else(short)?;
            let kind = FieldKind::from_byte(kind).ok_or_else(|| wrong("unknown type"))?;
            if name.is_empty() || name.len() > NAME_LEN_MAX {
                return Err(wrong("no usable name"));
            }
            let fixed_size = (size != VARIABLE).then_some(size);
            if matches!(kind, FieldKind::Fixed | FieldKind::Bitmask) != fixed_size.is_some() {
                return Err(wrong("type and size contradict each other"));
            }
            let decision = Decision(decision);
            all.push(Field { name: name.into(), kind, size: fixed_size, decision, last_used });
        }
        if all.by_name.len() < n { Err(wrong("a name is there twice")) } else { Ok(all) }
    }

    fn push(&mut self, field: Field) {
        let number = self.fields.len() as u32;
        self.by_name.entry(field.name.to_ascii_lowercase().into()).or_insert(number);
        self.fields.push(field);
    }

    /// Where the newest block is; 0: there is none.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// The newest block as it stood in the file: as long as it stands so, these are the fields.
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    /// The fields by number.
    pub fn all(&self) -> &[Field] {
        &self.fields
    }

    /// A field by number.
    pub fn get(&self, number: u32) -> Option<&Field> {
        self.fields.get(number as usize)
    }

    /// A field's number by name, whatever its case.
    pub fn find(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name.to_ascii_lowercase().as_slice()).copied()
    }

    /// A block that holds these fields, padded. To put it in force, append it at a multiple of 4 and write
    /// [`Self::pointer`] to it over the first four bytes of the block before (or into the file's header).
    pub fn encode_block(fields: &[Field]) -> Result<Vec<u8>, UnusableField> {
        if fields.len() > FIELDS_MAX {
            return Err(UnusableField::Count(fields.len()));
        }
        let mut seen = std::collections::HashSet::new();
        let usable = |name: &[u8]| !name.is_empty() && name.len() <= NAME_LEN_MAX && !name.contains(&0);
        let bad = fields.iter().position(|f| !usable(&f.name) || !seen.insert(f.name.to_ascii_lowercase()));
        if let Some(bad) = bad {
            return Err(UnusableField::Name(bad));
        }
        let mut out = vec![0; 8];
        out.extend((fields.len() as u32).to_le_bytes());
        fields.iter().for_each(|field| out.extend(field.last_used.to_le_bytes()));
        fields.iter().for_each(|field| out.extend(field.size.unwrap_or(VARIABLE).to_le_bytes()));
        out.extend(fields.iter().map(|field| field.kind as u8));
        out.extend(fields.iter().map(|field| field.decision.0));
        for field in fields {
            out.extend(&*field.name);
            out.push(0);
        }
        let size = (out.len() as u32).to_le_bytes();
        out.iter_mut().skip(4).zip(size).for_each(|(to, from)| *to = from);
        out.resize(align4(out.len()), 0);
        Ok(out)
    }

    /// The four bytes that point to a block at `offset`; `None` if no block can be there.
    pub fn pointer(offset: u32) -> Option<[u8; 4]> {
        encode_offset(offset)
    }

    /// Where the last_used time of a field stands in the file: it may be written over in place.
    pub fn last_used_offset(&self, number: u32) -> Option<u64> {
        self.get(number)?;
        Some(u64::from(self.offset) + BLOCK_HEADER_SIZE as u64 + u64::from(number) * 4)
    }

    /// Where the decision of a field stands in the file: it may be written over in place.
    pub fn decision_offset(&self, number: u32) -> Option<u64> {
        self.get(number)?;
        let arrays = self.fields.len() as u64 * 9;
        Some(u64::from(self.offset) + BLOCK_HEADER_SIZE as u64 + arrays + u64::from(number))
    }
}

struct BlockHeader {
    next: Option<u32>,
    size: u32,
    count: u32,
}

fn block_header<W: Window + ?Sized>(window: &mut W, offset: u32) -> Result<BlockHeader, CacheError<W::Error>> {
    let truncated = CacheDamageKind::Truncated;
    let bytes = read_exact(window, offset, BLOCK_HEADER_SIZE)?;
    let &[n0, n1, n2, n3, s0, s1, s2, s3, c0, c1, c2, c3] =
        bytes.first_chunk::<BLOCK_HEADER_SIZE>().ok_or(truncated.at(offset))?;
    let next = decode_offset([n0, n1, n2, n3]).filter(|&next| next != 0);
    let (size, count) = (u32::from_le_bytes([s0, s1, s2, s3]), u32::from_le_bytes([c0, c1, c2, c3]));
    if count as usize > FIELDS_MAX {
        return Err(CacheDamageKind::FieldCount(count).at(offset));
    }
    if (size as usize) < BLOCK_HEADER_SIZE || size as usize > BLOCK_HEADER_SIZE + FIELDS_MAX * (NAME_LEN_MAX + 11) {
        return Err(CacheDamageKind::Size(size).at(offset));
    }
    Ok(BlockHeader { next, size, count })
}
