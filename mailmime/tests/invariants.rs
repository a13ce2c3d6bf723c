//! What must hold for any bytes.

use mailmime::{
    CachedHeader, Envelope, Fields, Limits, PartFlags, Scanner, Structure, decode_header_text, decode_mime_parts,
    decode_text_part, encode_cached_header, encode_mime_parts, header_len, parse_address_list, parse_date,
};
use proptest::prelude::*;

/// Lines that mean something to a scan, in any order, with either line end.
fn message() -> impl Strategy<Value = Vec<u8>> {
    const LINES: &[&str] = &[
        "Content-Type: multipart/mixed; boundary=b",
        "Content-Type: multipart/digest; boundary=\"bb\"",
        "Content-Type: message/rfc822",
        "Content-Type: text/html;",
        " charset*0*=utf-8'';\n\tcharset*1=x",
        "Mime-Version: 1.0",
        "From: \"A\" <a@b>, g: c@d;",
        "Subject: \u{e4} x",
        "Date: Mon, 1 Jan 2024 10:00:00 +0100",
        "--b",
        "--bb",
        "--b--",
        "--bb--",
        "",
        "",
        "text\0",
        "-",
        "--",
        "\r",
    ];
    let line = prop::sample::select(LINES);
    let end = prop::sample::select(&["\n", "\n", "\n", "\r\n", "\r\n", ""][..]);
    prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| [line, end]).collect::<String>().into_bytes())
}

fn scan<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Structure {
    let mut scanner = Scanner::new(limits);
    for chunk in chunks {
        scanner.write(chunk);
    }
    scanner.finish()
}

/// Limits small enough to be met.
fn tight() -> Limits {
    Limits { part_count_max: 4, nesting_max: 3, field_len_max: 50, content_len_max: 200, header_len_max: 20 }
}

fn check_sizes(message: &[u8], structure: &Structure) {
    let crlfs = message.windows(2).filter(|pair| pair == b"\r\n").count();
    let lfs = message.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(structure.physical_len(), message.len() as u64);
    assert_eq!(structure.virtual_len(), (message.len() + lfs - crlfs) as u64);
    assert_eq!(structure.has_nuls(), message.contains(&0));
    for (index, part) in structure.tree().iter() {
        let mut end = part.body_offset();
        for child in structure.tree().children(index) {
            let child = structure.tree().part(child);
            assert!(child.header_offset >= end);
            end = child.end_offset();
        }
        assert!(end <= part.end_offset());
    }
}

fn print_all(structure: &Structure) {
    let mut out = Vec::new();
    structure.write_envelope(&mut out);
    structure.write_body(&mut out);
    structure.write_bodystructure(&mut out);
    assert!(!out.contains(&0));
}

proptest! {
    #[test]
    fn chunks_do_not_matter(message in message(), cut in 1usize..9) {
        for limits in [Limits::default(), tight()] {
            let whole = scan([message.as_slice()], limits.clone());
            check_sizes(&message, &whole);
            print_all(&whole);
            prop_assert_eq!(&scan(message.chunks(1), limits.clone()), &whole);
            prop_assert_eq!(&scan(message.chunks(cut), limits.clone()), &whole);
            if let Some((head, tail)) = message.split_at_checked(cut * 7) {
                prop_assert_eq!(&scan([head, tail], limits), &whole);
            }
        }
    }

    #[test]
    fn mime_parts_survive_the_cache(message in message()) {
        let structure = Structure::of(&message);
        let value = encode_mime_parts(structure.tree());
        let tree = decode_mime_parts(&value).unwrap();
        prop_assert_eq!(encode_mime_parts(&tree), value);
        for (index, part) in structure.tree().iter() {
            let decoded = tree.part(index);
            prop_assert_eq!(decoded.header_offset, part.header_offset);
            prop_assert_eq!(decoded.end_offset(), part.end_offset());
            prop_assert_eq!(decoded.flags, part.flags);
            prop_assert_eq!(tree.parent(index), structure.tree().parent(index));
        }
    }

    #[test]
    fn any_cache_value_is_decoded_or_refused(value in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(tree) = decode_mime_parts(&value) {
            prop_assert_eq!(encode_mime_parts(&tree), value.clone());
        }
        if let Ok(cached) = CachedHeader::decode(&value) {
            cached.fields().for_each(drop);
        }
    }

    #[test]
    fn a_flipped_byte_in_a_cache_value_is_no_harm(message in message(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut value = encode_mime_parts(Structure::of(&message).tree());
        let at = at.index(value.len());
        value[at] = byte;
        if let Ok(tree) = decode_mime_parts(&value) {
            for path in [&[][..], &[1], &[1, 1], &[2], &[1, 1, 1]] {
                let _ = tree.ranges(path);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_message(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let structure = Structure::of(&bytes);
        check_sizes(&bytes, &structure);
        print_all(&structure);
        let _ = parse_address_list(&bytes, 100);
        let _ = parse_date(&bytes);
        let _ = decode_header_text(&bytes);
        for encoding in [&b"base64"[..], b"quoted-printable"] {
            for charset in [&b"utf-8"[..], b"utf-7", b"utf-16", b"iso-2022-jp", b"gb18030", b"shift_jis"] {
                let _ = decode_text_part(Some(encoding), Some(charset), &bytes);
            }
        }
    }

    /// The envelope of a header, of the scan, and of the cached fields put together are the same.
    #[test]
    fn envelopes_by_all_ways(message in message()) {
        // In the cache a line without an end would run into the next field, and of CR CR LF only the second CR goes.
        let mut message = message;
        message.push(b'\n');
        message.dedup_by(|next, byte| *next == b'\r' && *byte == b'\r');
        let structure = Structure::of(&message);
        let header = &message[..header_len(&message)];
        prop_assert_eq!(structure.header(), header);
        let from_header = Envelope::from_header(header);
        prop_assert_eq!(structure.envelope(), Some(&from_header));
        let cached: Vec<_> =
            Envelope::FIELDS.iter().map(|name| encode_cached_header(header, name.as_bytes())).collect();
        let texts: Vec<_> = cached.iter().map(|value| CachedHeader::decode(value).unwrap().text).collect();
        prop_assert_eq!(Envelope::from_header(&texts.concat()), from_header);
        let raw: usize = Fields::new(header).map(|field| field.raw.len()).sum();
        prop_assert!(header.len() - raw <= 2);
    }
}

#[test]
fn part_limits_leave_the_rest_in_one_part() {
    let mut message = b"Content-Type: multipart/mixed; boundary=b\n\n".to_vec();
    message.extend(b"--b\n\nx\n".repeat(50));
    let structure = scan([message.as_slice()], tight());
    assert_eq!(structure.tree().count(), 4);
    assert!(structure.tree().iter().any(|(_, part)| part.flags.has(PartFlags::OVERFLOW)));
    assert_eq!(structure.physical_len(), message.len() as u64);
}

#[test]
fn nesting_is_bounded() {
    let mut message = Vec::new();
    for level in 0..5000 {
        message.extend(format!("Content-Type: multipart/mixed; boundary={level}x\n\n--{level}x\n").bytes());
    }
    let structure = Structure::of(&message);
    assert_eq!(structure.tree().count(), Limits::NESTING_MAX);
    print_all(&structure);
    let digest = b"Content-Type: message/rfc822\n\n".repeat(5000);
    assert_eq!(Structure::of(&digest).tree().count(), Limits::NESTING_MAX);
}

#[test]
fn memory_for_headers_is_bounded() {
    let mut scanner = Scanner::new(tight());
    scanner.write(b"To: ");
    for _ in 0..10_000 {
        scanner.write(b"aaaa@bbbb,\n ");
    }
    let structure = scanner.finish();
    assert_eq!(structure.header().len(), 20);
    assert!(!structure.header_is_whole());
    assert!(structure.envelope().unwrap().to.len() < 5);
    assert_eq!(structure.physical_len(), 4 + 12 * 10_000);
}
