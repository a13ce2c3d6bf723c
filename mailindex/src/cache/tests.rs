//! The annotated file of the format page, chains, and any bytes at all.

use proptest::prelude::*;

use super::*;

fn fields() -> Vec<Field> {
    let mut fields = standard_fields();
    fields.push(Field::variable("hdr.Date", FieldKind::Header, Decision::TEMP));
    fields
}

/// The page's example up to its first record.
fn example() -> Vec<u8> {
    let mut file = encode_new_file(0x6b02_77ab, 0x6b02_77ab, &fields()).unwrap();
    assert_eq!(file.len(), 0x184);
    assert_eq!(&file[0x1c..0x2c], b"\x80\x80\x80\x88\0\0\0\0\x62\x01\0\0\x10\0\0\0");
    assert_eq!(&file[0xac..0xbc], [3, 0, 0, 0, 0, 0, 2, 2, 2, 2, 0, 2, 1, 1, 1, 4]);
    let known = Fields::read(&mut &file[..], &RawCacheHeader::read(&mut &file[..]).unwrap()).unwrap();
    let part = MimePart {
        flags: 8,
        header_physical: 14,
        header_virtual: 16,
        body_physical: 5,
        body_virtual: 6,
        body_lines: 1,
        ..MimePart::default()
    };
    let parts = encode_mime_parts(&[part]);
    file.extend(encode_record(&known, 0, &[(0, &[0x30, 0, 0, 0]), (12, &parts)], 1000).unwrap());
    file
}

#[test]
fn the_annotated_example() {
    let file = example();
    assert_eq!(&file[0x184..0x1a0], b"\0\0\0\0\x40\0\0\0\0\0\0\0\x30\0\0\0\x0c\0\0\0\x28\0\0\0\x08\0\0\0");
    assert_eq!(file.len(), 0x1c4);
    let header = RawCacheHeader::read(&mut &file[..]).unwrap();
    assert_eq!(header.used_file_size.get(), 0x184);
    let fields = Fields::read(&mut &file[..], &header).unwrap();
    assert_eq!(fields.find(b"HDR.DATE"), Some(15));
    let values = read_values(&mut &file[..], &fields, 0x184, |_| true, None).unwrap();
    assert_eq!(values.get(0), Some(&[0x30, 0, 0, 0][..]));
    let parts = decode_mime_parts(values.get(12).unwrap()).unwrap();
    assert_eq!((parts.len(), parts[0].body_lines, parts[0].header_virtual), (1, 1, 16));
    assert_eq!(values.get(15), None);
}

#[test]
fn the_first_value_counts_and_bits_are_gathered() {
    let mut file = example();
    let header = RawCacheHeader::read(&mut &file[..]).unwrap();
    let fields = Fields::read(&mut &file[..], &header).unwrap();
    let newest = file.len() as u32;
    let date = encode_header(&HeaderValue { lines: vec![7], text: b"Date: x\n" });
    file.extend(encode_record(&fields, 0x184, &[(0, &[1, 0, 0, 0]), (15, &date), (12, b"new")], 1000).unwrap());
    let values = read_values(&mut &file[..], &fields, newest, |n| n != 15, None).unwrap();
    assert_eq!(values.get(0), Some(&[0x31, 0, 0, 0][..]));
    assert_eq!(values.get(12), Some(&b"new"[..]));
    assert_eq!(values.get(15), None, "not wanted");
    let value = read_values(&mut &file[..], &fields, newest, |n| n == 15, Some(1)).unwrap();
    let value = decode_header(value.get(15).unwrap()).unwrap();
    assert_eq!((value.lines, value.text), (vec![7], &b"Date: x\n"[..]));
}

#[test]
fn a_newer_block_of_fields_replaces_the_older() {
    let mut file = example();
    let mut more = fields();
    more.push(Field::variable("hdr.Subject", FieldKind::Header, Decision::YES));
    let at = file.len() as u32;
    file.extend(Fields::encode_block(&more).unwrap());
    file[0x20..0x24].copy_from_slice(&Fields::pointer(at).unwrap());
    let header = RawCacheHeader::read(&mut &file[..]).unwrap();
    let fields = Fields::read(&mut &file[..], &header).unwrap();
    assert_eq!((fields.offset(), fields.find(b"hdr.subject")), (at, Some(16)));
    assert_eq!(fields.get(16).unwrap().decision, Decision::YES);
    assert_eq!(file[fields.decision_offset(16).unwrap() as usize], 2);
    assert_eq!(Fields::read_from(&mut &file[..], at).unwrap().all(), fields.all());
}

fn damaged(at: usize, bytes: &[u8]) -> Option<CacheDamageKind> {
    let mut file = example();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    let read = |file: &mut &[u8]| {
        let header = RawCacheHeader::read(file)?;
        let fields = Fields::read(file, &header)?;
        read_values(file, &fields, 0x184, |_| true, None)
    };
    match read(&mut &file[..]) {
        Ok(_) => None,
        Err(CacheError::Damage(damage)) => Some(damage.kind),
        Err(CacheError::Read(never)) => match never {},
    }
}

#[test]
fn damage_is_found() {
    assert!(matches!(damaged(0, &[2]), Some(CacheDamageKind::Version { major: 2, .. })));
    assert!(matches!(damaged(1, &[4]), Some(CacheDamageKind::Version { offset_size: 4, .. })));
    assert_eq!(damaged(0x20, &[0x80, 0x80, 0x80, 0x88]), Some(CacheDamageKind::Pointer(0x20)), "itself");
    assert_eq!(damaged(0x184, &[0x84, 1]), Some(CacheDamageKind::Pointer(0x184)), "itself");
    assert_eq!(damaged(0x188, &[4]), Some(CacheDamageKind::Size(4)));
    assert_eq!(damaged(0x188, &[0xf0, 0xff]), Some(CacheDamageKind::Truncated));
    assert_eq!(damaged(0x18c, &[16]), Some(CacheDamageKind::FieldNumber(16)));
    assert_eq!(damaged(0x198, &[0xff]), Some(CacheDamageKind::Truncated));
    assert_eq!(damaged(0x28, &[0, 0, 1]), Some(CacheDamageKind::FieldCount(0x1_0000)));
    assert!(matches!(damaged(0xac, &[9]), Some(CacheDamageKind::Fields(_))));
    assert_eq!(damaged(0x2c, &[9]), None, "a time of use may be anything");
}

#[test]
fn what_cannot_be_written() {
    let file = example();
    let fields = Fields::read_from(&mut &file[..], 0x20).unwrap();
    let record = |values: &[(u32, &[u8])], max| encode_record(&fields, 0, values, max);
    assert_eq!(record(&[(16, b"")], 99), Err(UnwritableRecord::Field(16)));
    assert_eq!(record(&[(0, b"abc")], 99), Err(UnwritableRecord::Length { number: 0, len: 3 }));
    assert_eq!(record(&[(12, &[0; 90])], 99), Err(UnwritableRecord::TooLarge { max: 99 }));
    let twice = [
        Field::variable("hdr.a", FieldKind::Header, Decision::NO),
        Field::variable("HDR.A", FieldKind::Header, Decision::NO),
    ];
    assert_eq!(Fields::encode_block(&twice), Err(UnusableField::Name(1)));
}

#[test]
fn an_empty_header_value_is_an_absent_header() {
    let absent = HeaderValue { lines: vec![], text: b"" };
    assert_eq!(encode_header(&absent), b"");
    assert_eq!(decode_header(b""), Some(absent.clone()));
    assert_eq!(decode_header(&[0; 4]), Some(absent));
    assert_eq!(decode_header(&[1, 0, 0, 0]), None, "no end");
}

fn tree() -> impl Strategy<Value = Vec<MimePart>> {
    let part = |flags: u32| {
        (any::<u32>(), any::<u16>()).prop_map(move |(sizes, lines)| MimePart {
            flags,
            physical_pos: u64::from(sizes) * 3,
            header_physical: u64::from(sizes),
            header_virtual: u64::from(sizes) + 9,
            body_physical: u64::from(lines),
            body_virtual: u64::from(lines) * 2,
            body_lines: if flags & 0xc != 0 { lines.into() } else { 0 },
            children: 0,
        })
    };
    let leaf = prop_oneof![part(8), part(0)].prop_map(|part| vec![part]);
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let multipart = (part(0x41), prop::collection::vec(inner.clone(), 0..4)).prop_map(|(mut root, children)| {
            root.children = children.len() as u32;
            std::iter::once(root).chain(children.into_iter().flatten()).collect::<Vec<_>>()
        });
        let message = (part(4), inner).prop_map(|(mut root, child)| {
            root.children = 1;
            std::iter::once(root).chain(child).collect::<Vec<_>>()
        });
        prop_oneof![multipart, message]
    })
}

proptest! {
    #[test]
    fn trees_of_parts_survive(mut parts in tree()) {
        parts[0].physical_pos = 0;
        let value = encode_mime_parts(&parts);
        prop_assert_eq!(decode_mime_parts(&value), Some(parts));
        prop_assert_eq!(decode_mime_parts(&value[..value.len() - 1]), None);
    }

    #[test]
    fn any_damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = example();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(header) = RawCacheHeader::read(&mut &file[..])
            && let Ok(fields) = Fields::read(&mut &file[..], &header)
        {
            let _ = read_values(&mut &file[..], &fields, 0x184, |_| true, None);
        }
    }

    #[test]
    fn values_survive(values in prop::collection::btree_map(6u32..15, prop::collection::vec(1u8.., 0..50), 0..6)) {
        let mut file = example();
        let fields = Fields::read_from(&mut &file[..], 0x20).unwrap();
        let values: Vec<_> = values.iter().filter(|(n, _)| **n != 10).map(|(n, v)| (*n, v.as_slice())).collect();
        let at = file.len() as u32;
        file.extend(encode_record(&fields, 0, &values, 10_000).unwrap());
        let read = read_values(&mut &file[..], &fields, at, |_| true, None).unwrap();
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), values);
    }
}
