//! Where things lie in an index file: extension headers, and fields in a record.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

use super::SnapshotError;
use crate::{
    offset_encoding::align8,
    state::{EXT_HDR_SIZE_MAX, EXT_RECORD_SIZE_MAX, EXTENSIONS_MAX},
};

/// An extension header, byte for byte; name and header data follow, each padded to 8 (the name with these 16 bytes).
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub(crate) struct RawExtensionHeader {
    pub(crate) hdr_size: U32,
    pub(crate) reset_id: U32,
    pub(crate) record_offset: U16,
    pub(crate) record_size: U16,
    pub(crate) record_align: U16,
    pub(crate) name_size: U16,
}

const _: () = assert!(size_of::<RawExtensionHeader>() == 16);

/// One extension header with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtensionHeader<'a> {
    pub(crate) raw: &'a RawExtensionHeader,
    pub(crate) name: &'a [u8],
    pub(crate) hdr: &'a [u8],
}

/// The extension headers, checked one by one and against each other. `headers` is the file up to `header_size`.
pub(crate) fn extension_headers(
    headers: &[u8],
    base_header_size: usize,
    record_size: u32,
) -> Result<Vec<ExtensionHeader<'_>>, SnapshotError> {
    let mut found: Vec<ExtensionHeader<'_>> = Vec::new();
    let mut offset = align8(base_header_size);
    while offset < headers.len() {
        let broken = |what| SnapshotError::Extension { offset, what };
        let rest = headers.get(offset..).unwrap_or(&[]);
        let (extension, len) = split(rest).ok_or(broken("it runs past the header"))?;
        check(&extension, record_size).map_err(broken)?;
        if found.iter().any(|other| other.name == extension.name) {
            return Err(broken("the name is there twice"));
        }
        if found.len() >= EXTENSIONS_MAX {
            return Err(broken("too many extensions"));
        }
        found.push(extension);
        offset += len;
    }
    let mut fields: Vec<_> =
        found.iter().map(|e| (e.raw.record_offset.get(), e.raw.record_size.get())).filter(|f| f.1 > 0).collect();
    fields.sort_unstable();
    if fields.windows(2).any(|pair| matches!(pair, [a, b] if u32::from(a.0) + u32::from(a.1) > u32::from(b.0))) {
        return Err(SnapshotError::Extension { offset, what: "fields overlap" });
    }
    Ok(found)
}

fn split(rest: &[u8]) -> Option<(ExtensionHeader<'_>, usize)> {
    let (raw, names) = RawExtensionHeader::ref_from_prefix(rest).ok()?;
    let name = names.get(..usize::from(raw.name_size.get()))?;
    let hdr_at = align8(size_of::<RawExtensionHeader>() + name.len());
    let hdr_end = hdr_at.checked_add(raw.hdr_size.get() as usize)?;
    let hdr = rest.get(hdr_at..hdr_end)?;
    Some((ExtensionHeader { raw, name, hdr }, align8(hdr_end)))
}

fn check(extension: &ExtensionHeader<'_>, record_size: u32) -> Result<(), &'static str> {
    let raw = extension.raw;
    let (offset, size, align) = (raw.record_offset.get(), raw.record_size.get(), raw.record_align.get());
    if extension.name.is_empty() || extension.name.contains(&0) {
        return Err("no valid name");
    }
    if raw.hdr_size.get() > EXT_HDR_SIZE_MAX || size > EXT_RECORD_SIZE_MAX {
        return Err("sizes out of range");
    }
    if raw.hdr_size.get() == 0 && size == 0 {
        return Err("it has no size at all");
    }
    if size > 0 && !matches!(align, 1 | 2 | 4 | 8) {
        return Err("no valid alignment");
    }
    if size > 0 && (offset < FIELDS_START as u16 || u32::from(offset) + u32::from(size) > record_size) {
        return Err("the field lies outside the record");
    }
    Ok(())
}

/// UID and flags come first in each record.
pub(crate) const FIELDS_START: usize = 5;

/// Places fields of (size, align) in a record: largest alignment first, each at the first aligned place that is
/// free. Returns their offsets (0 for size 0) and the record's size.
pub(crate) fn place_fields(fields: &[(u16, u16)]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..fields.len()).filter(|&i| fields.get(i).is_some_and(|f| f.0 > 0)).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(fields.get(i).map_or(0, |f| f.1)));
    let mut offsets = vec![0; fields.len()];
    let mut used = vec![(0, FIELDS_START)];
    let mut record_align = 4;
    for i in order {
        let Some(&(size, align)) = fields.get(i) else { continue };
        let (size, align) = (usize::from(size), usize::from(align.max(1)));
        record_align = record_align.max(align);
        let mut at = 0;
        let mut place = used.len();
        for (index, &(start, end)) in used.iter().enumerate() {
            if usize::next_multiple_of(at, align) + size <= start {
                place = index;
                break;
            }
            at = end;
        }
        let at = at.next_multiple_of(align);
        used.insert(place, (at, at + size));
        if let Some(offset) = offsets.get_mut(i) {
            *offset = at;
        }
    }
    let end = used.last().map_or(FIELDS_START, |&(_, end)| end);
    (offsets, end.next_multiple_of(record_align))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_real_layout() {
        // dbox-hdr, modseq, cache, keywords: the annotated example of the format page.
        let (offsets, size) = place_fields(&[(0, 0), (8, 8), (4, 4), (3, 1)]);
        assert_eq!(offsets, [0, 8, 16, 5]);
        assert_eq!(size, 24);
        assert_eq!(place_fields(&[]), (vec![], 8));
    }

    proptest! {
        #[test]
        fn fields_are_aligned_and_apart(
            fields in prop::collection::vec((0u16..40, prop::sample::select(vec![1u16, 2, 4, 8])), 0..20)
        ) {
            let (offsets, size) = place_fields(&fields);
            let mut taken = vec![false; size];
            taken[..5].fill(true);
            for (&(len, align), &at) in fields.iter().zip(&offsets) {
                if len == 0 { continue }
                prop_assert_eq!(at % usize::from(align), 0);
                for slot in &mut taken[at..at + usize::from(len)] {
                    prop_assert!(!*slot, "fields overlap");
                    *slot = true;
                }
            }
        }
    }
}
