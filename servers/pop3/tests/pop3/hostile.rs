//! Clients that mean no good: whatever they do costs them their connection and others nothing.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use culver_pop3::Options;
use culver_runtime::Limits;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::common::Host;

#[tokio::test]
async fn a_line_without_end_is_dropped_as_it_comes() {
    let host = Host::new();
    let mut client = host.log_in().await;
    for _ in 0..200 {
        client.send(&"x".repeat(10_000)).await;
    }
    client.check(&[("", "-ERR Line too long."), ("NOOP", "+OK")]).await;
}

#[tokio::test]
async fn bad_commands_end_the_session() {
    let limits = Limits { bad_commands_max: 3, ..Limits::default() };
    let mut client = Host::with(limits, Options::default()).log_in().await;
    client.send(b"FROB\r\n\0\r\nNOOP\r\n\r\n\r\n\xff\r\nNOOP\r\n").await;
    let rest = client.rest().await;
    let starts: Vec<_> = rest.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(starts, ["-ERR", "-ERR", "+OK", "-ERR", "-ERR", "-ERR", "-ERR"], "{rest}");
}

#[tokio::test]
async fn time_before_login_is_bounded_whatever_is_sent() {
    let limits = Limits { login_timeout: Duration::from_millis(300), ..Limits::default() };
    let host = Host::with(limits, Options::default());
    let mut silent = host.connect().await;
    assert_eq!(silent.rest().await, "-ERR Disconnected for inactivity.\r\n");
    let mut busy = host.connect().await;
    let session = busy.session;
    let talk = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while busy.write.write_all(b"CAPA\r\n").await.is_ok() {}
    });
    let mut sink = tokio::io::sink();
    let drain = async { tokio::io::copy(&mut busy.read, &mut sink).await };
    tokio::time::timeout(crate::common::PATIENCE, drain).await.expect("the server closes").unwrap();
    session.await.unwrap();
    talk.abort();
}

#[tokio::test]
async fn an_idle_session_ends_and_deletes_nothing() {
    let limits = Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() };
    let host = Host::with(limits, Options::default());
    host.put_many(1);
    let mut client = host.connect().await;
    client.send("USER ann\r\nPASS secret word\r\nDELE 1\r\nQUI").await;
    client.check_lines(&["+OK", "+OK Logged in.", "+OK Marked"]).await;
    assert_eq!(client.rest().await, "-ERR Disconnected for inactivity.\r\n");
    assert_eq!(host.uids(), [1]);
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_no_thread_and_is_given_up() {
    let limits = Limits { stall_timeout: Duration::from_millis(300), output_step_len: 4096, ..Limits::default() };
    let host = Host::with(limits, Options::default());
    host.put(format!("A: b\r\n\r\n{}", "line\r\n".repeat(100_000)).as_bytes());
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut client = host.log_in().await;
        client.send("RETR 1\r\nDELE 1\r\nQUIT\r\n").await;
        stalled.push(client);
    }
    let mut other = host.log_in().await;
    other.check(&[("NOOP", "+OK")]).await;
    assert_eq!(other.list("TOP 1 0").await.len(), 2);
    for client in stalled {
        tokio::time::timeout(crate::common::PATIENCE, client.session).await.expect("given up").unwrap();
    }
    let idle = async {
        // A session may end before its last job does.
        while host.ctx.pool.busy_threads() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, idle).await.expect("no thread is held");
    assert_eq!(host.uids(), [1]);
}

#[tokio::test]
async fn a_thousand_commands_in_one_packet() {
    let host = Host::new();
    host.put_many(3);
    let mut client = host.log_in().await;
    let talk = async {
        client.send("RETR 2\r\nLIST\r\nFROB\r\nNOOP\r\n".repeat(250)).await;
        for _ in 0..250 {
            assert_eq!(client.lines().await.len(), 3);
            assert_eq!(client.lines().await.len(), 3);
            assert!(client.line().await.starts_with("-ERR"));
            assert!(client.line().await.starts_with("+OK"));
        }
    };
    talk.await;
}

/// Any bytes: the session ends or goes on, and neither panics nor changes a message without QUIT.
#[test]
fn garbage_never_breaks_a_session() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = AtomicUsize::new(0);
    let word = prop::sample::select(
        &[
            "RETR", "TOP", "LIST", "UIDL", "DELE", "RSET", "STAT", "CAPA", "AUTH", "STLS", "USER", "1", "2", "99",
            "\0", "\r", "\n", "\r\n", " ", "é",
        ][..],
    );
    let config = Config { cases: 64, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let input = prop::collection::vec(word, 0..60);
    TestRunner::new(config)
        .run(&input, |words| {
            cases.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(async {
                let host = Host::new();
                host.put_many(2);
                let mut client = host.log_in().await;
                client.send(words.concat()).await;
                tokio::io::AsyncWriteExt::shutdown(&mut client.write).await.unwrap();
                let answers = client.rest().await;
                client.session.await.expect("no panic");
                prop_assert!(!answers.contains("SYS/"), "{}", answers);
                prop_assert_eq!(host.uids(), [1, 2]);
                Ok(())
            })
        })
        .unwrap();
    assert!(cases.into_inner() >= 64);
}
