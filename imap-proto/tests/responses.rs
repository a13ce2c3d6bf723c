//! Responses, as a client sees them: the RFCs' examples, and what the writers write.

use std::num::NonZeroU32;

use imap_proto::{
    Section, SectionText, Tag,
    response::{Condition, FetchData, Response, ResponseDecoder, ResponseError, ResponseLimits, Token},
    write::{self, Code, FetchWriter},
};
use mailtypes::{Flag, Flags, InternalDate, Keyword, MailboxName, ModSeq, SeqNum, Uid, UidSet, UidValidity};
use proptest::{collection::vec, prelude::*};

fn one(input: &[u8]) -> Result<Response, ResponseError> {
    let mut input = input;
    let response = ResponseDecoder::new(ResponseLimits::default()).next(&mut input);
    assert!(input.is_empty());
    response.map(|response| response.expect("a whole response"))
}

fn words(tokens: &[Token]) -> String {
    format!("{tokens:?}")
}

#[test]
fn status_responses() {
    let response = one(b"* OK [PERMANENTFLAGS (\\Deleted a]b \\*)] Limited {5}\r\n").unwrap();
    assert_eq!(words(response.code("permanentflags").unwrap()), r"[[\\Deleted, a]b, \\*]]");
    assert!(
        matches!(&response, Response::Status { tag: None, condition: Condition::Ok, text, .. } if text == b"Limited {5}")
    );
    let response = one(b"A2 NO [COPYUID 38505 304,319:320 3956:3958] Done [x]\r\n").unwrap();
    assert_eq!(words(response.code("COPYUID").unwrap()), "[38505, 304,319:320, 3956:3958]");
    assert!(
        matches!(&response, Response::Status { tag: Some(tag), condition: Condition::No, .. } if tag.as_str() == "A2")
    );
    assert!(matches!(one(b"* BYE\r\n"), Ok(Response::Status { condition: Condition::Bye, .. })));
    assert_eq!(one(b"+ idling\r\n"), Ok(Response::Continuation { text: b"idling".to_vec() }));
    assert_eq!(one(b"+\r\n"), Ok(Response::Continuation { text: vec![] }));
}

#[test]
fn data_responses() {
    assert_eq!(one(b"* 23 EXISTS\r\n").unwrap().counted("exists"), Some(23));
    assert_eq!(words(one(b"* SEARCH 2 84\r\n").unwrap().data("SEARCH").unwrap()), "[2, 84]");
    let list = one(b"* LIST (\\Noselect) \"/\" {3}\r\na b\r\n").unwrap();
    assert_eq!(words(list.data("LIST").unwrap()), r#"[[\\Noselect], "/", "a b"]"#);
    assert_eq!(words(one(b"* LIST () NIL [Gmail]/x[y\r\n").unwrap().data("LIST").unwrap()), "[[], NIL, [Gmail]/x[y]");
    let fetch = one(b"* 12 FETCH (BODY[HEADER.FIELDS (A \"b ] c\")]<0> {3}\r\nx)( BINARY[1] ~{1}\r\n\0 ENVELOPE (NIL ((\"a\"))))\r\n").unwrap();
    let fetch = FetchData::of(&fetch).unwrap();
    assert_eq!(fetch.bytes("body[header.fields (A \"b ] c\")]<0>"), Some(&b"x)("[..]));
    assert_eq!(fetch.bytes("BINARY[1]"), Some(&b"\0"[..]));
    assert_eq!(words(fetch.item("ENVELOPE").unwrap().list().unwrap()), "[NIL, [[\"a\"]]]");
}

#[test]
fn bytes_that_are_no_response() {
    for bad in
        [&b"\r\n"[..], b"* (\r\n", b"* )\r\n", b"* \"x\r\n", b"A1 FETCH\r\n", b"* OK [x\r\n", b"* 1 FETCH (BODY[)\r\n"]
    {
        assert!(matches!(one(bad), Err(ResponseError::Syntax(_))), "{}", bad.escape_ascii());
    }
    let deep = ["* ", &"(".repeat(100_000), &")".repeat(100_000), "\r\n"].concat();
    assert!(matches!(one(deep.as_bytes()), Err(ResponseError::Syntax(_))));
    assert_eq!(one(b"* 1 FETCH (RFC822 {4294967296}\r\n"), Err(ResponseError::TooLong));
    let limits = ResponseLimits { line_len_max: 10, ..ResponseLimits::default() };
    assert_eq!(ResponseDecoder::new(limits).next(&mut &b"* 1 EXISTS\r\n"[..]), Err(ResponseError::TooLong));
}

#[test]
fn an_error_is_passed_over() {
    let mut decoder = ResponseDecoder::new(ResponseLimits::default());
    let mut input: &[u8] = b"* (\r\n* 1 EXISTS\r\n";
    assert!(decoder.next(&mut input).is_err());
    assert_eq!(decoder.next(&mut input).unwrap().unwrap().counted("EXISTS"), Some(1));
}

proptest! {
    #[test]
    fn what_fetch_writes_is_read(
        seq in 1u32..,
        uid in 1u32..,
        bits in 0u8..0x20,
        recent: bool,
        size: u64,
        mod_seq in 1u64..,
        unix in -60_000_000_000i64..250_000_000_000,
        name in "[!-~][ -~]{0,8}",
        text in vec(any::<u8>(), 0..60),
        short in vec(any::<u8>(), 0..20),
    ) {
        let keyword = Keyword::new("$Junk").expect("an atom");
        let (seq, uid) = (SeqNum::new(seq).expect("not 0"), Uid::new(uid).expect("not 0"));
        let section = Section { part: vec![NonZeroU32::MIN], text: Some(SectionText::HeaderFields(vec![name])) };
        let date = InternalDate::utc(unix);
        let mut out = Vec::new();
        let mut fetch = FetchWriter::begin(&mut out, seq);
        fetch.uid(uid);
        fetch.flags(Flags::from_bits(bits), recent, [&keyword]);
        fetch.size(size);
        fetch.mod_seq(ModSeq::new(mod_seq).expect("not 0"));
        fetch.internal_date(date);
        fetch.section_head(&section, Some(7), text.len() as u64);
        fetch.raw(&text);
        let mut string = Vec::new();
        write::string(&mut string, &short);
        fetch.raw_item("X", &string);
        fetch.end();

        let response = one(&out).map_err(|error| TestCaseError::fail(format!("{error}: {}", out.escape_ascii())))?;
        let fetch = FetchData::of(&response).expect("a FETCH");
        let mut label = Vec::new();
        write::section_label(&mut label, &section, Some(7));
        prop_assert_eq!(fetch.seq, seq);
        prop_assert_eq!(fetch.uid(), Some(uid));
        prop_assert_eq!(fetch.size(), Some(size));
        prop_assert_eq!(fetch.mod_seq().map(ModSeq::value), Some(mod_seq));
        prop_assert_eq!(fetch.internal_date(), Some(date));
        prop_assert_eq!(fetch.bytes(&String::from_utf8_lossy(&label)), Some(text.as_slice()));
        // No string of IMAP holds a NUL: it is told as 0x80.
        let short: Vec<u8> = short.iter().map(|&byte| if byte == 0 { 0x80 } else { byte }).collect();
        prop_assert_eq!(fetch.bytes("X"), Some(short.as_slice()));
        let flags: Vec<&[u8]> = fetch.flags().expect("flags").collect();
        let read: Flags = flags.iter().filter_map(|name| Flag::from_name(name)).collect();
        prop_assert_eq!(read, Flags::from_bits(bits));
        prop_assert_eq!(flags.contains(&&b"\\Recent"[..]), recent);
        prop_assert_eq!(flags.last(), Some(&&b"$Junk"[..]));
    }

    #[test]
    fn what_list_and_status_write_is_read(name in "[^/\\x00-\\x1f\\x7f-\\u{9f}]{1,20}") {
        let Ok(name) = MailboxName::new(&name) else { return Ok(()) };
        let mut out = Vec::new();
        write::list(&mut out, &[write::ListAttribute::HasChildren], Some('/'), &name);
        let response = one(&out).expect("a LIST");
        let wire = response.data("LIST").and_then(|words| words.get(2)).and_then(Token::bytes).expect("a name");
        prop_assert_eq!(imap_proto::Mailbox::from_wire(wire).name('/'), Ok(name));
    }

    #[test]
    fn what_a_tagged_response_writes_is_read(say in ".{0,30}", uids in vec(1u32.., 1..9)) {
        let mut set = UidSet::new();
        uids.into_iter().filter_map(Uid::new).for_each(|uid| set.insert(uid));
        let tag = Tag::new(b"x").expect("a tag");
        let mut out = Vec::new();
        let code = Code::AppendUid { uid_validity: UidValidity::MIN, uids: &set };
        write::tagged(&mut out, &tag, write::Status::Ok, Some(code), &say);
        let response = one(&out).expect("a status");
        prop_assert_eq!(words(response.code("APPENDUID").expect("a code")), format!("[1, {set}]"));
    }
}
