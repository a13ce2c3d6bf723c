//! Literals, APPEND, IDLE and AUTHENTICATE on the wire: what is asked of the server, and where input goes on.

use imap_proto::{Command, CommandError, Decoder, ErrorKind, Event, Limits};

/// What a server saw, in words.
fn run_in(decoder: &mut Decoder, chunks: &[&[u8]], accept: impl Fn(usize) -> bool) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut asked = 0;
    let mut texts = String::new();
    for chunk in chunks {
        let mut input = *chunk;
        loop {
            let event = decoder.next(&mut input);
            if let Ok(Some(Event::LiteralData(data))) = &event {
                texts.push_str(&data.escape_ascii().to_string());
                continue;
            }
            if !texts.is_empty() && !matches!(event, Ok(None)) {
                seen.push(format!("text {}", std::mem::take(&mut texts)));
            }
            let mut answer = |decoder: &mut Decoder| {
                asked += 1;
                if accept(asked) {
                    if decoder.accept_literal() { "+" } else { "" }
                } else {
                    decoder.reject_literal();
                    "rejected"
                }
            };
            seen.push(match event {
                Ok(None) => break,
                Ok(Some(Event::Command { tag, command })) => {
                    match command {
                        Command::Idle => decoder.begin_idle(),
                        Command::Authenticate { .. } => decoder.begin_authenticate(),
                        _ => {}
                    }
                    format!("{tag} {command:?}")
                }
                Ok(Some(Event::Continue)) => format!("continue {}", answer(decoder)),
                Ok(Some(Event::AppendStart { tag, mailbox })) => format!("{tag} append {mailbox:?}"),
                Ok(Some(Event::AppendMessage(message))) => {
                    let date = message.date.map(|date| date.unix);
                    let words = format!(
                        "message {} {:?} {:?} {date:?}",
                        message.len, message.flags.flags, message.flags.keywords
                    );
                    format!("{words} {}", answer(decoder))
                }
                Ok(Some(Event::Rejected { tag })) => format!("rejected {tag:?}"),
                Ok(Some(other)) => format!("{other:?}"),
                Err(CommandError { tag, kind, .. }) => format!("{tag:?} error {kind:?}"),
            });
        }
    }
    seen
}

fn limits() -> Limits {
    Limits { line_len_max: 200, literal_len_max: 40, message_len_max: 1000, ..Limits::default() }
}

/// Runs whole, then cut at every byte, then byte by byte: always the same.
#[track_caller]
fn check(input: &str, accept: impl Fn(usize) -> bool, expected: &[&str]) {
    let bytes = input.as_bytes();
    assert_eq!(run_in(&mut Decoder::new(limits()), &[bytes], &accept), expected, "{input}");
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(run_in(&mut Decoder::new(limits()), &[a, b], &accept), expected, "{input} cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run_in(&mut Decoder::new(limits()), &single, &accept), expected, "{input} byte by byte");
}

const NOOP: &str = "z Noop";

#[test]
fn a_synchronizing_literal_is_asked_for() {
    check("a DELETE {3}\r\nfoo\r\nz NOOP\r\n", |_| true, &["continue +", "a Delete { mailbox: \"foo\" }", NOOP]);
    check("a DELETE {3}\r\nz NOOP\r\n", |_| false, &["continue rejected", "rejected Some(a)", NOOP]);
    check("a DELETE {3+}\r\nfoo\r\nz NOOP\r\n", |_| false, &["a Delete { mailbox: \"foo\" }", NOOP]);
    check(
        "a RENAME {0}\r\n {3}\r\nz NOOP\r\n",
        |n| n == 1,
        &["continue +", "continue rejected", "rejected Some(a)", NOOP],
    );
}

#[test]
fn the_end_of_a_literal_announces_nothing() {
    check("a DELETE {2+}\r\n{5\r\nz NOOP\r\n", |_| true, &["a Delete { mailbox: \"{5\" }", NOOP]);
    check("a DELETE {2+}\r\n{5}\r\nz NOOP\r\n", |_| true, &["Some(a) error Syntax", NOOP]);
    check("a DELETE {5+}\r\n{5}\r\n\r\nz NOOP\r\n", |_| true, &["a Delete { mailbox: \"{5}\\r\\n\" }", NOOP]);
}

#[test]
fn a_bad_command_is_skipped_with_its_literals() {
    check(
        "a FOO {9+}\r\nz NOOP\r\n1 {8+}\r\nz NOOP\r\n\r\nz NOOP\r\n",
        |_| true,
        &["Some(a) error UnknownCommand", NOOP],
    );
    // Longer than may be held, so passed over; then a literal for which the client waits ends it.
    let long = "x".repeat(41);
    check(&format!("a DELETE {{41+}}\r\n{long} x\r\nz NOOP\r\n"), |_| true, &["Some(a) error TooBig", NOOP]);
    check(
        &format!("a DELETE {{41+}}\r\n{long} {{3+}}\r\nfoo x\r\nz NOOP\r\n"),
        |_| true,
        &["Some(a) error TooBig", NOOP],
    );
    check(&format!("a DELETE {{41+}}\r\n{long} {{3}}\r\nz NOOP\r\n"), |_| true, &["Some(a) error TooBig", NOOP]);
    check("a DELETE {41}\r\nz NOOP\r\n", |_| true, &["Some(a) error TooBig", NOOP]);
    check(
        "a RENAME {30+}\r\n123456789012345678901234567890 {30}\r\nz NOOP\r\n",
        |_| true,
        &["Some(a) error TooBig", NOOP],
    );
}

#[test]
fn four_gibibytes() {
    for command in ["a DELETE", "a APPEND INBOX"] {
        for len in ["4294967296", "18446744073709551616000"] {
            check(&format!("{command} {{{len}}}\r\nz NOOP\r\n"), |_| true, &["Some(a) error TooBig", NOOP]);
            check(&format!("{command} {{{len}+}}\r\nz NOOP\r\n"), |_| true, &["Some(a) error LiteralTooLong"]);
        }
    }
    check("a FOO {3+}\r\nfoo {4294967296+}\r\nz NOOP\r\n", |_| true, &["Some(a) error LiteralTooLong"]);
}

#[test]
fn a_line_without_end() {
    let start = "a SEARCH TEXT ";
    let rest = "x".repeat(200 - start.len());
    check(&format!("{start}{rest}"), |_| true, &["Some(a) error LineTooLong"]);
    check(&format!("{start}{rest}\r\nz NOOP\r\n"), |_| true, &["Some(a) error LineTooLong"]);
    let fits = "x".repeat(200 - start.len() - 2);
    check(
        &format!("{start}{fits}\r\n"),
        |_| true,
        &[&format!("a Search(Search {{ uid: false, returns: None, charset: false, key: Text(\"{fits}\") }})")],
    );
    // Both lines count; the literal does not.
    let half = "x".repeat(93);
    check(&format!("a LOGIN {{2+}}\r\nab {half}{half}\r\n"), |_| true, &["Some(a) error LineTooLong"]);
    check(&"x".repeat(300), |_| true, &["Some(xx) error LineTooLong".replace("xx", &"x".repeat(200)).as_str()]);
    check(&"(".repeat(300), |_| true, &["None error LineTooLong"]);
    check(
        &format!("a FOO {{41+}}\r\n{} {}", "x".repeat(41), "y".repeat(200)),
        |_| true,
        &["Some(a) error LineTooLong"],
    );
    check(
        &format!("a APPEND x {{1+}}\r\nm{}", "y".repeat(200)),
        |_| true,
        &["a append \"x\"", "message 1 () [] None ", "text m", "AppendMessageEnd", "Some(a) error LineTooLong"],
    );
}

#[test]
fn append_streams_each_message() {
    check(
        "a APPEND saved-messages (\\Seen $x) \" 7-Feb-1994 21:52:25 -0800\" {11}\r\nDate: x\r\n\r\n\r\nz NOOP\r\n",
        |_| true,
        &[
            "a append \"saved-messages\"",
            "message 11 (\\Seen) [\"$x\"] Some(760686745) +",
            "text Date: x\\r\\n\\r\\n",
            "AppendMessageEnd",
            "AppendEnd",
            NOOP,
        ],
    );
    // RFC 3502: several; the mailbox a literal; the last one non-synchronizing and with NUL.
    check(
        "a append {5}\r\nIn ox {3}\r\nabc (\\Draft) ~{4+}\r\n{5+}\r\nz NOOP\r\n",
        |_| true,
        &[
            "continue +",
            "a append \"In ox\"",
            "message 3 () [] None +",
            "text abc",
            "AppendMessageEnd",
            "message 4 (\\Draft) [] None ",
            "text {5+}",
            "AppendMessageEnd",
            "AppendEnd",
            NOOP,
        ],
    );
    check(
        "a APPEND x {0+}\r\n\r\nz NOOP\r\n",
        |_| true,
        &["a append \"x\"", "message 0 () [] None ", "AppendMessageEnd", "AppendEnd", NOOP],
    );
}

#[test]
fn append_is_refused_at_any_message() {
    check(
        "a APPEND x {3}\r\nz NOOP\r\n",
        |_| false,
        &["a append \"x\"", "message 3 () [] None rejected", "rejected Some(a)", NOOP],
    );
    check(
        "a APPEND x {3+}\r\nfoo {3+}\r\nbar\r\nz NOOP\r\n",
        |_| false,
        &["a append \"x\"", "message 3 () [] None rejected", "rejected Some(a)", NOOP],
    );
    check(
        "a APPEND x {3+}\r\nfoo {3+}\r\nbar {1}\r\nz NOOP\r\n",
        |n| n == 1,
        &[
            "a append \"x\"",
            "message 3 () [] None ",
            "text foo",
            "AppendMessageEnd",
            "message 3 () [] None rejected",
            "rejected Some(a)",
            NOOP,
        ],
    );
}

#[test]
fn append_with_mistakes() {
    check("a APPEND x (\\Foo) {3+}\r\nfoo\r\nz NOOP\r\n", |_| true, &["Some(a) error Syntax", NOOP]);
    check("a APPEND x () \"1-Feb-1994\" {3}\r\nz NOOP\r\n", |_| true, &["Some(a) error Syntax", NOOP]);
    check("a APPEND x y {3}\r\nz NOOP\r\n", |_| true, &["Some(a) error Syntax", NOOP]);
    let first = ["a append \"x\"", "message 3 () [] None ", "text foo", "AppendMessageEnd"];
    let with = |last: &'static str| [&first[..], &[last, NOOP]].concat();
    check("a APPEND x {3+}\r\nfoo bar\r\nz NOOP\r\n", |_| true, &with("Some(a) error Syntax"));
    check(
        "a APPEND x {3+}\r\nfoo (\\Foo) {3+}\r\nbar {1+}\r\n!\r\nz NOOP\r\n",
        |_| true,
        &with("Some(a) error Syntax"),
    );
    check("a APPEND x {3+}\r\nfoo {1001}\r\nz NOOP\r\n", |_| true, &with("Some(a) error TooBig"));
    check("a APPEND x {3+}\r\nfoo{3}\r\nz NOOP\r\n", |_| true, &with("Some(a) error Syntax"));
}

#[test]
fn idle_ends_with_done() {
    check("a IDLE\r\ndone\r\nz NOOP\r\n", |_| true, &["a Idle", "IdleDone", NOOP]);
    check("a IDLE\r\nz NOOP\r\nz NOOP\r\n", |_| true, &["a Idle", "None error Syntax", NOOP]);
}

#[test]
fn authenticate_reads_a_line() {
    let command = "a Authenticate { mechanism: \"PLAIN\", initial: None }";
    check(
        "a AUTHENTICATE PLAIN\r\nAHQ=\r\nz NOOP\r\n",
        |_| true,
        &[command, "AuthenticateData([65, 72, 81, 61])", NOOP],
    );
    check("a AUTHENTICATE PLAIN\r\n\r\nz NOOP\r\n", |_| true, &[command, "AuthenticateData([])", NOOP]);
    check("a AUTHENTICATE PLAIN\r\n*\r\nz NOOP\r\n", |_| true, &[command, "AuthenticateCancel", NOOP]);
}

#[test]
fn a_message_is_never_held() {
    let mut decoder = Decoder::new(Limits::default());
    let mut input: &[u8] = b"a APPEND x {500000000+}\r\n";
    while decoder.next(&mut input).expect("an APPEND").is_some() {}
    assert!(!decoder.accept_literal());
    let chunk = vec![b'x'; 1 << 16];
    for _ in 0..100 {
        let mut input = chunk.as_slice();
        assert_eq!(decoder.next(&mut input), Ok(Some(Event::LiteralData(&chunk))));
        assert_eq!(decoder.buffered_len(), 0);
    }
}

#[test]
fn what_is_held_is_bounded_whatever_comes() {
    let mut decoder = Decoder::new(Limits { line_len_max: 1000, literal_len_max: 500, ..Limits::default() });
    for input in [&b"a DELETE {500+}\r\n"[..], &[b'x'; 5000], b"{500+}\r\n", &[b' '; 5000]] {
        let mut input = input;
        while !input.is_empty() {
            let _ = decoder.next(&mut input);
            assert!(decoder.buffered_len() <= 1500);
        }
    }
}

fn error_of(line: &str) -> ErrorKind {
    let mut decoder = Decoder::new(Limits::default());
    let input = format!("a {line}\r\nz NOOP\r\n");
    let mut input = input.as_bytes();
    let error = decoder.next(&mut input).expect_err("too much");
    assert_eq!(input, b"z NOOP\r\n", "the connection goes on");
    error.kind
}

#[test]
fn more_than_a_limit() {
    assert_eq!(error_of(&format!("SEARCH {}ALL", "NOT ".repeat(10_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("SEARCH {}", "(".repeat(10_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("SEARCH {}", "OR ALL ".repeat(5_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("SEARCH {}", "OR ".repeat(10_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("SEARCH ALL{}", " ALL".repeat(10_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("FETCH 1{} FLAGS", ",3".repeat(20_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("FETCH 1 (UID{})", " UID".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("FETCH 1 BODY[1{}]", ".1".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("FETCH 1 BODY[HEADER.FIELDS (a{})]", " a".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("FETCH 1 BODY[HEADER.FIELDS (a{})]", "a".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("STORE 1 FLAGS (a{})", " a".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("STORE 1 FLAGS a{}", " a".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("STORE 1 FLAGS a{}", "a".repeat(300))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("LIST \"\" (a{})", " a".repeat(1_000))), ErrorKind::Limit);
    assert_eq!(error_of(&format!("ENABLE a{}", " a".repeat(1_000))), ErrorKind::Limit);
}

#[test]
fn limits_are_reached_before_they_are_passed() {
    let limits =
        Limits { search_depth_max: 3, set_ranges_max: 2, flags_max: 2, fetch_items_max: 2, ..Limits::default() };
    let parse = |line: &str| {
        let input = format!("a {line}\r\n");
        Decoder::new(limits.clone()).next(&mut input.as_bytes()).map(|_| ()).map_err(|error| error.kind)
    };
    for (fits, does_not) in [
        ("SEARCH NOT NOT NOT ALL", "SEARCH NOT NOT NOT NOT ALL"),
        ("SEARCH ((OR 1 2))", "SEARCH (((OR 1 2)))"),
        ("SEARCH OR OR OR 1 2 3 4", "SEARCH OR OR OR OR 1 2 3 4 5"),
        ("SEARCH OR 1 OR 2 OR 3 4", "SEARCH OR 1 OR 2 OR 3 OR 4 5"),
        ("FETCH 1,2 UID", "FETCH 1,2,3 UID"),
        ("FETCH 1 (UID FLAGS)", "FETCH 1 (UID FLAGS BODY)"),
        ("STORE 1 FLAGS (a b)", "STORE 1 FLAGS (a b c)"),
        ("STORE 1 FLAGS a b", "STORE 1 FLAGS a b c"),
    ] {
        assert_eq!(parse(fits), Ok(()), "{fits}");
        assert_eq!(parse(does_not), Err(ErrorKind::Limit), "{does_not}");
    }
}
