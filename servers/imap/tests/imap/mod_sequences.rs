//! CONDSTORE and QRESYNC (RFC 7162), after its examples.

use crate::common::{Client, Host};
use mailtypes::{Flag, Flags};

const MAIL: &[u8] = b"Subject: x\n\nbody\n";

/// The number after a word.
fn number_after(answer: &str, word: &str) -> u64 {
    let rest = &answer[answer.find(word).unwrap_or_else(|| panic!("{word} in {answer}")) + word.len()..];
    let digits: String = rest.trim_start_matches([' ', '(']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("a number after {word} in {answer}"))
}

async fn highest(client: &mut Client) -> u64 {
    number_after(&client.ok("STATUS INBOX (HIGHESTMODSEQ)").await, "HIGHESTMODSEQ")
}

/// Messages that are not recent any more.
async fn host_with(messages: u32) -> Host {
    let host = Host::new();
    for _ in 0..messages {
        host.put("INBOX", MAIL, Flags::NONE);
    }
    host.select().await.ok("UNSELECT").await;
    host
}

#[tokio::test]
async fn every_way_to_enable_mod_sequences() {
    for command in [
        "ENABLE CONDSTORE",
        "ENABLE QRESYNC",
        "SELECT INBOX (CONDSTORE)",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "FETCH 1 MODSEQ",
        "FETCH 1 FLAGS (CHANGEDSINCE 1)",
        "SEARCH MODSEQ 1",
        "STORE 1 (UNCHANGEDSINCE 9999) +FLAGS (\\Seen)",
        "LIST \"\" INBOX RETURN (STATUS (HIGHESTMODSEQ))",
    ] {
        let host = host_with(2).await;
        let (mut client, mut other) = (host.select().await, host.select().await);
        other.ok("STORE 2 +FLAGS.SILENT (\\Flagged)").await;
        let told = client.ok("NOOP").await;
        assert_eq!(told, "* 2 FETCH (FLAGS (\\Flagged))\r\ntag OK NOOP completed.\r\n", "before {command}");
        let answer = client.ok(command).await;
        assert!(answer.contains("* OK [HIGHESTMODSEQ "), "{command}: {answer}");
        other.ok("STORE 2 -FLAGS.SILENT (\\Flagged)").await;
        let told = client.ok("NOOP").await;
        assert!(told.starts_with("* 2 FETCH (UID 2 FLAGS () MODSEQ ("), "after {command}: {told}");
    }
}

#[tokio::test]
async fn silent_changes_are_told_by_their_mod_sequence() {
    let host = host_with(2).await;
    let mut client = host.select().await;
    client.ok("ENABLE CONDSTORE").await;
    let told = client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    assert!(told.starts_with("* 1 FETCH (UID 1 MODSEQ ("), "{told}");
    let told = client.ok("STORE 2 +FLAGS (\\Deleted)").await;
    assert!(told.starts_with("* 2 FETCH (UID 2 FLAGS (\\Deleted) MODSEQ ("), "{told}");
}

#[tokio::test]
async fn seen_by_reading_comes_with_its_mod_sequence() {
    let host = host_with(1).await;
    let mut client = host.select().await;
    client.ok("ENABLE CONDSTORE").await;
    let told = client.ok("FETCH 1 BODY[TEXT]").await;
    assert!(told.contains("* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ ("), "{told}");
    assert_eq!(client.ok("NOOP").await, "tag OK NOOP completed.\r\n");
}

#[tokio::test]
async fn conditional_store() {
    let host = host_with(3).await;
    let (mut client, mut other) = (host.select().await, host.select().await);
    client.ok("ENABLE CONDSTORE").await;
    let before = highest(&mut client).await;
    other.ok("STORE 2 +FLAGS.SILENT (\\Answered)").await;
    let command = format!("STORE 1:3 (UNCHANGEDSINCE {before}) +FLAGS.SILENT (\\Deleted)");
    let told = client.ok(&command).await;
    assert!(told.contains("* 1 FETCH (UID 1 MODSEQ (") && told.contains("* 3 FETCH (UID 3 MODSEQ ("), "{told}");
    assert!(told.contains("* 2 FETCH (UID 2 FLAGS (\\Answered) MODSEQ ("), "why it failed is told: {told}");
    assert!(told.ends_with("tag OK [MODIFIED 2] Conditional store failed.\r\n"), "{told}");
    // One that changes nothing passes too, and is told.
    let now = highest(&mut client).await;
    let told = client.ok(format!("UID STORE 3 (UNCHANGEDSINCE {now}) +FLAGS.SILENT (\\Deleted)")).await;
    assert!(told.starts_with("* 3 FETCH (UID 3 ") && told.ends_with("tag OK Store completed.\r\n"), "{told}");
    client.ok("UID EXPUNGE 1").await;
    let told = client.ok("UID STORE 2:3 (UNCHANGEDSINCE 0) FLAGS ($Done)").await;
    assert!(told.ends_with("tag OK [MODIFIED 2:3] Conditional store failed.\r\n"), "{told}");
    let told = client.ok("STORE 1:2 (UNCHANGEDSINCE 0) FLAGS ($Done)").await;
    assert!(told.ends_with("tag OK [MODIFIED 1:2] Conditional store failed.\r\n"), "{told}");
    assert!(client.ok("FETCH 1:2 FLAGS").await.matches("$Done").count() == 0);
}

/// Each adds one to a counter kept in keywords; a compare-and-swap that lets two through at once loses a step.
#[tokio::test]
async fn conditional_stores_at_once() {
    const STEPS: u32 = 40;
    let host = host_with(1).await;
    let climb = |mut client: Client| async move {
        let mut taken = 0;
        loop {
            let told = client.ok("FETCH 1 (FLAGS MODSEQ)").await;
            let line = told.lines().rfind(|line| line.contains("FLAGS (")).unwrap().to_owned();
            let step = line.find("step").map_or(0, |_| number_after(&line, "step")) as u32;
            if step == STEPS {
                return taken;
            }
            let mod_seq = number_after(&line, "MODSEQ");
            let next = step + 1;
            let told = client.ok(format!("STORE 1 (UNCHANGEDSINCE {mod_seq}) FLAGS.SILENT (step{next})")).await;
            taken += u32::from(!told.contains("[MODIFIED 1]"));
        }
    };
    let (one, two, three) = (host.select().await, host.select().await, host.select().await);
    let (one, two, three) = tokio::join!(climb(one), climb(two), climb(three));
    assert_eq!(one + two + three, STEPS, "each step is taken by one: {one} {two} {three}");
}

#[tokio::test]
async fn changes_since() {
    let host = host_with(4).await;
    let mut client = host.select().await;
    let before = highest(&mut client).await;
    client.ok("STORE 2 +FLAGS.SILENT (\\Seen)").await;
    client.ok("STORE 4 +FLAGS.SILENT (\\Flagged)").await;
    let told = client.ok(format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before})")).await;
    assert_eq!(told.matches(" FETCH (").count(), 2, "{told}");
    assert!(told.contains("* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ ("), "{told}");
    assert!(told.contains("* 4 FETCH (UID 4 FLAGS (\\Flagged) MODSEQ ("), "{told}");
    assert!(client.command("UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)").await.starts_with("tag BAD"));
    assert!(client.command("FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)").await.starts_with("tag BAD"));
}

#[tokio::test]
async fn searches_for_mod_sequences() {
    let host = host_with(4).await;
    let mut client = host.select().await;
    client.ok("ENABLE CONDSTORE").await;
    let before = highest(&mut client).await;
    let of_two = number_after(&client.ok("STORE 2 +FLAGS (\\Seen)").await, "MODSEQ");
    let of_four = number_after(&client.ok("STORE 4 +FLAGS (\\Seen)").await, "MODSEQ");
    let since = before + 1;
    let found = client.ok(format!("SEARCH MODSEQ {since}")).await;
    assert!(found.starts_with(&format!("* SEARCH 2 4 (MODSEQ {of_four})\r\n")), "{found}");
    let found = client.ok(format!("SEARCH NOT MODSEQ \"/flags/\\\\draft\" all {since} DELETED")).await;
    assert!(found.starts_with("* SEARCH\r\n"), "{found}");
    // RFC 4731 §3.2: of what is told.
    for (returns, mod_seq) in [("MIN", of_two), ("MAX", of_four), ("MIN MAX", of_four), ("MIN COUNT", of_four)] {
        let found = client.ok(format!("SEARCH RETURN ({returns}) MODSEQ {since}")).await;
        assert!(found.contains(&format!(" MODSEQ {mod_seq}")), "{returns}: {found}");
    }
    for (returns, mod_seq) in
        [("MIN", of_two), ("MAX", of_four), ("SAVE MIN", of_two), ("ALL", of_four), ("SAVE", of_four)]
    {
        let found = client.ok(format!("SORT RETURN ({returns}) (ARRIVAL) UTF-8 MODSEQ {since}")).await;
        assert!(found.starts_with("* ESEARCH ") && found.contains(&format!(" MODSEQ {mod_seq}")), "{returns}: {found}");
    }
    assert_eq!(client.ok("SORT RETURN (SAVE) (ARRIVAL) UTF-8 MODSEQ 999999").await, "tag OK Sort completed.\r\n");
    let found = client.ok("SEARCH RETURN (ALL) SEEN").await;
    assert!(!found.contains("MODSEQ"), "{found}");
}

#[tokio::test]
async fn vanished_takes_the_place_of_expunge() {
    let host = host_with(11).await;
    let (mut client, mut other) = (host.log_in().await, host.select().await);
    assert_eq!(client.ok("ENABLE QRESYNC").await, "* ENABLED QRESYNC\r\ntag OK Enabled.\r\n");
    client.ok("SELECT INBOX").await;
    client.ok("STORE 3,4,7,11 +FLAGS.SILENT (\\Deleted)").await;
    let told = client.ok("EXPUNGE").await;
    assert!(told.starts_with("* VANISHED 3:4,7,11\r\n"), "{told}");
    let highest_told = number_after(&told, "tag OK [HIGHESTMODSEQ");
    assert_eq!(highest_told, highest(&mut client).await);
    assert_eq!(client.ok("EXPUNGE").await, "tag OK Expunge completed.\r\n", "nothing expunged, nothing told");
    other.ok("NOOP").await;
    other.ok("STORE 1,2 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    host.put("INBOX", MAIL, Flags::NONE);
    let told = client.ok("NOOP").await;
    assert!(told.contains("* VANISHED 1:2\r\n* 6 EXISTS\r\n"), "{told}");
    let told = client.ok("UID MOVE 5 INBOX").await;
    assert!(told.contains("* VANISHED 5\r\n") && told.contains("tag OK [HIGHESTMODSEQ "), "{told}");
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("CLOSE").await, "tag OK Close completed.\r\n", "RFC 7162 §3.2.8: no HIGHESTMODSEQ");
}

#[tokio::test]
async fn vanished_waits_while_numbers_count() {
    let host = host_with(3).await;
    let (mut client, mut other) = (host.log_in().await, host.select().await);
    client.ok("ENABLE QRESYNC").await;
    client.ok("SELECT INBOX").await;
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    for command in ["FETCH 2 UID", "STORE 2 +FLAGS (\\Seen)", "SEARCH ALL", "UID SEARCH 1:3", "UID SEARCH NOT (OR 1 2)"]
    {
        let told = client.command(command).await;
        assert!(!told.contains("VANISHED"), "{command}: {told}");
    }
    assert!(client.ok("UID SEARCH ALL").await.contains("* VANISHED 1\r\n"));
}

#[tokio::test]
async fn quick_resynchronization() {
    let host = host_with(6).await;
    let mut before = host.log_in().await;
    let selected = before.ok("SELECT INBOX").await;
    let validity = number_after(&selected, "UIDVALIDITY");
    let known = number_after(&selected, "HIGHESTMODSEQ");
    before.ok("STORE 2,5 +FLAGS.SILENT (\\Deleted)").await;
    before.ok("EXPUNGE").await;
    before.ok("STORE 1 +FLAGS.SILENT (\\Seen)").await;
    host.put("INBOX", MAIL, Flag::Flagged.into());

    let mut client = host.log_in().await;
    let command = format!("SELECT INBOX (QRESYNC ({validity} {known} 1:6))");
    assert!(client.command(&command).await.starts_with("tag BAD"), "not enabled");
    client.ok("ENABLE QRESYNC").await;
    let told = client.ok(&command).await;
    let (head, tail) = told.split_once("* VANISHED (EARLIER) 2,5\r\n").unwrap_or_else(|| panic!("{told}"));
    assert!(head.contains("* 5 EXISTS") && head.contains("[HIGHESTMODSEQ "), "{told}");
    assert!(tail.starts_with("* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ ("), "{told}");
    assert_eq!(tail.matches("FETCH").count(), 1, "7 was not known: {told}");
    // Without known UIDs: all that was.
    let told = client.ok(format!("SELECT INBOX (QRESYNC ({validity} {known}))")).await;
    assert!(told.starts_with("* OK [CLOSED]"), "{told}");
    assert!(told.contains("* 5 FETCH (UID 7 FLAGS (\\Flagged"), "{told}");
    assert!(told.contains("* VANISHED (EARLIER) 2,5\r\n"), "{told}");
    // What the client knows by its place needs not be told: message 2 has UID 3, so 2 is known to be gone.
    let told = client.ok(format!("SELECT INBOX (QRESYNC ({validity} {known} 1:6 (1:2,4 1,3,5)))")).await;
    assert!(told.contains("* VANISHED (EARLIER) 5\r\n"), "{told}");
    // Another incarnation: as without the parameter.
    let told = client.ok(format!("SELECT INBOX (QRESYNC ({} {known} 1:6))", validity + 1)).await;
    assert!(!told.contains("VANISHED") && !told.contains("FETCH"), "{told}");
    let told = client.ok(format!("UID FETCH 3:* (FLAGS) (CHANGEDSINCE {known} VANISHED)")).await;
    assert!(told.starts_with("* VANISHED (EARLIER) 5\r\n* 5 FETCH (UID 7 "), "{told}");
}

/// The backends with a log tell what vanished since, and no more.
#[tokio::test]
async fn what_vanished_before_is_not_told_again() {
    for host in [Host::on_sdbox(), Host::on_maildir()] {
        for _ in 0..6 {
            host.put("INBOX", MAIL, Flags::NONE);
        }
        let mut client = host.log_in().await;
        client.ok("ENABLE QRESYNC").await;
        let validity = number_after(&client.ok("SELECT INBOX").await, "UIDVALIDITY");
        client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
        let known = number_after(&client.ok("EXPUNGE").await, "tag OK [HIGHESTMODSEQ");
        client.ok("UID STORE 4:5 +FLAGS.SILENT (\\Deleted)").await;
        client.ok("EXPUNGE").await;
        host.put("INBOX", MAIL, Flags::NONE);
        client.ok("NOOP").await;
        client.ok("UID STORE 7 +FLAGS.SILENT (\\Deleted)").await;
        client.ok("EXPUNGE").await;
        let told = client.ok(format!("SELECT INBOX (QRESYNC ({validity} {known}))")).await;
        assert!(told.contains("* VANISHED (EARLIER) 4:5,7\r\n"), "{told}");
        let told = client.ok(format!("UID FETCH 1:6 (FLAGS) (CHANGEDSINCE {known} VANISHED)")).await;
        assert!(told.contains("* VANISHED (EARLIER) 4:5\r\n"), "{told}");
        // From before the beginning: all that are gone.
        let told = client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)").await;
        assert!(told.contains("* VANISHED (EARLIER) 2,4:5,7\r\n"), "{told}");
    }
}
