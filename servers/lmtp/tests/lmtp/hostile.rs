//! Clients that mean no good.

use std::time::Duration;

use culver_lmtp::SPOOL_LEN;
use culver_runtime::Limits;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::common::{Client, plain};

#[tokio::test]
async fn ten_thousand_recipients_are_not_taken() {
    let mut client = Client::hello_with(Limits { recipients_max: 100, ..Limits::default() }, plain()).await;
    client.send("MAIL FROM:<>\r\n").await;
    client.replies(&["250"]).await;
    let mut taken = 0;
    for batch in 0..100 {
        let lines: String = (0..100).map(|n| format!("RCPT TO:<user{}>\r\n", batch * 100 + n)).collect();
        client.send(lines).await;
        for _ in 0..100 {
            let reply = client.line().await;
            taken += usize::from(reply.starts_with("250"));
            assert!(reply.starts_with("250") || reply.starts_with("452 4.5.3"), "{reply}");
        }
    }
    assert_eq!(taken, 100);
    client.send("DATA\r\nA: b\r\n\r\n.\r\nNOOP\r\n").await;
    client.replies(&["354"]).await;
    client.replies(&["250 2.0.0"; 101]).await;
}

#[tokio::test]
async fn no_end_but_the_true_one() {
    let smuggled = "MAIL FROM:<evil@x>\r\nRCPT TO:<bob>\r\nDATA\r\nforged\r\n";
    for end in
        ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\r\n.\n", "\0\r\n.\0\r\n", "\r\n\0.\r\n"]
    {
        let mut client = Client::hello().await;
        client
            .send(format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\nx{end}{smuggled}.\r\nNOOP\r\n"))
            .await;
        client.replies(&["250", "250", "354", "250 2.0.0 <ann>", "250 2.0.0 OK"]).await;
        assert_eq!(client.inbox("bob").len(), 0, "{end:?}");
        assert_eq!(client.inbox("ann").len(), 1, "{end:?}");
        assert!(client.inbox("ann")[0].contains("forged"), "{end:?}");
    }
}

#[tokio::test]
async fn a_message_that_stalls_is_given_up() {
    let limits = Limits { stall_timeout: Duration::from_millis(200), ..Limits::default() };
    for start in ["DATA\r\nA: b\r\n", "BDAT 100 LAST\r\nA: b\r\n"] {
        let mut client = Client::hello_with(limits.clone(), plain()).await;
        client.send(format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\n{start}")).await;
        let rest = client.rest().await;
        assert!(rest.ends_with("421 4.4.2 Timeout\r\n"), "{rest}");
        assert_eq!(client.inbox("ann").len(), 0);
    }
}

#[tokio::test]
async fn a_command_that_never_ends_is_given_up() {
    let limits = Limits { idle_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut client = Client::with(limits, plain(), |_| {}).await;
    client.send("MAIL FR").await;
    assert_eq!(client.rest().await, "421 4.4.2 Timeout\r\n");
}

#[tokio::test]
async fn a_message_without_end_is_not_listened_to_forever() {
    let mut client = Client::hello_with(Limits { message_len_max: 1000, ..Limits::default() }, plain()).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\n").await;
    client.replies(&["250", "250", "354"]).await;
    let line = "x".repeat(SPOOL_LEN);
    let mut sent = 0;
    while tokio::io::AsyncWriteExt::write_all(&mut client.write, line.as_bytes()).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "it listens on");
    }
    assert!(client.rest().await.starts_with("421 5.3.4"));
    assert_eq!(client.inbox("ann").len(), 0);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let limits = Limits { stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let mut client = Client::hello_with(limits, plain()).await;
    let flood = async {
        while tokio::io::AsyncWriteExt::write_all(&mut client.write, &b"NOOP\r\n".repeat(1000)).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(20), flood).await.expect("the session ends");
}

/// Whatever is sent: no panic, and a message that was acknowledged is there.
#[test]
fn garbage_never_breaks_a_session() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let words = [
        "LHLO x\r\n",
        "MAIL FROM:<>\r\n",
        "RCPT TO:<ann>\r\n",
        "RCPT TO:<ann+x>\r\n",
        "DATA\r\n",
        ".\r\n",
        "BDAT 3\r\n",
        "BDAT 5 LAST\r\n",
        "RSET\r\n",
        "STARTTLS\r\n",
        "A: b\r\n",
        ".",
        "\r",
        "\n",
        "\0",
        "é",
        " ",
        "<",
        "QUIT",
    ];
    let config = Config { cases: 200, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() };
    let input = prop::collection::vec(prop::sample::select(words.to_vec()), 0..60);
    TestRunner::new(config)
        .run(&input, |words| {
            runtime.block_on(async {
                let limits = Limits { bad_commands_max: 1000, ..Limits::default() };
                let mut client = Client::hello_with(limits, plain()).await;
                client.send(words.concat()).await;
                tokio::io::AsyncWriteExt::shutdown(&mut client.write).await.unwrap();
                let replies = client.rest().await;
                let delivered = replies.lines().filter(|line| line.starts_with("250 2.0.0 <ann")).count();
                let inbox = client.inbox("ann").len();
                // Two recipients may mean one copy each, or one for both; a client that is gone may not hear of its own.
                prop_assert!(
                    inbox >= delivered.div_ceil(2) && (delivered > 0) == (inbox > 0),
                    "{} {}\n{}",
                    delivered,
                    inbox,
                    replies
                );
                prop_assert!(!replies.lines().any(|line| line.starts_with("451")), "{}", replies);
                Ok(())
            })
        })
        .unwrap();
}
