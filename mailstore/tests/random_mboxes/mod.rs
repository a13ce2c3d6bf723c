//! mbox files as no program would write them on purpose.

#![allow(unreachable_pub, reason = "in a test's helper as in the test")]

use proptest::{collection::vec, prelude::*, sample::select};

const SEPARATORS: [&str; 6] = [
    "From a Thu Nov 29 22:33:52 2001",
    "From b@c  Thu Nov  9 22:33 2001",
    "From \"q r\"@s Tue Jan 01 03:04:05 2019 +0100",
    "From x Thu, 9 Nov 2001 22:33:52",
    "From x Thu Nov 31 25:33:52 2001",
    "From x Thu Nov 29 22:33:52 CET 2001",
];

/// Lines that look as if they meant something, in headers and in bodies.
const SIGNS: [&str; 26] = [
    "From here on",
    "From ",
    "From x Thu Nov 29 22:33",
    "From a Thu Nov 29 22:33:52 201",
    ">From a Thu Nov 29 22:33:52 2001",
    "Subject: one",
    "Date: Thu, 1 Jan 2004 10:00:00 +0000",
    "Received: from x",
    "Status: RO",
    "Status: O",
    "X-Status: AF",
    "X-Keywords: kw1 kw2   ",
    "X-UID: 1",
    "X-UID: 4",
    "X-UID: 7",
    "X-IMAPbase: 1234567890 0000000005 kw1",
    "X-IMAPbase: 1234567890 0000000009",
    "Content-Length: 1",
    "Content-Length: 7",
    "Content-Length: 13",
    "Content-Length: 45",
    "content-length: x",
    " folded",
    "\tfolded",
    "no colon",
    ": x",
];

/// Lines of text, and what may end a header or body.
const TEXT: [&str; 4] = ["", "", "text", "a longer line of text that is not very long"];

fn line() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => select(&SEPARATORS[..]), 6 => select(&SIGNS[..]), 6 => select(&TEXT[..])]
}

/// A message that would be one: fields, an empty line, text.
fn message() -> impl Strategy<Value = Vec<&'static str>> {
    let (separator, fields, text) = (select(&SEPARATORS[..]), vec(select(&SIGNS[5..]), 0..5), vec(line(), 0..5));
    (separator, fields, any::<u8>(), text).prop_map(|(separator, fields, empty, text)| {
        let mut lines = vec![separator];
        lines.extend(fields);
        lines.extend((empty > 30).then_some(""));
        lines.extend(text);
        lines.extend((empty > 60).then_some(""));
        lines
    })
}

/// A file that begins with a separator; its lines end with LF, with CRLF or with either, and its last one perhaps with
/// nothing.
pub fn mbox() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop_oneof![3 => vec(message(), 1..5).prop_map(|all| all.concat()), 1 => vec(line(), 0..12)];
    (select(&SEPARATORS[..]), lines, 0..8u8, vec(any::<bool>(), 40), 0..6u8).prop_map(
        |(first, lines, ends, crlf, cut)| {
            let mut file = Vec::new();
            for (line, crlf) in [first].into_iter().chain(lines).zip(crlf.into_iter().cycle()) {
                file.extend_from_slice(line.as_bytes());
                let is_crlf = ends == 0 || ends == 1 && crlf;
                file.extend_from_slice(if is_crlf { b"\r\n" } else { b"\n" });
            }
            let text_end = file.trim_ascii_end().len();
            match cut {
                0 if text_end > first.len() => file.truncate(text_end),
                1 => file.extend_from_slice(b"\n"),
                _ => {}
            }
            file
        },
    )
}
