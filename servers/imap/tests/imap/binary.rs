//! BINARY (RFC 3516). The answers are those of Dovecot 2.3.19 to the same.

use crate::common::Host;
use mailtypes::Flags;

const PARTS: &str = "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n\
    --b\nContent-Transfer-Encoding: base64\n\nYWJj\n\
    --b\nContent-Type: message/rfc822\n\nContent-Transfer-Encoding: base64\n\neHl6\n\
    --b\nContent-Transfer-Encoding: x-foo\n\nbad\n\
    --b\nContent-Transfer-Encoding: quoted-printable\n\na=ZZ\n\
    --b\n\nplain\n--b--\n";

async fn fetches(messages: &[&str], cases: &[(u32, &str, &str)]) {
    let host = Host::new();
    messages.iter().for_each(|text| _ = host.put("INBOX", text.as_bytes(), Flags::NONE));
    let mut client = host.select().await;
    for (seq, item, expected) in cases {
        let told = client.command(format!("FETCH {seq} {item}")).await;
        assert_eq!(told, *expected, "{seq} {item}");
    }
}

fn told(seq: u32, items: &str) -> String {
    format!("* {seq} FETCH ({items})\r\ntag OK Fetch completed.\r\n")
}

#[tokio::test]
async fn parts_are_decoded() {
    let messages = [
        "Content-Transfer-Encoding: base64\nSubject: s\n\naGVsbG8g\nd29ybGQ=\n",
        "Content-Transfer-Encoding: quoted-printable\n\na=3Db =\nc  \nd=0A=00e\n",
        "Content-Transfer-Encoding: 8bit\n\nx\n",
        "Content-Transfer-Encoding: base64\n\nAAEC\n",
    ];
    let cases = [
        (1, "(BINARY.SIZE[1] BINARY.PEEK[1])", "BINARY.SIZE[1] 11 BINARY[1] ~{11}\r\nhello world"),
        (1, "BINARY.PEEK[1]<2.3>", "BINARY[1]<2> ~{3}\r\nllo"),
        (1, "BINARY.PEEK[1]<100.5>", "BINARY[1]<100> ~{0}\r\n"),
        (
            1,
            "(BINARY.PEEK[] BINARY.SIZE[])",
            "BINARY[] ~{60}\r\nSubject: s\r\nContent-Transfer-Encoding: binary\r\n\r\nhello world BINARY.SIZE[] 60",
        ),
        (1, "BINARY.PEEK[9]", "BINARY[9] {0}\r\n"),
        (1, "BINARY[1]", "FLAGS (\\Seen \\Recent) BINARY[1] ~{11}\r\nhello world"),
        (2, "BINARY.PEEK[1]", "BINARY[1] ~{13}\r\na=b c\r\nd\n\0e\r\n"),
        (3, "(BINARY.PEEK[1] BINARY.SIZE[1])", "BINARY[1] {3}\r\nx\r\n BINARY.SIZE[1] 3"),
        (4, "BINARY.PEEK[1]", "BINARY[1] ~{3}\r\n\0\u{1}\u{2}"),
    ];
    let answers: Vec<_> = cases.iter().map(|(seq, item, items)| (*seq, *item, told(*seq, items))).collect();
    let answers: Vec<_> = answers.iter().map(|(seq, item, answer)| (*seq, *item, answer.as_str())).collect();
    fetches(&messages, &answers).await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused() {
    let unknown = "tag NO [UNKNOWN-CTE] Unknown Content-Transfer-Encoding.\r\n";
    let broken = "tag NO [PARSE] Invalid data in a part.\r\n";
    let with = |items: &str| told(1, items);
    let (first, second, inner) = (
        with("BINARY[1] ~{3}\r\nabc BINARY.SIZE[1] 3"),
        with("BINARY[2] ~{41}\r\nContent-Transfer-Encoding: binary\r\n\r\nxyz"),
        with("BINARY[2.1] ~{3}\r\nxyz"),
    );
    let plain = with("BINARY[5] {5}\r\nplain");
    let mixed = format!("* 1 FETCH (BINARY[1] ~{{3}}\r\nabc)\r\n{unknown}");
    fetches(
        &[PARTS],
        &[
            (1, "(BINARY.PEEK[1] BINARY.SIZE[1])", &first),
            (1, "BINARY.PEEK[2]", &second.replace("{41}", "{40}")),
            (1, "BINARY.PEEK[2.1]", &inner),
            (1, "BINARY.PEEK[5]", &plain),
            (1, "BINARY.PEEK[3]", unknown),
            (1, "BINARY.SIZE[3]", unknown),
            (1, "BINARY.PEEK[]", unknown),
            (1, "BINARY.PEEK[4]", broken),
            (1, "(BINARY.PEEK[1] BINARY.PEEK[3])", &mixed),
        ],
    )
    .await;
}

/// Larger than all buffers; every partial is what the whole is there.
#[tokio::test]
async fn large_parts_are_streamed() {
    let line = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAx\n";
    let host = Host::new();
    let text = format!("Content-Transfer-Encoding: base64\n\n{}", line.repeat(20_000));
    host.put("INBOX", text.as_bytes(), Flags::NONE);
    let mut client = host.select().await;
    let whole = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz01".repeat(20_000);
    let answer = client.ok("FETCH 1 BINARY.PEEK[1]").await;
    assert!(answer.contains(&whole) && answer.starts_with(&format!("* 1 FETCH (BINARY[1] ~{{{}}}", whole.len())));
    for offset in [0, 1, 16_383, 16_384, 500_001, whole.len() - 7] {
        let answer = client.ok(format!("FETCH 1 BINARY.PEEK[1]<{offset}.7>")).await;
        assert!(answer.contains(&format!("~{{7}}\r\n{})", &whole[offset..offset + 7])), "{answer}");
    }
}

#[tokio::test]
async fn messages_with_nuls_are_taken_in_a_literal8() {
    let host = Host::new();
    let mut client = host.select().await;
    let message = b"Content-Transfer-Encoding: binary\r\n\r\na\0b\r\n";
    let append = |head: &str| [head.as_bytes(), message].concat();
    client.ok(append(&format!("APPEND INBOX ~{{{}+}}\r\n", message.len()))).await;
    client.ok("NOOP").await;
    assert_eq!(client.ok("FETCH 1 BINARY.PEEK[1]").await, told(1, "BINARY[1] ~{5}\r\na\0b\r\n"));
    assert!(client.ok("FETCH 1 BODY.PEEK[]").await.contains("a\u{fffd}b"), "no other literal has a NUL");
    let refused = client.command(append(&format!("APPEND INBOX {{{}+}}\r\n", message.len()))).await;
    assert!(refused.starts_with("tag NO"), "{refused}");
}
