//! THREAD (RFC 5256).

use crate::common::Host;
use mailtypes::Flags;

fn put(host: &Host, id: u32, references: &str, subject: &str) {
    let text = format!(
        "Subject: {subject}\nMessage-ID: <{id}@x>\nReferences: {references}\nDate: {} Jan 2024 10:00:00 +0000\n\nbody\n",
        id % 28 + 1
    );
    host.put("INBOX", text.as_bytes(), Flags::NONE);
}

#[tokio::test]
async fn messages_are_threaded() {
    let host = Host::new();
    for (id, references, subject) in [
        (1, "", "plan"),
        (2, "<1@x>", "Re: plan"),
        (3, "<1@x> <2@x>", "Re: plan"),
        (4, "<1@x>", "other"),
        (5, "<gone@x>", "left"),
        (6, "<gone@x>", "behind"),
        (7, "", "Re: plan"),
    ] {
        put(&host, id, references, subject);
    }
    let mut client = host.select().await;
    for (algorithm, expected) in [
        ("REFERENCES", "(1 (2 3)(4)(7))((5)(6))"),
        ("REFS", "(1 (2 3)(4))((5)(6))(7)"),
        ("ORDEREDSUBJECT", "(1 (2)(3)(7))(4)(5)(6)"),
    ] {
        let answer = client.ok(format!("THREAD {algorithm} UTF-8 ALL")).await;
        assert_eq!(answer, format!("* THREAD {expected}\r\ntag OK Thread completed.\r\n"), "{algorithm}");
    }
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert!(client.ok("UID THREAD REFS UTF-8 ALL").await.starts_with("* THREAD ((2 3)(4))((5)(6))(7)\r\n"));
    assert!(client.ok("THREAD REFS UTF-8 SUBJECT nosuch").await.starts_with("* THREAD\r\n"));
    assert!(client.command("THREAD NONE UTF-8 ALL").await.starts_with("tag BAD"));
}

/// A chain of answers, loops over loops, and References of ten thousand: none takes the stack or the square of its length.
#[tokio::test]
async fn hostile_references_cost_little() {
    const COUNT: u32 = 3000;
    let host = Host::new();
    for id in 1..=COUNT {
        put(&host, id, &format!("<{}@x>", id - 1), "deep");
    }
    for id in 1..=20 {
        let many: Vec<String> = (0..10_000).map(|n| format!("<{}@loop>", (n * id) % 5000)).collect();
        put(&host, COUNT + id, &many.join("\n "), "wide");
    }
    let mut client = host.select().await;
    for algorithm in ["REFERENCES", "REFS"] {
        let answer = client.ok(format!("THREAD {algorithm} UTF-8 ALL")).await;
        let numbers = answer.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()).count();
        assert_eq!(numbers, COUNT as usize + 20);
        assert_eq!(answer.matches('(').count(), answer.matches(')').count());
    }
}
