//! Clients that stall, ask for much, or send what nobody should.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::common::{Client, Counting, Host};
use culver_runtime::Limits;
use mailstore::memory::MemoryOptions;
use mailtypes::Flags;
use tokio::{io::AsyncWriteExt as _, time::sleep};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stall_leave_another_at_full_speed() {
    let host = Host::new();
    let body = format!("Subject: large\n\n{}", "0123456789abcdef\n".repeat(64 * 1024));
    host.put("INBOX", body.as_bytes(), Flags::NONE);
    let mut work = host.log_in().await;
    work.ok("CREATE Work").await;
    let alone = full_speed(&mut work).await;

    let mut stalled = Vec::new();
    for n in 0..64 {
        let mut client = host.connect_with(4096).await;
        client.ok("LOGIN ann secret").await;
        client.ok("SELECT INBOX").await;
        if n % 2 == 0 {
            // Takes the first bytes of a megabyte, and no more.
            client.send("x FETCH 1 BODY.PEEK[]\r\n").await;
        } else {
            client.send("x APPEND INBOX {1000000}\r\n").await;
            assert_eq!(client.line().await, "+ OK\r\n");
            client.send(vec![b'a'; 2000]).await;
        }
        stalled.push(client);
    }
    sleep(Duration::from_millis(200)).await;
    assert_eq!(host.ctx.pool.busy_threads(), 0, "nobody who stalls holds a thread");
    assert_eq!(host.ctx.pool.waiting_steps(), 0);

    let among_stalled = full_speed(&mut work).await;
    assert!(
        among_stalled < alone * 5 + Duration::from_millis(500),
        "{among_stalled:?} among clients that stall, {alone:?} alone"
    );
    // Those who stalled can go on.
    let mut fetching = stalled.swap_remove(0);
    assert!(fetching.answer("x").await.ends_with("tag OK Fetch completed.\r\n"));
}

async fn full_speed(client: &mut Client) -> Duration {
    let began = Instant::now();
    client.ok("SELECT Work").await;
    for _ in 0..50 {
        client.ok("APPEND Work {12+}\r\nSubject: y\r\n").await;
        client.ok("FETCH * (FLAGS ENVELOPE BODY.PEEK[])").await;
        client.ok("STORE * +FLAGS (\\Seen)").await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_of_a_large_mailbox_is_made_in_bounded_pieces() {
    let host = Host::new();
    let body = format!("Subject: x\n\n{}", "0123456789abcdef\n".repeat(1_000));
    for _ in 0..500 {
        host.put("INBOX", body.as_bytes(), Flags::NONE);
    }
    let (near, far) = tokio::io::duplex(32 * 1024);
    let longest = Arc::new(AtomicUsize::new(0));
    let stream = Counting { stream: far, longest: Arc::clone(&longest) };
    let session = tokio::spawn(culver_imap::serve(stream, host.ctx.clone()));
    let mut client = Client::new(near, session);
    client.line().await;
    client.ok("LOGIN ann secret").await;
    client.ok("SELECT INBOX").await;
    client.send("x FETCH 1:* (FLAGS BODY.PEEK[])\r\n").await;
    let (mut messages, mut bytes) = (0, 0);
    loop {
        let (_, response) = client.next().await.expect("a response");
        if response.starts_with(b"x OK") {
            break;
        }
        messages += 1;
        bytes += response.len();
    }
    assert_eq!(messages, 500);
    assert!(bytes > 8_000_000);
    let step = host.ctx.limits.output_step_len;
    assert!(longest.load(Ordering::Relaxed) <= step + 1024, "{longest:?} bytes were made before they could be sent");
}

#[tokio::test]
async fn thousands_of_messages_are_stored_in_one_batch() {
    let options = MemoryOptions { commit_delay: Duration::from_millis(50), ..MemoryOptions::default() };
    let host = Host::with(Limits::default(), options);
    let mut client = host.select().await;
    let one = " {5+}\r\nA: b\n";
    client.ok(format!("APPEND INBOX{}", one.repeat(10_000))).await;
    let began = Instant::now();
    client.ok("STORE 1:* +FLAGS.SILENT (\\Seen)").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(client.ok("STATUS INBOX (MESSAGES UNSEEN)").await.contains("MESSAGES 10000 UNSEEN 0"));
    let told = client.ok("STORE 1:* FLAGS (\\Deleted)").await;
    assert_eq!(told.matches(" FETCH (FLAGS (\\Deleted").count(), 10_000);
    assert_eq!(client.ok("EXPUNGE").await.matches(" EXPUNGE\r\n").count(), 10_000);
}

#[tokio::test]
async fn a_literal_announced_as_4_gib() {
    let host = Host::new();
    let mut client = host.select().await;
    // Who asks is refused; who does not ask is cut off.
    assert!(client.command("APPEND INBOX {4294967296}").await.starts_with("tag NO [TOOBIG]"));
    assert!(client.command("LOGIN {4294967296}").await.starts_with("tag NO [TOOBIG]"));
    assert!(client.command("SELECT {99999999999999999999}").await.starts_with("tag NO [TOOBIG]"));
    client.ok("NOOP").await;
    client.send("x APPEND INBOX {4294967296+}\r\n").await;
    let said = client.rest().await;
    assert!(said.starts_with("x BAD [TOOBIG]") && said.contains("* BYE"), "{said}");
    // Before login much less is too much.
    let mut stranger = host.connect().await;
    assert!(stranger.command("LOGIN {100000}").await.starts_with("tag NO [TOOBIG]"));
    assert!(host.select().await.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 0"));
}

#[tokio::test]
async fn a_line_without_end() {
    let host = Host::new();
    for mut client in [host.connect().await, host.select().await] {
        // The server hangs up before it has read all of it.
        let _ = client.stream.write_all(("x SEARCH ".to_owned() + &"SUBJECT a ".repeat(20_000)).as_bytes()).await;
        let said = client.rest().await;
        assert!(said.contains("Line too long") && said.contains("* BYE"), "{said}");
    }
}

#[tokio::test]
async fn a_search_nested_ten_thousand_deep() {
    let host = Host::new();
    let mut client = host.select().await;
    for key in ["(".repeat(10_000) + "ALL" + &")".repeat(10_000), "NOT ".repeat(10_000) + "ALL"] {
        assert!(client.command(format!("SEARCH {key}")).await.starts_with("tag BAD"), "{:.20}", key);
    }
    client.ok("SEARCH NOT NOT NOT ALL").await;
}

#[tokio::test]
async fn nul_bytes() {
    let host = Host::new();
    let mut client = host.select().await;
    client.send(b"a NO\0OP\r\n\0\0\0\r\n").await;
    assert!(client.line().await.starts_with("a BAD"));
    assert!(client.line().await.starts_with("* BAD"));
    assert!(client.command(b"SELECT \"a\0b\"").await.starts_with("tag BAD"));
    assert!(client.command(b"APPEND INBOX {3+}\r\na\0b").await.starts_with("tag NO"));
    assert!(client.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 0"));
}

#[tokio::test]
async fn a_client_that_is_gone_in_the_middle_leaves_nothing() {
    let host = Host::new();
    let mut client = host.select().await;
    client.send("x APPEND INBOX {1000000+}\r\nSubject: half").await;
    sleep(Duration::from_millis(50)).await;
    let Client { stream, session, .. } = client;
    drop(stream);
    session.await.unwrap();
    assert!(host.select().await.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 0"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped_in_the_end() {
    let limits = Limits { stall_timeout: Duration::from_millis(200), ..Limits::default() };
    let host = Host::with(limits, MemoryOptions::default());
    host.put("INBOX", "Subject: x\n\nbody\n".repeat(10_000).as_bytes(), Flags::NONE);
    let mut client = host.connect_with(4096).await;
    client.ok("LOGIN ann secret").await;
    client.ok("SELECT INBOX").await;
    client.send("x FETCH 1 BODY[]\r\n").await;
    tokio::time::timeout(Duration::from_secs(5), client.session).await.expect("the session ends").unwrap();
}

#[test]
fn a_waiting_session_is_small() {
    let host = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async { Host::new() });
    let (_near, far) = tokio::io::duplex(64);
    let size = size_of_val(&culver_imap::serve(far, host.ctx.clone()));
    assert!(size < 6 * 1024, "{size} bytes a session");
}
