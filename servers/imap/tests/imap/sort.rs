//! SORT (RFC 5256, RFC 5267 §3) and what SEARCH has beside it.

use crate::common::Host;
use mailtypes::Flags;

fn host() -> Host {
    let host = Host::new();
    for (from, subject, date) in [
        ("Zoe <ann@x>", "Re: beta", "2 Jan 2024 10:00:00 +0000"),
        ("Bob <bob@x>", "alpha", "1 Jan 2024 10:00:00 +0000"),
        ("\"Doe, Jane\" <carl@x>", "[list] Beta", "3 Jan 2024 10:00:00 +0000"),
        ("adam@x", "Fwd: alpha (fwd)", "31 Dec 2023 23:00:00 -0500"),
    ] {
        let text = format!("From: {from}\nTo: me@x\nSubject: {subject}\nDate: {date}\n\nbody\n");
        host.put("INBOX", text.as_bytes(), Flags::NONE);
    }
    host
}

#[tokio::test]
async fn messages_are_sorted() {
    let host = host();
    let mut client = host.select().await;
    for (criteria, expected) in [
        ("SUBJECT", "2 4 1 3"),
        ("REVERSE SUBJECT", "1 3 2 4"),
        ("SUBJECT REVERSE DATE", "2 4 3 1"),
        ("FROM", "4 1 2 3"),
        ("DISPLAYFROM", "4 2 3 1"),
        ("DATE", "4 2 1 3"),
        ("ARRIVAL", "1 2 3 4"),
        ("TO REVERSE ARRIVAL REVERSE SIZE", "3 4 1 2"),
    ] {
        let answer = client.ok(format!("SORT ({criteria}) UTF-8 ALL")).await;
        assert_eq!(answer, format!("* SORT {expected}\r\ntag OK Sort completed.\r\n"), "{criteria}");
    }
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert!(client.ok("UID SORT (SUBJECT) US-ASCII ALL").await.starts_with("* SORT 4 1 3\r\n"));
    assert!(client.ok("SORT (SUBJECT) UTF-8 SUBJECT nosuch").await.starts_with("* SORT\r\n"));
    assert!(client.command("SORT (SUBJECT) X-NONE ALL").await.starts_with("tag NO [BADCHARSET"));
    assert!(client.command("SORT () UTF-8 ALL").await.starts_with("tag BAD"));
    let modseqs = client.ok("SORT (SUBJECT) UTF-8 MODSEQ 1").await;
    assert!(modseqs.contains("* SORT 3 1 2 (MODSEQ "), "{modseqs}");
}

#[tokio::test]
async fn sorted_results_are_returned_and_saved() {
    let host = host();
    let mut client = host.select().await;
    let answer = client.ok("SORT RETURN (MIN MAX ALL COUNT) (REVERSE SUBJECT) UTF-8 ALL").await;
    assert!(answer.contains(" MIN 1 MAX 4 COUNT 4 ALL 1,3,2,4\r\n"), "{answer}");
    let answer = client.ok("UID SORT RETURN () (DATE) UTF-8 2:3").await;
    assert!(answer.contains(" UID ALL 2:3\r\n"), "{answer}");
    assert_eq!(client.ok("SORT RETURN (SAVE MIN) (DATE) UTF-8 ALL").await.matches(" MIN 4\r\n").count(), 1);
    assert!(client.ok("SEARCH $").await.starts_with("* SEARCH 4\r\n"));
    assert!(client.ok("SORT (SUBJECT) UTF-8 NOT $").await.starts_with("* SORT 2 1 3\r\n"));
}

#[tokio::test]
async fn addresses_are_searched_as_they_are_written_alike() {
    let host = host();
    let mut client = host.select().await;
    for (key, expected) in [
        ("FROM \"\\\"doe, jane\\\" <\"", " 3"),
        ("FROM \"<adam@x>\"", " 4"),
        ("HEADER From \"<adam@x>\"", ""),
        ("FROM zoe", " 1"),
        ("CC \"\"", ""),
        ("TO me@x", " 1 2 3 4"),
    ] {
        assert!(client.ok(format!("SEARCH {key}")).await.starts_with(&format!("* SEARCH{expected}\r\n")), "{key}");
    }
}

#[tokio::test]
async fn messages_are_found_by_age_and_identity() {
    let host = host();
    let mut client = host.select().await;
    for (key, expected) in [
        ("OLDER 10", " 1 2 3 4"),
        ("YOUNGER 10", ""),
        ("SAVEDATESUPPORTED", " 1 2 3 4"),
        ("SAVEDBEFORE 1-Jan-2000", ""),
        ("SAVEDSINCE 1-Jan-2000", " 1 2 3 4"),
        ("THREADID T1", ""),
    ] {
        assert!(client.ok(format!("SEARCH {key}")).await.starts_with(&format!("* SEARCH{expected}\r\n")), "{key}");
    }
    let told = client.ok("FETCH 2 EMAILID").await;
    let id = told.split("EMAILID (").nth(1).unwrap().split(')').next().unwrap();
    assert!(client.ok(format!("SEARCH EMAILID {id}")).await.starts_with("* SEARCH 2\r\n"), "{told}");
}

#[tokio::test]
async fn texts_come_in_their_charsets() {
    let host = Host::new();
    host.put("INBOX", "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n\nПривет\n".as_bytes(), Flags::NONE);
    let mut client = host.select().await;
    for (charset, key, text) in [
        ("ISO-8859-1", "SUBJECT", &b"gr\xfc"[..]),
        ("windows-1252", "TEXT", b"GR\xdc\xdf"),
        ("koi8-r", "BODY", b"\xd2\xc9\xd7"),
        ("UTF-8", "BODY", "ИВЕТ".as_bytes()),
    ] {
        let head = format!("SEARCH CHARSET {charset} {key} {{{}+}}\r\n", text.len());
        let answer = client.ok([head.as_bytes(), text].concat()).await;
        assert!(answer.starts_with("* SEARCH 1\r\n"), "{charset}: {answer}");
    }
}
