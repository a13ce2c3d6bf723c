//! Messages that another session expunged and that still have their numbers here: what is told and done meanwhile.

use crate::common::{Client, Host};
use mailtypes::Flags;

fn hosts() -> [Host; 3] {
    [Host::new(), Host::on_sdbox(), Host::on_maildir()]
}

/// Two sessions at a mailbox of so many messages that are not recent.
async fn two_at(host: &Host, messages: u32) -> (Client, Client) {
    for n in 1..=messages {
        host.put("INBOX", format!("Subject: {n}\n\nbody\n").as_bytes(), Flags::NONE);
    }
    host.select().await.ok("UNSELECT").await;
    (host.log_in().await, host.select().await)
}

async fn expunge(client: &mut Client, uids: &str) {
    client.ok(format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)")).await;
    client.ok(format!("UID EXPUNGE {uids}")).await;
}

/// The number after a word.
fn number_after(answer: &str, word: &str) -> u64 {
    let rest = &answer[answer.find(word).unwrap_or_else(|| panic!("{word} in {answer}")) + word.len()..];
    let digits: String = rest.trim_start_matches([' ', '(']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("a number after {word} in {answer}"))
}

/// RFC 7162 §6, A150 to A152: whoever comes back with the largest mod-sequence told hears of the expunge.
#[tokio::test]
async fn who_comes_back_hears_of_expunges_that_were_held_back() {
    for command in ["STORE 7 +FLAGS (\\Flagged)", "FETCH 7 BODY[TEXT]", "STORE 7 (UNCHANGEDSINCE 99) +FLAGS (x)"] {
        for host in hosts() {
            let (mut client, mut other) = two_at(&host, 10).await;
            client.ok("ENABLE QRESYNC").await;
            let selected = client.ok("SELECT INBOX").await;
            let (validity, before) = (number_after(&selected, "UIDVALIDITY"), number_after(&selected, "HIGHESTMODSEQ"));
            expunge(&mut other, "5").await;
            let told = client.ok(command).await;
            let ahead = number_after(&told, "MODSEQ (");
            assert!(ahead > before && !told.contains("VANISHED"), "{told}");
            let may_use = number_after(&told, "[HIGHESTMODSEQ");
            assert_eq!(may_use, before, "{command}: {told}");
            let told = client.ok("FETCH 7 (MODSEQ)").await;
            assert_eq!(number_after(&told, "tag OK [HIGHESTMODSEQ"), before, "{told}");
            let mut back = host.log_in().await;
            back.ok("ENABLE QRESYNC").await;
            let told = back.ok(format!("SELECT INBOX (QRESYNC ({validity} {may_use}))")).await;
            assert!(told.contains("* VANISHED (EARLIER) 5\r\n"), "{command}: {told}");
            // Now it is told, and nothing is behind it.
            let told = client.ok("NOOP").await;
            assert!(told.contains("* VANISHED 5\r\n"), "{told}");
            let now = number_after(&told, "tag OK [HIGHESTMODSEQ");
            assert!(now >= ahead, "{told}");
            assert_eq!(client.ok("NOOP").await, "tag OK NOOP completed.\r\n", "told once");
            let told = client.ok("STORE 1 +FLAGS (\\Seen)").await;
            assert!(!told.contains("HIGHESTMODSEQ"), "nothing is held back: {told}");
        }
    }
}

/// One response has one code.
#[tokio::test]
async fn highestmodseq_stands_alone_where_the_answer_has_a_code() {
    let host = Host::new();
    let (mut client, mut other) = two_at(&host, 4).await;
    client.ok("ENABLE QRESYNC").await;
    let before = number_after(&client.ok("SELECT INBOX").await, "HIGHESTMODSEQ");
    expunge(&mut other, "2").await;
    other.ok("UID STORE 4 +FLAGS.SILENT (\\Seen)").await;
    let told = client.ok(format!("STORE 3:4 (UNCHANGEDSINCE {before}) +FLAGS (x)")).await;
    assert!(told.contains("* OK [HIGHESTMODSEQ ") && told.contains("tag OK [MODIFIED 4]"), "{told}");
    let told = client.ok("COPY 1 INBOX").await;
    assert!(told.contains("* VANISHED 2\r\n") && told.contains("* OK [HIGHESTMODSEQ "), "{told}");
    assert!(told.contains("tag OK [COPYUID "), "{told}");
    // Without QRESYNC nobody comes back with it.
    let (mut client, mut other) = (host.select().await, host.select().await);
    client.ok("ENABLE CONDSTORE").await;
    expunge(&mut other, "1").await;
    assert!(!client.ok("STORE 2 +FLAGS (y)").await.contains("HIGHESTMODSEQ"));
}

#[tokio::test]
async fn a_condition_does_not_hold_for_messages_that_are_gone() {
    for host in hosts() {
        let (mut client, mut other) = two_at(&host, 4).await;
        client.ok("SELECT INBOX").await;
        expunge(&mut other, "2").await;
        let told = client.ok("STORE 1:3 (UNCHANGEDSINCE 99) +FLAGS.SILENT (\\Flagged)").await;
        assert!(told.ends_with("tag OK [MODIFIED 2] Conditional store failed.\r\n"), "{told}");
        assert_eq!(told.matches(" FETCH (UID ").count(), 2, "each of those that passed is told once: {told}");
        let told = client.ok("UID STORE 2,4 (UNCHANGEDSINCE 99) +FLAGS.SILENT (\\Flagged)").await;
        assert!(told.ends_with("tag OK [MODIFIED 2] Conditional store failed.\r\n"), "{told}");
        assert!(told.contains("* 2 EXPUNGE\r\n"), "{told}");
    }
}

/// As Dovecot does; RFC 2180 §4.4.1. UID MOVE takes what is left (RFC 3501 §6.4.8).
#[tokio::test]
async fn what_is_gone_is_not_copied_and_that_is_said() {
    const REFUSED: &str = "tag NO [EXPUNGEISSUED] Some of the requested messages no longer exist.\r\n";
    for host in hosts() {
        let (mut client, mut other) = two_at(&host, 8).await;
        client.ok("SELECT INBOX").await;
        client.ok("CREATE There").await;
        for (uid, command) in [(1, "COPY 1:2"), (2, "COPY 1"), (3, "MOVE 1:2"), (4, "UID COPY 4:5"), (5, "MOVE 1")] {
            expunge(&mut other, &uid.to_string()).await;
            let told = client.command(format!("{command} There")).await;
            assert_eq!(told, format!("* 1 EXPUNGE\r\n{REFUSED}"), "{command}");
            assert!(other.ok("STATUS There (MESSAGES)").await.contains("MESSAGES 0)"), "{command}");
        }
        assert!(client.ok("UID SEARCH ALL").await.starts_with("* SEARCH 6 7 8\r\n"), "nothing else is gone");
        expunge(&mut other, "6").await;
        let told = client.ok("UID MOVE 6:7 There").await;
        assert!(told.starts_with("* OK [COPYUID ") && told.contains(" 7 "), "{told}");
        assert!(other.ok("STATUS There (MESSAGES)").await.contains("MESSAGES 1)"));
    }
}
