//! APPEND, FETCH, STORE, SEARCH, COPY, MOVE, EXPUNGE.

use crate::common::Host;
use culver_runtime::Limits;
use mailstore::memory::MemoryOptions;
use mailtypes::{Flag, Flags};

/// A multipart with a text and a message.
const NESTED: &[u8] = b"From: Ann <ann@example.org>\n\
To: bob@example.org\n\
Subject: Outer\n\
Content-Type: multipart/mixed; boundary=b\n\
\n\
--b\n\
Content-Type: text/plain\n\
\n\
first\n\
--b\n\
Content-Type: message/rfc822\n\
\n\
Subject: Inner\n\
X-Other: y\n\
\n\
inner body\n\
--b--\n";

fn crlf(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace('\n', "\r\n")
}

#[tokio::test]
async fn append() {
    let host = Host::new();
    let mut client = host.select().await;
    let tag = client.next_tag();
    client.send(format!("{tag} APPEND INBOX (\\Seen $Label) \"17-Jul-1996 02:44:25 -0700\" {{14}}\r\n")).await;
    assert_eq!(client.line().await, "+ OK\r\n");
    client.send("Subject: x\r\n\r\n\r\n").await;
    let answer = client.answer(&tag).await;
    assert!(answer.contains("* 1 EXISTS\r\n* 1 RECENT\r\n"), "{answer}");
    assert!(answer.contains("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label)"), "{answer}");
    assert!(answer.contains("tag OK [APPENDUID ") && answer.ends_with(" 1] Append completed.\r\n"), "{answer}");
    assert_eq!(
        client.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)").await.lines().next().unwrap(),
        "* 1 FETCH (FLAGS (\\Seen \\Recent $Label) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 14)"
    );
    // Several at once.
    let answer = client.ok("APPEND INBOX {5+}\r\nA: b\n (\\Flagged) {5+}\r\nC: d\n").await;
    assert!(answer.contains(" 2:3] Append completed."), "{answer}");
    assert!(client.command("APPEND nowhere {3+}\r\nabc").await.starts_with("tag NO [TRYCREATE]"));
    // A client that waits is refused before it sends.
    assert!(client.command("APPEND nowhere {3}").await.starts_with("tag NO [TRYCREATE]"));
    assert!(client.command("APPEND INBOX {0+}\r\n").await.starts_with("tag NO [CANNOT]"));
    // None of them, if one is refused.
    let answer = client.command("APPEND INBOX {5+}\r\nA: b\n {6+}\r\nA: \0b\n").await;
    assert!(answer.starts_with("tag NO"), "{answer}");
    assert!(client.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 3"));
}

#[tokio::test]
async fn a_long_message_is_taken_in_pieces() {
    let limits = Limits { output_step_len: 1000, input_step_len: 700, ..Limits::default() };
    let host = Host::with(limits, MemoryOptions::default());
    let mut client = host.select().await;
    let text = format!("Subject: long\r\n\r\n{}", "0123456789abcdef\r\n".repeat(5_000));
    client.ok(format!("APPEND INBOX {{{}+}}\r\n{text}", text.len())).await;
    let fetched = client.ok("FETCH 1 BODY.PEEK[]").await;
    assert!(fetched.contains(&format!("* 1 FETCH (BODY[] {{{}}}\r\n{text})\r\n", text.len())));
    let part = client.ok("FETCH 1 BODY.PEEK[TEXT]<40000.3000>").await;
    let expected = &text[17 + 40_000..17 + 43_000];
    assert!(part.starts_with(&format!("* 1 FETCH (BODY[TEXT]<40000> {{3000}}\r\n{expected})\r\n")), "{part}");
}

#[tokio::test]
async fn fetch_sections() {
    let host = Host::new();
    host.put("INBOX", NESTED, Flag::Seen.into());
    let mut client = host.select().await;
    let whole = crlf(NESTED);
    let header = crlf(&NESTED[..NESTED.windows(2).position(|w| w == b"\n\n").unwrap() + 2]);
    let text = whole[header.len()..].to_owned();
    let inner = "Subject: Inner\r\nX-Other: y\r\n\r\ninner body";
    let cases: &[(&str, &str)] = &[
        ("BODY[]", &whole),
        ("RFC822", &whole),
        ("BODY[HEADER]", &header),
        ("RFC822.HEADER", &header),
        ("BODY[TEXT]", &text),
        ("RFC822.TEXT", &text),
        ("BODY[1]", "first"),
        ("BODY[1.MIME]", "Content-Type: text/plain\r\n\r\n"),
        ("BODY[2]", inner),
        ("BODY[2.HEADER]", "Subject: Inner\r\nX-Other: y\r\n\r\n"),
        ("BODY[2.TEXT]", "inner body"),
        ("BODY[2.1]", "inner body"),
        ("BODY[2.HEADER.FIELDS (x-other)]", "X-Other: y\r\n\r\n"),
        ("BODY[2.HEADER.FIELDS.NOT (X-Other)]", "Subject: Inner\r\n\r\n"),
        ("BODY[HEADER.FIELDS (Subject)]", "Subject: Outer\r\n\r\n"),
        ("BODY[HEADER.FIELDS (subject X-None subject)]", "Subject: Outer\r\n\r\n"),
        ("BODY[HEADER.FIELDS (X-None)]", "\r\n"),
        ("BODY[HEADER.FIELDS.NOT (Content-Type From To)]", "Subject: Outer\r\n\r\n"),
        ("BODY[1]<1.3>", "irs"),
        ("BODY[1]<4.100>", "t"),
        ("BODY[1]<100.5>", ""),
        ("BODY[HEADER.FIELDS (Subject)]<9.5>", "Outer"),
    ];
    for (item, expected) in cases {
        let asked = item.replace("BODY[", "BODY.PEEK[");
        let label = match item.split_once('<') {
            Some((section, partial)) => format!("{section}<{}>", partial.split('.').next().unwrap()),
            None => (*item).to_owned(),
        };
        assert_eq!(
            client.ok(format!("FETCH 1 {asked}")).await,
            format!("* 1 FETCH ({label} {{{}}}\r\n{expected})\r\ntag OK Fetch completed.\r\n", expected.len()),
            "{item}"
        );
    }
    for item in ["BODY[3]", "BODY[1.HEADER]", "BODY[1.2]", "BODY[1.HEADER.FIELDS (Subject)]"] {
        assert_eq!(
            client.ok(format!("FETCH 1 {item}")).await,
            format!("* 1 FETCH ({item} {{0}}\r\n)\r\ntag OK Fetch completed.\r\n")
        );
    }
    let several = client.ok("UID FETCH 1 (BODY.PEEK[1] RFC822.SIZE BODY.PEEK[2.TEXT] FLAGS)").await;
    assert_eq!(
        several.lines().next().unwrap().to_owned() + several.lines().nth(1).unwrap() + several.lines().nth(2).unwrap(),
        format!(
            "* 1 FETCH (UID 1 BODY[1] {{5}}first RFC822.SIZE {} BODY[2.TEXT] {{10}}inner body FLAGS (\\Seen \\Recent))",
            whole.len()
        )
    );
    let envelope = client.ok("FETCH 1 (ENVELOPE BODY BODYSTRUCTURE)").await;
    assert!(envelope.contains("ENVELOPE (NIL \"Outer\" ((\"Ann\" NIL \"ann\" \"example.org\"))"), "{envelope}");
    assert!(envelope.contains("BODYSTRUCTURE ((\"text\" \"plain\""), "{envelope}");
    assert!(client.command("FETCH 2 FLAGS").await.starts_with("tag BAD Invalid messageset."));
    assert_eq!(client.ok("UID FETCH 7 FLAGS").await, "tag OK Fetch completed.\r\n");
    assert_eq!(client.ok("UID FETCH 7:* UID").await, "* 1 FETCH (UID 1)\r\ntag OK Fetch completed.\r\n");
}

#[tokio::test]
async fn fetch_sets_seen() {
    let host = Host::new();
    for n in 0..3 {
        host.put("INBOX", b"Subject: x\n\nbody\n", if n == 1 { Flag::Seen.into() } else { Flags::NONE });
    }
    let mut reader = host.log_in().await;
    reader.ok("EXAMINE INBOX").await;
    reader.ok("FETCH 1:3 BODY[]").await;
    assert!(reader.ok("STATUS INBOX (UNSEEN)").await.contains("UNSEEN 2"), "EXAMINE changes nothing");
    let mut client = host.select().await;
    client.ok("FETCH 1:3 BODY.PEEK[]").await;
    assert!(client.ok("STATUS INBOX (UNSEEN)").await.contains("UNSEEN 2"));
    assert_eq!(
        client.ok("FETCH 1:2 BODY[TEXT]").await,
        "* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {6}\r\nbody\r\n)\r\n\
         * 2 FETCH (BODY[TEXT] {6}\r\nbody\r\n)\r\ntag OK Fetch completed.\r\n"
    );
    assert_eq!(
        client.ok("FETCH 3 (FLAGS RFC822.TEXT)").await,
        "* 3 FETCH (FLAGS (\\Seen \\Recent) RFC822.TEXT {6}\r\nbody\r\n)\r\ntag OK Fetch completed.\r\n"
    );
    assert!(client.ok("STATUS INBOX (UNSEEN)").await.contains("UNSEEN 0"));
    assert_eq!(
        reader.ok("NOOP").await,
        "* 1 FETCH (FLAGS (\\Seen \\Recent))\r\n* 3 FETCH (FLAGS (\\Seen \\Recent))\r\ntag OK NOOP completed.\r\n"
    );
}

#[tokio::test]
async fn store() {
    let host = Host::new();
    for _ in 0..3 {
        host.put("INBOX", b"Subject: x\n\nbody\n", Flags::NONE);
    }
    let (mut client, mut other) = (host.select().await, host.select().await);
    assert_eq!(
        client.ok("STORE 1:2 +FLAGS (\\Flagged)").await,
        "* 1 FETCH (FLAGS (\\Flagged \\Recent))\r\n* 2 FETCH (FLAGS (\\Flagged \\Recent))\r\ntag OK Store completed.\r\n"
    );
    assert_eq!(client.ok("STORE 1 +FLAGS.SILENT (\\Seen)").await, "tag OK Store completed.\r\n");
    assert!(client.ok("UID STORE 2 FLAGS ($New)").await.contains("* 2 FETCH (UID 2 FLAGS (\\Recent $New))\r\n"));
    assert_eq!(client.ok("STORE 2 -FLAGS.SILENT ($New)").await, "tag OK Store completed.\r\n");
    let told = other.ok("NOOP").await;
    assert!(told.contains("* 1 FETCH (FLAGS (\\Flagged \\Seen))\r\n"), "{told}");
    assert!(told.contains("* 2 FETCH (FLAGS ())\r\n"), "{told}");
    // Silent is one's own doing; what another did meanwhile is told.
    other.ok("STORE 3 +FLAGS (\\Answered)").await;
    assert_eq!(
        client.ok("STORE 3 +FLAGS.SILENT (\\Seen)").await,
        "* 3 FETCH (FLAGS (\\Answered \\Seen \\Recent))\r\ntag OK Store completed.\r\n"
    );
    assert!(client.command("STORE 4 +FLAGS (\\Seen)").await.starts_with("tag BAD"));
    assert_eq!(client.ok("UID STORE 99 +FLAGS (\\Seen)").await, "tag OK Store completed.\r\n");
}

#[tokio::test]
async fn search() {
    let host = Host::new();
    host.put("INBOX", b"Subject: apple\n\none\n", Flag::Seen.into());
    host.put("INBOX", b"Subject: pear\n\ntwo\n", Flags::NONE);
    host.put("INBOX", b"Subject: apple tart\n\nthree\n", Flags::NONE);
    let mut client = host.select().await;
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert!(client.ok("SEARCH ALL").await.starts_with("* SEARCH 1 2\r\n"));
    assert!(client.ok("UID SEARCH ALL").await.starts_with("* SEARCH 2 3\r\n"));
    assert!(client.ok("UID SEARCH SUBJECT apple").await.starts_with("* SEARCH 3\r\n"));
    assert!(client.ok("SEARCH BODY two").await.starts_with("* SEARCH 1\r\n"));
    assert!(client.ok("SEARCH SEEN").await.starts_with("* SEARCH\r\n"));
    let answer = client.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN").await;
    assert!(answer.contains("UID MIN 2 MAX 3 COUNT 2 ALL 2:3\r\n"), "{answer}");
    assert!(client.command("SEARCH CHARSET KLINGON ALL").await.starts_with("tag NO [BADCHARSET"));
}

#[tokio::test]
async fn copy_and_move() {
    let host = Host::new();
    for n in 0..4 {
        host.put(
            "INBOX",
            format!("Subject: {n}\n\nbody\n").as_bytes(),
            if n == 0 { Flag::Flagged.into() } else { Flags::NONE },
        );
    }
    let mut client = host.select().await;
    assert!(client.command("COPY 1 Other").await.starts_with("tag NO [TRYCREATE]"));
    assert!(client.command("MOVE 1 Other").await.starts_with("tag NO [TRYCREATE]"));
    client.ok("CREATE Other").await;
    let copied = client.ok("COPY 1:2 Other").await;
    assert!(copied.starts_with("tag OK [COPYUID ") && copied.ends_with(" 1:2 1:2] Copy completed.\r\n"), "{copied}");
    let moved = client.ok("UID MOVE 2,4 Other").await;
    let lines: Vec<_> = moved.lines().collect();
    assert!(lines[0].starts_with("* OK [COPYUID ") && lines[0].ends_with(" 2,4 3:4] Moved UIDs."), "{moved}");
    assert_eq!(lines[1..3], ["* 4 EXPUNGE", "* 2 EXPUNGE"], "{moved}");
    assert_eq!(lines.last(), Some(&"tag OK Move completed."));
    assert_eq!(client.ok("UID COPY 2 Other").await, "tag OK Copy completed.\r\n", "gone, and no error");
    client.ok("SELECT Other").await;
    assert!(client.ok("FETCH 1 FLAGS").await.contains("\\Flagged"));
    assert!(client.ok("FETCH 4 BODY.PEEK[HEADER.FIELDS (Subject)]").await.contains("Subject: 3\r\n"));
    let onto_itself = client.ok("COPY 1 Other").await;
    assert!(onto_itself.contains("* 5 EXISTS\r\n") && onto_itself.contains(" 1 5] Copy completed."), "{onto_itself}");
}

#[tokio::test]
async fn expunge() {
    let host = Host::new();
    for _ in 0..5 {
        host.put("INBOX", b"Subject: x\n\nbody\n", Flags::NONE);
    }
    let mut client = host.select().await;
    client.ok("STORE 1,3,5 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("UID EXPUNGE 2:3").await.lines().next(), Some("* 3 EXPUNGE"));
    let rest = client.ok("EXPUNGE").await;
    assert!(rest.starts_with("* 4 EXPUNGE\r\n* 1 EXPUNGE\r\n"), "{rest}");
    assert!(client.ok("UID FETCH 1:* UID").await.starts_with("* 1 FETCH (UID 2)\r\n* 2 FETCH (UID 4)\r\n"));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let host = Host::new();
    let mut client = host.select().await;
    client
        .send(
            "1 APPEND INBOX {5+}\r\nA: b\n\r\n2 STORE 1 +FLAGS (\\Seen)\r\n3 FETCH 1 FLAGS\r\n4 COPY 1 INBOX\r\n5 NOOP\r\n",
        )
        .await;
    for tag in 1..=5 {
        assert!(client.answer(&tag.to_string()).await.contains("tag OK"));
    }
    assert!(client.ok("FETCH 2 FLAGS").await.contains("\\Seen"));
}

#[tokio::test]
async fn how_input_is_cut_changes_nothing() {
    let script = b"1 APPEND INBOX (\\Flagged) {24+}\r\nSubject: x\r\n\r\nthe body\r\n {5+}\r\nA: b\n\r\n\
        2 UID SEARCH {4+}\r\nBODY {4+}\r\nbody\r\n3 SEARCH BODY {4+}\r\nbody\r\n\
        4 FETCH 1 (FLAGS BODY[]<3.9> ENVELOPE)\r\n5 IDLE\r\nDONE\r\n6 STORE 1:2 -FLAGS ({1}\r\n7 NOOP\r\n8 LOGOUT\r\n";
    let mut answers = Vec::new();
    for piece in [script.len(), 1, 2, 7] {
        let host = Host::new();
        let mut client = host.select().await;
        for bytes in script.chunks(piece) {
            client.send(bytes).await;
            tokio::task::yield_now().await;
        }
        let said = client.rest().await;
        assert!(said.ends_with("8 OK Logout completed.\r\n"), "{said}");
        // The incarnation's number is the clock's.
        let validity = host.storage.mailbox(&mailtypes::MailboxName::inbox()).unwrap().uid_validity();
        answers.push(said.replace(&format!(" {validity} "), " V "));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

#[tokio::test]
async fn fields_of_several_names_stand_as_in_the_message() {
    let host = Host::new();
    host.put("INBOX", b"B: 1\nA: 2\n folded\nC: 3\nb: 4\nD: 5\n\nA: body\n", Flags::NONE);
    let mut client = host.select().await;
    let answer = client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (d A b A x)]").await;
    assert!(answer.contains("B: 1\r\nA: 2\r\n folded\r\nb: 4\r\nD: 5\r\n\r\n)"), "{answer}");
}

#[tokio::test]
async fn what_dovecot_forgives_is_forgiven() {
    let host = Host::new();
    let mut client = host.select().await;
    assert_eq!(client.command("FETCH *:1 FLAGS").await, "tag BAD Invalid messageset.\r\n");
    host.put("INBOX", NESTED, Flags::NONE);
    client.ok("NOOP").await;
    assert!(client.ok("FETCH  1 ( FLAGS  UID )").await.contains("UID 1"));
    assert!(client.ok("FETCH *,7 UID").await.contains("UID 1"));
    assert_eq!(client.command("FETCH 7:* UID").await, "tag BAD Invalid messageset.\r\n");
    assert_eq!(client.ok("SEARCH  ALL  ( UNSEEN )").await, "* SEARCH 1\r\ntag OK Search completed.\r\n");
    assert_eq!(client.ok("SEARCH SENTBEFORE 1-Jan-1971").await, "* SEARCH 1\r\ntag OK Search completed.\r\n");
    assert_eq!(client.ok("FETCH 1 (UID UID)").await, "* 1 FETCH (UID 1)\r\ntag OK Fetch completed.\r\n");
    assert_eq!(client.ok("UID COPY 9 nowhere").await, "tag OK Copy completed.\r\n");
    assert!(client.command("UID COPY 1 nowhere").await.starts_with("tag NO [TRYCREATE]"));
    assert!(client.command("SUBSCRIBE nowhere").await.starts_with("tag NO"));
}
