//! The cache file and the values in it.

use mailindex::cache::{
    self, Fields, HeaderValue, NAME_LEN_MAX, RECORD_SIZE_MAX, RawCacheHeader, SentDate, encode_new_file, encode_record,
    read_record, read_values,
};
use mailmime::{CachedHeader, encode_mime_parts};

/// Places that are tried as the beginning of a record.
const OFFSETS_MAX: usize = 200;

/// Any bytes may be a cache file: fields and records that are read are written so that they are read the same.
pub fn cache_file(data: &[u8]) {
    let mut file = data;
    let Ok(header) = RawCacheHeader::read(&mut file) else { return };
    let Ok(fields) = Fields::read(&mut file, &header) else { return };
    for (number, field) in fields.all().iter().enumerate() {
        let number = number as u32;
        assert_eq!(fields.find(&field.name), Some(number), "a field is found by its name");
        assert!(!field.name.is_empty() && field.name.len() <= NAME_LEN_MAX, "a field has a name");
        let places = (fields.last_used_offset(number), fields.decision_offset(number));
        let byte = |at: Option<u64>| data.get(usize::try_from(at?).ok()?).copied();
        assert_eq!(byte(places.0), Some(field.last_used.to_le_bytes()[0]), "last_used is where it is written over");
        assert_eq!(byte(places.1), Some(field.decision.0), "the decision is where it is written over");
    }
    let written = encode_new_file(header.indexid.get(), 1, fields.all()).expect("what was read can be written");
    let mut again = written.as_slice();
    let header = RawCacheHeader::read(&mut again).expect("a new file has a header");
    let read = Fields::read(&mut again, &header).expect("a new file has fields");
    assert_eq!(read.all(), fields.all(), "fields survive");
    if fields.offset() != 0 {
        let from = Fields::read_from(&mut file, fields.offset()).expect("the newest block is read from itself");
        assert_eq!(from.all(), fields.all(), "the newest block is the newest");
    }
    for offset in (0..data.len()).step_by(4).take(OFFSETS_MAX) {
        records(data, &fields, offset as u32);
    }
}

fn records(data: &[u8], fields: &Fields, offset: u32) {
    let mut file = data;
    if let Ok(values) = read_values(&mut file, fields, offset, |_| true, None) {
        for (number, value) in values.iter() {
            assert_eq!(values.get(number), Some(value), "each field has one value");
        }
        let some = read_values(&mut file, fields, offset, |number| number % 2 == 0, Some(1)).expect("a shorter walk");
        assert!(some.iter().all(|(number, _)| number % 2 == 0), "only what is wanted is copied");
    }
    let Ok(record) = read_record(&mut file, offset) else { return };
    let Ok(values) = record.values(fields).collect::<Result<Vec<_>, _>>() else { return };
    let written =
        encode_record(fields, record.prev_offset, &values, RECORD_SIZE_MAX).expect("a record's values fit one");
    // Where it could stand: behind the one before it.
    let place = (record.prev_offset as usize + 4).next_multiple_of(4);
    if place > data.len() + 8 {
        return;
    }
    let mut around = vec![0; place];
    around.extend(&written);
    let mut around = around.as_slice();
    let again = read_record(&mut around, place as u32).expect("a record that was written is read");
    assert_eq!(again.prev_offset, record.prev_offset, "the chain survives");
    let again = again.values(fields).collect::<Result<Vec<_>, _>>().expect("its values are read");
    assert_eq!(again, values, "values survive");
}

/// Any bytes may be a value: both readers of what two crates read agree, and what is read is written the same.
pub fn cache_values(data: &[u8]) {
    if let Some(date) = SentDate::decode(data) {
        assert_eq!(date.encode().as_slice(), data, "a date survives");
    }
    if let Some(header) = cache::decode_header(data) {
        let written = cache::encode_header(&header);
        let again = cache::decode_header(&written);
        match header.lines.is_empty() {
            true => assert_eq!(again, Some(HeaderValue { lines: Vec::new(), text: b"" }), "no field has no lines"),
            false => assert_eq!((again.as_ref(), written.as_slice()), (Some(&header), data), "a header survives"),
        }
        let cached = CachedHeader::decode(data).expect("what one crate reads the other reads too");
        assert_eq!((cached.lines().collect::<Vec<_>>(), cached.text), (header.lines, header.text), "the same");
        let lines: Vec<_> = cached.lines().collect();
        assert!(cached.fields().zip(lines).all(|(field, line)| field.line == line), "fields have their lines");
    } else {
        assert!(CachedHeader::decode(data).is_err(), "what one crate refuses the other refuses too");
    }
    let parts = cache::decode_mime_parts(data);
    if let Some(parts) = &parts {
        assert_eq!(cache::encode_mime_parts(parts), data, "parts survive");
    }
    if let Ok(tree) = mailmime::decode_mime_parts(data) {
        assert_eq!(encode_mime_parts(&tree), data, "a tree survives");
        if let Some(parts) = parts {
            assert_eq!(parts.len(), tree.count(), "both find the same parts");
        }
    }
}
