//! Messages: any bytes are one.

use mailmime::{
    CachedHeader, Envelope, Fields, HeaderEnding, HeaderSelection, Limits, PartIndex, Scanner, Structure,
    decode_header_text, decode_mime_parts, decode_text_part, decode_transfer_encoding, encode_cached_header,
    encode_mime_parts, header_len, parse_address_list, parse_date, write_header_fields,
};

use crate::cuts::ways;

/// Limits small enough to be met.
const TIGHT: Limits =
    Limits { part_count_max: 4, nesting_max: 3, field_len_max: 50, content_len_max: 200, header_len_max: 20 };

/// How the bytes are cut never changes what a scan finds; places and sizes add up; all of it can be printed.
pub fn mime_scan(data: &[u8]) {
    for limits in [Limits::default(), TIGHT] {
        let whole = scan(&[data], &limits);
        sizes(data, &whole);
        print(&whole);
        for chunks in ways(data) {
            assert!(scan(&chunks, &limits) == whole, "how a message is cut does not matter");
        }
        through_cache(&whole);
    }
}

fn scan(chunks: &[&[u8]], limits: &Limits) -> Structure {
    let mut scanner = Scanner::new(limits.clone());
    chunks.iter().for_each(|chunk| scanner.write(chunk));
    scanner.finish()
}

fn sizes(data: &[u8], structure: &Structure) {
    let crlfs = data.windows(2).filter(|pair| pair == b"\r\n").count();
    let lfs = data.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(structure.physical_len(), data.len() as u64, "every byte is somewhere");
    assert_eq!(structure.virtual_len(), (data.len() + lfs - crlfs) as u64, "every line end counts once");
    assert_eq!(structure.has_nuls(), data.contains(&0), "NULs are seen");
    let tree = structure.tree();
    for (index, part) in tree.iter() {
        let mut end = part.body_offset();
        for child in tree.children(index) {
            assert_eq!(tree.parent(child), Some(index), "a child has its parent");
            let child = tree.part(child);
            assert!(child.header_offset >= end, "parts follow each other");
            end = child.end_offset();
        }
        assert!(end <= part.end_offset(), "parts lie in their parent");
    }
    paths(structure, data.len() as u64);
}

/// Every part has a number, and its bytes lie in the message.
fn paths(structure: &Structure, len: u64) {
    for path in [&[][..], &[0], &[1], &[2], &[1, 1], &[2, 1], &[1, 2], &[1, 1, 1], &[2, 1, 3], &[u32::MAX]] {
        let Some(ranges) = structure.tree().ranges(path) else { continue };
        for section in [Some(ranges.mime), Some(ranges.body), ranges.header, ranges.text].into_iter().flatten() {
            assert!(section.offset + section.physical_len <= len, "a part's bytes are in the message");
            assert!(section.virtual_len >= section.physical_len, "CRLF makes nothing shorter");
        }
    }
}

fn print(structure: &Structure) {
    let mut out = Vec::new();
    structure.write_envelope(&mut out);
    structure.write_body(&mut out);
    structure.write_bodystructure(&mut out);
    assert!(!out.contains(&0), "no NUL goes to a client");
    let _ = (structure.cache_flags().bits(), structure.sent_date(), structure.content(PartIndex::ROOT));
}

fn through_cache(structure: &Structure) {
    let value = encode_mime_parts(structure.tree());
    let tree = decode_mime_parts(&value).expect("a scan's parts are well placed");
    assert_eq!(encode_mime_parts(&tree), value, "parts survive the cache");
    for (index, part) in structure.tree().iter() {
        let cached = tree.part(index);
        assert_eq!(
            (cached.header_offset, cached.body_offset(), cached.end_offset(), cached.flags),
            (part.header_offset, part.body_offset(), part.end_offset(), part.flags),
            "a part is where it was"
        );
    }
}

/// Any bytes may stand in the cache as parts: what is decoded is a tree that encodes to the same, with parts that lie
/// in each other.
pub fn mime_parts(data: &[u8]) {
    let Ok(tree) = decode_mime_parts(data) else { return };
    assert_eq!(encode_mime_parts(&tree), data, "parts survive");
    let end = tree.root().end_offset();
    for (index, part) in tree.iter() {
        assert!(
            part.header_offset <= part.body_offset() && part.body_offset() <= part.end_offset(),
            "no part is upside down"
        );
        assert!(part.end_offset() <= end, "all parts lie in the message");
        for child in tree.children(index) {
            assert_eq!(tree.parent(child), Some(index), "a child has its parent");
        }
    }
    for path in [&[][..], &[1], &[1, 1], &[2], &[1, 1, 1], &[3, 2, 1]] {
        let _ = tree.ranges(path);
    }
    let mut out = Vec::new();
    tree.write_plain_body_inner(&mut out);
    tree.write_plain_bodystructure_inner(&mut out);
}

/// Any bytes may be a header or a value in it.
pub fn mime_header(data: &[u8]) {
    let header = &data[..header_len(data)];
    let mut end = 0;
    let mut line = 0;
    for field in Fields::new(header) {
        assert_eq!(field.offset, end, "fields follow each other");
        assert!(field.line > line, "lines are counted up");
        assert_eq!(header.get(end..end + field.raw.len()), Some(field.raw), "a field is the header's bytes");
        assert!(field.raw.ends_with(field.raw_value), "a value ends its field");
        (end, line) = (end + field.raw.len(), field.line);
        let _ = field.value();
    }
    assert!(header.len() - end <= 2, "behind the fields there is no more than the empty line");
    selections(header);
    cached(header);
    values(data);
}

/// A selection and its opposite have all fields between them.
fn selections(header: &[u8]) {
    let names: [&[u8]; 3] = [b"to", b"X", b"Subject"];
    let count = |selection| {
        let mut out = Vec::new();
        write_header_fields(&mut out, header, selection, HeaderEnding::AsStored);
        assert!(!out.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n'), "lines end with CRLF");
        Fields::new(&out).count()
    };
    let (chosen, others) = (count(HeaderSelection::Fields(&names)), count(HeaderSelection::FieldsNot(&names)));
    assert_eq!(chosen + others, Fields::new(header).count(), "each field is in one of the two");
    let mut always = Vec::new();
    write_header_fields(&mut always, header, HeaderSelection::Fields(&names), HeaderEnding::Always);
    assert!(always.ends_with(b"\r\n"), "a header that must be ended is");
}

/// The envelope of a header and that of its cached fields are the same.
fn cached(header: &[u8]) {
    for name in Envelope::FIELDS {
        let value = encode_cached_header(header, name.as_bytes());
        let cached = CachedHeader::decode(&value).expect("what is cached is read");
        let lines = Fields::new(header).filter(|field| field.is(name.as_bytes())).map(|field| field.line);
        assert!(cached.lines().eq(lines), "the lines are the header's");
    }
    // In the cache a line without an end would run into the next field, and of CR CR LF only the second CR goes.
    let mut header = [header, b"\n"].concat();
    header.dedup_by(|next, byte| *next == b'\r' && *byte == b'\r');
    let header = &header[..header_len(&header)];
    let values = Envelope::FIELDS.map(|name| encode_cached_header(header, name.as_bytes()));
    let texts = values.iter().map(|value| CachedHeader::decode(value).expect("what is cached is read").text);
    let together = texts.collect::<Vec<_>>().concat();
    assert_eq!(Envelope::from_header(&together), Envelope::from_header(header), "the cache gives the same envelope");
    let mut out = Vec::new();
    Envelope::from_header(header).write(&mut out);
    assert!(!out.contains(&0), "no NUL goes to a client");
}

fn values(data: &[u8]) {
    for count_max in [0, 1, 100] {
        assert!(parse_address_list(data, count_max).len() <= count_max.max(1) * 2 + 1, "addresses are bounded");
    }
    let _ = (parse_date(data), decode_header_text(data));
    for encoding in [None, Some(&b"base64"[..]), Some(b"Quoted-Printable"), Some(b"8bit"), Some(b"x")] {
        assert!(decode_transfer_encoding(encoding, data).len() <= data.len(), "decoding makes nothing longer");
        for charset in [&b"utf-8"[..], b"utf-7", b"utf-16", b"iso-2022-jp", b"gb18030", b"shift_jis", b"latin1", b""] {
            let _ = decode_text_part(encoding, Some(charset), data);
        }
    }
}
