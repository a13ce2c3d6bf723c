//! Time that is bounded whatever the client does: before login, and of a search.

use std::{sync::Arc, time::Duration};

use culver_imap::Options;
use culver_runtime::{Limits, Tls, TlsOptions, self_made_certificate};
use mailstore::memory::MemoryOptions;
use mailtypes::Flags;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    time::{sleep, timeout},
};

use crate::common::{Host, PATIENCE};

fn host_of_the_hasty() -> Host {
    let limits = Limits { login_timeout: Duration::from_millis(300), ..Limits::default() };
    Host::with(limits, MemoryOptions::default())
}

#[tokio::test]
async fn a_silent_client() {
    let host = host_of_the_hasty();
    assert_eq!(host.connect().await.rest().await, "* BYE Disconnected for inactivity.\r\n");
}

/// However busy it is, and whatever it sends: its input would always be there before the time is looked at.
#[tokio::test]
async fn a_busy_client() {
    let host = host_of_the_hasty();
    for (text, pause) in [(&b"a NOOP\r\n"[..], 0), (b"a CAPABILITY\r\nb ID NIL\r\n", 10), (b"x", 5)] {
        let (mut read, mut write) = tokio::io::split(host.connect().await.stream);
        let talk = tokio::spawn(async move {
            while write.write_all(text).await.is_ok() {
                if pause > 0 {
                    sleep(Duration::from_millis(pause)).await;
                }
            }
        });
        let drained = timeout(PATIENCE, async { copy(&mut read, &mut sink()).await });
        drained.await.expect("the server closes").unwrap();
        talk.abort();
    }
}

/// It sends ahead, and takes the answers one byte at a time.
#[tokio::test]
async fn a_client_that_takes_its_time() {
    let host = host_of_the_hasty();
    let mut client = host.connect_with(256).await;
    let _ = timeout(Duration::from_millis(50), client.stream.write_all(&b"a CAPABILITY\r\n".repeat(1000))).await;
    let session = client.session;
    let taking = tokio::spawn(async move {
        let mut byte = [0];
        while client.stream.read(&mut byte).await.is_ok_and(|len| len > 0) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    timeout(PATIENCE, session).await.expect("the session ends").unwrap();
    taking.abort();
}

/// Whatever time a handshake has, the time to log in goes on.
#[tokio::test]
async fn a_handshake_that_does_not_come() {
    let mut host = host_of_the_hasty();
    let folder = tempfile::tempdir().unwrap();
    let certificates = vec![self_made_certificate(folder.path(), "mail.example.org").unwrap()];
    let options = TlsOptions { certificates, handshake_timeout: Duration::from_secs(600), ..TlsOptions::default() };
    host.ctx.starttls = Some(Tls::new(&options).unwrap());
    let mut client = host.connect().await;
    client.ok("STARTTLS").await;
    timeout(PATIENCE, client.session).await.expect("the session ends").unwrap();
}

/// A handshake before the session began counts.
#[tokio::test]
async fn time_that_has_passed_already() {
    let mut host = Host::new();
    let limit = host.ctx.limits.login_timeout;
    host.ctx.client.connected = tokio::time::Instant::now().checked_sub(limit);
    if host.ctx.client.connected.is_none() {
        // A machine that runs for a minute has nothing to show here.
        return;
    }
    let (near, far) = tokio::io::duplex(1024);
    let session = tokio::spawn(culver_imap::serve(far, host.ctx.clone()));
    timeout(PATIENCE, session).await.expect("the session ends").unwrap();
    drop(near);
}

#[tokio::test]
async fn who_has_logged_in_may_stay() {
    let host = host_of_the_hasty();
    let mut client = host.log_in().await;
    sleep(Duration::from_millis(600)).await;
    client.ok("NOOP").await;
}

fn host_with_mail(limits: Limits, options: Options) -> Host {
    let mut host = Host::with(limits, MemoryOptions::default());
    host.ctx.options = Arc::new(options);
    let text = format!("Subject: x\n\n{}", "0123456789abcdef\n".repeat(2000));
    for _ in 0..100 {
        host.put("INBOX", text.as_bytes(), Flags::NONE);
    }
    host
}

/// Bodies in many steps.
const LONG: [&str; 3] = ["SEARCH BODY zzz", "SORT (SUBJECT) UTF-8 BODY zzz", "THREAD REFERENCES UTF-8 BODY zzz"];

#[tokio::test]
async fn a_search_has_its_time() {
    let limits = Limits { search_timeout: Duration::ZERO, ..Limits::default() };
    let host = host_with_mail(limits, Options::default());
    let mut client = host.select().await;
    for command in LONG {
        let answer = client.command(command).await;
        assert!(answer.starts_with("tag NO [LIMIT] "), "{command}: {answer}");
    }
    client.ok("SEARCH UNSEEN").await;
    let host = host_with_mail(Limits::default(), Options::default());
    let mut client = host.select().await;
    for command in LONG {
        client.ok(command).await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_a_search_is_told_that_it_goes_on() {
    let options = Options { search_notify_interval: Duration::ZERO, ..Options::default() };
    let host = host_with_mail(Limits::default(), options);
    let mut client = host.select().await;
    let answer = client.ok(LONG[0]).await;
    assert!(answer.starts_with("* OK Still searching.\r\n"), "{answer}");
}

/// Who is gone has nobody search for him any longer.
#[tokio::test]
async fn a_search_of_nobody_ends() {
    let options = Options { search_notify_interval: Duration::ZERO, ..Options::default() };
    let limits = Limits { search_timeout: Duration::from_secs(3600), ..Limits::default() };
    let host = host_with_mail(limits, options);
    let mut client = host.select().await;
    let many = "TEXT zzz ".repeat(500);
    client.send(format!("a SEARCH {many}\r\n")).await;
    drop(client.stream);
    timeout(PATIENCE, client.session).await.expect("the session ends").unwrap();
}

#[tokio::test]
async fn what_is_hidden_and_what_is_said() {
    let mut host = Host::new();
    let hidden_capabilities = ["compress=deflate", "IMAP4rev1", "IDLE"].map(str::to_owned).to_vec();
    let id = vec![("name".to_owned(), "Dove".to_owned()), ("support-url".to_owned(), "mailto:x@y".to_owned())];
    host.ctx.options = Arc::new(Options { hidden_capabilities, id, ..Options::default() });
    let mut client = host.connect().await;
    let before = client.ok("CAPABILITY").await;
    assert!(before.starts_with("* CAPABILITY IMAP4rev1 ") && !before.contains("IDLE"), "{before}");
    let after = client.ok("LOGIN ann secret").await;
    assert!(after.contains(" SORT ") && !after.contains("DEFLATE") && !after.contains("IDLE"), "{after}");
    assert!(client.ok("ID NIL").await.starts_with("* ID (\"name\" \"Dove\" \"support-url\" \"mailto:x@y\")\r\n"));
}
