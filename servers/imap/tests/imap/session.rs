//! Login, the list of mailboxes, selecting; and how sessions end.

use std::time::{Duration, Instant};

use crate::common::Host;
use culver_runtime::Limits;
use mailstore::memory::MemoryOptions;
use mailtypes::{Flag, Flags};

#[tokio::test]
async fn login() {
    let host = Host::new();
    let mut client = host.connect().await;
    assert_eq!(client.command("SELECT INBOX").await, "tag BAD Please login first.\r\n");
    let began = Instant::now();
    let failed = "tag NO [AUTHENTICATIONFAILED] Authentication failed.\r\n";
    assert_eq!(client.command("LOGIN ann wrong").await, failed);
    assert_eq!(client.command("LOGIN \"../ann\" secret").await, failed);
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(client.command("LOGIN {3+}\r\nann {6+}\r\nsecret").await.starts_with("tag OK [CAPABILITY "));
    assert_eq!(client.command("LOGIN ann secret").await, "tag BAD Already logged in.\r\n");
    let capabilities = client.ok("CAPABILITY").await;
    for word in ["IMAP4rev1", "LITERAL+", "UIDPLUS", "MOVE", "IDLE", "UNSELECT", "NAMESPACE", "ID", "CHILDREN"] {
        assert!(capabilities.contains(&format!(" {word}")), "{word} in {capabilities}");
    }
    assert_eq!(client.ok("ENABLE X-NONE").await, "* ENABLED\r\ntag OK Enabled.\r\n");
    assert!(client.ok("ID NIL").await.starts_with("* ID (\"name\" \"Culver\")\r\n"));
    assert!(client.ok("NAMESPACE").await.starts_with("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
    assert_eq!(client.command("FETCH 1 FLAGS").await, "tag BAD No mailbox selected.\r\n");
    assert_eq!(client.command("LOGOUT").await, "* BYE Logging out\r\ntag OK Logout completed.\r\n");
    assert_eq!(client.rest().await, "");
    client.session.await.unwrap();
}

#[tokio::test]
async fn authenticate_plain() {
    let host = Host::new();
    let mut client = host.connect().await;
    assert!(
        client.ok("CAPABILITY").await.contains(" SASL-IR ") && client.ok("CAPABILITY").await.contains(" AUTH=PLAIN")
    );
    assert!(client.command("AUTHENTICATE CRAM-MD5").await.starts_with("tag NO [CANNOT]"));
    assert_eq!(client.command("AUTHENTICATE PLAIN AAA").await, "tag BAD Invalid base64 data.\r\n");
    // Another's mail, a wrong password, no message at all.
    for message in ["Ym9iAGFubgBzZWNyZXQ=", "AGFubgB3cm9uZw==", "="] {
        let answer = client.command(format!("AUTHENTICATE PLAIN {message}")).await;
        assert!(answer.starts_with("tag NO [AUTHENTICATIONFAILED]"), "{message}: {answer}");
    }
    client.send("a AUTHENTICATE PLAIN\r\n").await;
    assert_eq!(client.line().await, "+ \r\n");
    client.send("*\r\n").await;
    assert!(client.line().await.starts_with("a BAD "));
    client.send("b authenticate plain\r\n").await;
    assert_eq!(client.line().await, "+ \r\n");
    client.send("AGFubgBzZWNyZXQ=\r\n").await;
    assert!(client.line().await.starts_with("b OK [CAPABILITY "));
    assert!(client.command("AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=").await.starts_with("tag BAD"));
    let mut at_once = host.connect().await;
    assert!(at_once.command("AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=").await.starts_with("tag OK [CAPABILITY "));
}

#[tokio::test]
async fn passwords_stay_off_streams_that_others_can_read() {
    let mut host = Host::new();
    host.ctx.client.plaintext_allowed = false;
    let mut client = host.connect().await;
    assert!(client.ok("CAPABILITY").await.contains(" LOGINDISABLED\r\n"));
    assert!(client.command("LOGIN ann secret").await.starts_with("tag NO [PRIVACYREQUIRED]"));
}

#[tokio::test]
async fn limits_end_sessions() {
    let limits = Limits {
        failed_logins_max: 2,
        bad_commands_max: 3,
        connections_per_user_max: 1,
        login_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let host = Host::with(limits, MemoryOptions::default());
    let mut guessing = host.connect().await;
    guessing.command("LOGIN ann a").await;
    guessing.command("LOGIN ann b").await;
    assert_eq!(guessing.rest().await, "* BYE Too many failed logins.\r\n");

    let mut talking_nonsense = host.connect().await;
    talking_nonsense.send(b"a XYZZY\r\nb\0\r\n\xff\xfe {\r\n").await;
    let said = talking_nonsense.rest().await;
    assert_eq!(said.matches("BAD").count(), 3, "{said}");
    assert!(said.ends_with("* BYE Too many invalid IMAP commands.\r\n"), "{said}");

    let mut silent = host.connect().await;
    assert_eq!(silent.rest().await, "* BYE Disconnected for inactivity.\r\n");

    let mut first = host.log_in().await;
    let mut second = host.connect().await;
    assert!(second.command("LOGIN ann secret").await.starts_with("tag NO [LIMIT]"));
    assert_eq!(first.rest().await, "* BYE Disconnected for inactivity.\r\n");
}

#[tokio::test]
async fn a_stop_ends_idle_sessions_at_once() {
    let host = Host::new();
    let mut waiting = host.select().await;
    let mut idling = host.select().await;
    idling.send("x IDLE\r\n").await;
    assert_eq!(idling.line().await, "+ idling\r\n");
    host.stopper.stop();
    for client in [&mut waiting, &mut idling] {
        assert_eq!(client.rest().await, "* BYE Server is shutting down.\r\n");
    }
}

#[tokio::test]
async fn mailboxes() {
    let host = Host::new();
    let mut client = host.log_in().await;
    assert_eq!(client.ok("LIST \"\" \"\"").await, "* LIST (\\Noselect) \"/\" \"\"\r\ntag OK List completed.\r\n");
    client.ok("CREATE Work/2026").await;
    client.ok("CREATE \"Entw&APw-rfe\"").await;
    assert!(client.command("CREATE inbox").await.starts_with("tag NO [ALREADYEXISTS]"));
    assert_eq!(
        client.ok("LIST \"\" *").await,
        "* LIST (\\HasNoChildren) \"/\" INBOX\r\n\
         * LIST (\\HasNoChildren) \"/\" Entw&APw-rfe\r\n\
         * LIST (\\Noselect \\HasChildren) \"/\" Work\r\n\
         * LIST (\\HasNoChildren) \"/\" Work/2026\r\n\
         tag OK List completed.\r\n"
    );
    assert_eq!(
        client.ok("LIST Work/ %").await,
        "* LIST (\\HasNoChildren) \"/\" Work/2026\r\ntag OK List completed.\r\n"
    );
    client.ok("SUBSCRIBE Work/2026").await;
    assert_eq!(client.ok("LSUB \"\" *").await, "* LSUB () \"/\" Work/2026\r\ntag OK Lsub completed.\r\n");
    assert_eq!(client.ok("LSUB \"\" %").await, "* LSUB (\\Noselect) \"/\" Work\r\ntag OK Lsub completed.\r\n");
    client.ok("UNSUBSCRIBE Work/2026").await;
    assert_eq!(client.ok("LSUB \"\" *").await, "tag OK Lsub completed.\r\n");
    client.ok("RENAME Work Play").await;
    assert!(client.ok("LIST \"\" Play/*").await.contains("Play/2026"));
    assert!(client.command("SELECT Work/2026").await.starts_with("tag NO [NONEXISTENT]"));
    client.ok("DELETE Play/2026").await;
    assert!(client.command("DELETE Play/2026").await.starts_with("tag NO [NONEXISTENT]"));
    assert!(client.command("DELETE INBOX").await.starts_with("tag NO [CANNOT]"));
    host.put("INBOX", b"Subject: x\n\nbody\n", Flags::NONE);
    assert_eq!(
        client.ok("STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN SIZE)").await,
        "* STATUS INBOX (MESSAGES 1 RECENT 1 UIDNEXT 2 UNSEEN 1 SIZE 20)\r\ntag OK Status completed.\r\n"
    );
}

#[tokio::test]
async fn names_that_climb_are_refused() {
    let host = Host::new();
    let mut client = host.log_in().await;
    for name in ["../etc", "a/../../b", "/etc/passwd", "a//b", ".", "..", "a/./b", "&", "a&AGE-b"] {
        for command in ["CREATE", "SELECT", "EXAMINE", "DELETE", "SUBSCRIBE", "RENAME INBOX", "STATUS"] {
            let items = if command == "STATUS" { " (MESSAGES)" } else { "" };
            let answer = client.command(format!("{command} \"{name}\"{items}")).await;
            assert!(answer.starts_with("tag NO [CANNOT] Invalid mailbox name"), "{command} {name}: {answer}");
        }
        let answer = client.command(format!("APPEND \"{name}\" {{3+}}\r\nabc")).await;
        assert!(answer.starts_with("tag NO [CANNOT] Invalid mailbox name"), "APPEND {name}: {answer}");
    }
    assert_eq!(client.ok("LIST \"\" *").await.matches("* LIST").count(), 1);
}

#[tokio::test]
async fn select_tells_all_and_leaves_the_mailbox_before() {
    let host = Host::new();
    host.put("INBOX", b"Subject: a\n\n1\n", Flag::Seen.into());
    host.put("INBOX", b"Subject: b\n\n2\n", Flags::NONE);
    let mut client = host.log_in().await;
    let inbox = host.storage.mailbox(&mailtypes::MailboxName::inbox()).unwrap();
    let (validity, guid) = (inbox.uid_validity(), inbox.guid());
    let all = "\\Answered \\Flagged \\Deleted \\Seen \\Draft";
    let told = client.ok("EXAMINE INBOX").await;
    assert!(told.starts_with(&format!("* FLAGS ({all})\r\n* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n")), "{told}");
    assert!(told.ends_with("tag OK [READ-ONLY] Examine completed.\r\n"));
    assert!(told.contains("* 2 RECENT\r\n"), "{told}");
    for command in ["STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "MOVE 1 INBOX", "UID EXPUNGE 1"] {
        assert!(client.command(command).await.starts_with("tag NO [READ-ONLY]"), "{command}");
    }
    assert_eq!(
        client.ok("SELECT INBOX").await.replace(|c: char| c.is_ascii_digit(), "0"),
        format!(
            "* OK [CLOSED] Previous mailbox closed.\r\n\
             * FLAGS ({all})\r\n* OK [PERMANENTFLAGS ({all} \\*)] Flags permitted.\r\n\
             * 2 EXISTS\r\n* 2 RECENT\r\n* OK [UNSEEN 2] First unseen.\r\n\
             * OK [UIDVALIDITY {validity}] UIDs valid\r\n* OK [UIDNEXT 3] Predicted next UID\r\n\
             * OK [HIGHESTMODSEQ 9] Highest\r\n* OK [MAILBOXID ({guid})] Ok\r\n\
             tag OK [READ-WRITE] Select completed.\r\n"
        )
        .replace(|c: char| c.is_ascii_digit(), "0")
    );
    assert!(client.command("SELECT nowhere").await.contains("* OK [CLOSED]"));
    assert_eq!(client.command("FETCH 1 FLAGS").await, "tag BAD No mailbox selected.\r\n");
    client.ok("SELECT INBOX").await;
    assert_eq!(client.ok("UNSELECT").await, "tag OK Unselect completed.\r\n");
    client.ok("SELECT INBOX").await;
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("CLOSE").await, "tag OK Close completed.\r\n");
    assert!(client.ok("SELECT INBOX").await.contains("* 1 EXISTS\r\n"));
}

#[tokio::test]
async fn deleting_the_selected_mailbox() {
    let host = Host::new();
    let (mut mine, mut other) = (host.log_in().await, host.log_in().await);
    mine.ok("CREATE x").await;
    mine.ok("SELECT x").await;
    other.ok("SELECT x").await;
    mine.ok("DELETE x").await;
    assert_eq!(mine.command("FETCH 1 FLAGS").await, "tag BAD No mailbox selected.\r\n");
    // What a command did elsewhere is acknowledged before the session ends.
    other.send("b APPEND INBOX {5+}\r\nA: b\n\r\n").await;
    let said = other.rest().await;
    assert!(said.starts_with("b OK [APPENDUID ") && said.ends_with("* BYE Mailbox was deleted\r\n"), "{said}");
}

#[tokio::test]
async fn renaming_the_selected_mailbox() {
    for host in [Host::new(), Host::on_sdbox(), Host::on_maildir()] {
        let mut client = host.log_in().await;
        client.ok("CREATE x").await;
        for n in 0..3 {
            host.put("x", format!("Subject: {n}\n\n").as_bytes(), Flags::NONE);
        }
        client.ok("SELECT x").await;
        client.ok("RENAME x y").await;
        host.put("y", b"Subject: new\n\n", Flags::NONE);
        assert!(client.ok("NOOP").await.contains("* 4 EXISTS\r\n"), "the same mailbox under its new name");
        client.ok("STORE 1 +FLAGS (\\Deleted)").await;
        assert!(client.ok("EXPUNGE").await.contains("* 1 EXPUNGE\r\n"));
        assert!(client.ok("STATUS y (MESSAGES)").await.contains("MESSAGES 3"));
    }
}
