//! The client's side of IMAP: a server's bytes.

use imap_proto::{
    response::{FetchData, Response, ResponseDecoder, ResponseError, ResponseLimits, Token},
    write,
};

use crate::cuts::ways;

/// Any bytes, split anywhere, give the same responses; every string that is written is read back.
pub fn imap_response(data: &[u8]) {
    let whole = responses(&[data]);
    for chunks in ways(data) {
        assert_eq!(responses(&chunks), whole, "how the input is cut does not matter");
    }
    whole.iter().flatten().for_each(ask);
    strings_survive(data);
}

fn responses(chunks: &[&[u8]]) -> Vec<Result<Response, ResponseError>> {
    let limits = ResponseLimits { line_len_max: 4096, literal_len_max: 300, depth_max: 20, tokens_max: 500 };
    let mut decoder = ResponseDecoder::new(limits);
    let mut all = Vec::new();
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(response) = decoder.next(&mut input).transpose() {
            all.push(response);
        }
        assert!(input.is_empty(), "the input is used up");
    }
    all
}

fn ask(response: &Response) {
    let _ = (response.code("UIDVALIDITY"), response.data("SEARCH"), response.counted("EXISTS"));
    let Some(fetch) = FetchData::of(response) else { return };
    let _ = (fetch.uid(), fetch.size(), fetch.internal_date(), fetch.mod_seq(), fetch.bytes("BODY[]"));
    for (name, value) in fetch.items() {
        if let Ok(name) = std::str::from_utf8(name) {
            let first = fetch.items().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
            assert_eq!(fetch.item(name), first.map(|(_, value)| value), "an item is found by its name");
        }
        let _ = (value.number(), value.bytes(), value.list());
    }
    let _ = fetch.flags().map(Iterator::count);
}

fn strings_survive(data: &[u8]) {
    let mut out = b"* X ".to_vec();
    write::string(&mut out, data);
    out.push(b' ');
    write::nstring(&mut out, Some(data));
    out.push(b' ');
    write::nstring(&mut out, None);
    out.push(b' ');
    write::astring(&mut out, data);
    out.extend_from_slice(b" ()\r\n");
    // No string of IMAP holds a NUL: it is told as 0x80.
    let data: &[u8] = &data.iter().map(|&byte| if byte == 0 { 0x80 } else { byte }).collect::<Vec<u8>>();
    let mut decoder = ResponseDecoder::new(ResponseLimits::default());
    let mut input = out.as_slice();
    let response = decoder.next(&mut input).expect("what is written is read").expect("and whole");
    assert!(input.is_empty(), "nothing is left");
    let Some([string, nstring, nil, astring, Token::List(list)]) = response.data("X") else {
        panic!("five words were written: {}", out.escape_ascii());
    };
    assert_eq!((string, nstring), (&Token::String(data.to_vec()), &Token::String(data.to_vec())), "a string survives");
    assert!(nil.is_nil() && list.is_empty(), "NIL is NIL, and an empty list empty");
    let plain = matches!(astring, Token::String(bytes) | Token::Atom(bytes) if bytes == data);
    assert!(plain, "an astring survives");
}
