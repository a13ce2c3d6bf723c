//! Whole LMTP conversations over the backend in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use culver_lmtp::{SPOOL_LEN, SessionContext, serve};
use culver_runtime::{
    AuthError, Authenticator, Limits, Logins, PoolOptions, Stop, Stopper, StoragePool, StorageProvider, User, UserName,
};
use mailstore::{
    MailStorage, Section, StorageError, ViewAs,
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{MailboxName, SeqNum};
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};

/// Knows `ann`, `bob` and `broken`.
#[derive(Debug)]
struct Users;

impl Authenticator for Users {
    fn verify(&self, _: &str, _: &[u8]) -> Result<Option<User>, AuthError> {
        Ok(None)
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        let known = ["ann", "bob", "broken"].contains(&name);
        Ok(known.then(|| User { name: UserName::new(name).unwrap() }))
    }
}

/// A store for `ann` and one for `bob`; `broken`'s disk is full.
#[derive(Debug)]
struct Stores {
    ann: Arc<MemoryStorage>,
    bob: Arc<MemoryStorage>,
}

impl StorageProvider for Stores {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        match user.as_str() {
            "ann" => Ok(Arc::clone(&self.ann) as _),
            "bob" => Ok(Arc::clone(&self.bob) as _),
            _ => Err(StorageError::NoSpace("test".to_owned())),
        }
    }
}

struct Client {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    stores: Arc<Stores>,
    _stopper: Stopper,
}

impl Client {
    async fn new(limits: Limits) -> Self {
        let store = || Arc::new(MemoryStorage::new(MemoryOptions::default()));
        let stores = Arc::new(Stores { ann: store(), bob: store() });
        let (stopper, stop): (Stopper, Stop) = Stopper::new();
        let pool = StoragePool::new(PoolOptions::storage());
        let context = SessionContext {
            host_name: "mail.test".into(),
            peer: "test".into(),
            logins: Logins::new(Arc::new(Users), pool.clone(), &limits),
            limits: Arc::new(limits),
            pool,
            storages: Arc::clone(&stores) as _,
            stop,
        };
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(serve(theirs, context));
        let (read, write) = split(ours);
        let mut client = Self { read: BufReader::new(read), write, stores, _stopper: stopper };
        assert!(client.line().await.starts_with("220 mail.test "));
        client
    }

    async fn hello() -> Self {
        let mut client = Self::new(Limits::default()).await;
        client.send("LHLO client.test\r\n").await;
        while client.line().await.starts_with("250-") {}
        client
    }

    async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.read.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("a reply in time").unwrap();
        line.trim_end().to_owned()
    }

    async fn replies(&mut self, codes: &[&str]) {
        for (n, code) in codes.iter().enumerate() {
            let line = self.line().await;
            assert!(line.starts_with(code), "reply {n}: expected {code}, got {line}");
        }
    }

    fn inbox(&self, user: &str) -> Vec<String> {
        let store = if user == "ann" { &self.stores.ann } else { &self.stores.bob };
        let view = store.mailbox(&MailboxName::inbox()).unwrap().view(&ViewAs::default()).unwrap();
        let message = |seq| {
            let mut body = view.body(view.uid_at(SeqNum::new(seq).unwrap()).unwrap()).unwrap();
            let mut bytes = vec![0; body.size() as usize];
            let len = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        };
        (1..=view.message_count()).map(message).collect()
    }
}

#[tokio::test]
async fn offers_what_it_can() {
    let mut client = Client::new(Limits { message_len_max: 1000, ..Limits::default() }).await;
    client.send("LHLO client.test\r\n").await;
    let mut lines = Vec::new();
    loop {
        lines.push(client.line().await);
        if lines.last().unwrap().starts_with("250 ") {
            break;
        }
    }
    assert_eq!(lines, ["250-mail.test", "250-PIPELINING", "250-8BITMIME", "250-ENHANCEDSTATUSCODES", "250 SIZE 1000"]);
}

#[tokio::test]
async fn one_packet_brings_two_messages_and_a_reply_for_each_recipient() {
    let mut client = Client::hello().await;
    client
        .send(
            "MAIL FROM:<> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<ann>\r\nRCPT TO:<nobody>\r\nRCPT TO:<bob@any.example>\r\nDATA\r\n\
             Subject: a\r\n\r\n..dot\r\n.\r\n\
             MAIL FROM:<x@y.example>\r\nRCPT TO:<ann>\r\nDATA\r\nSubject: b\r\n\r\n.\r\nQUIT\r\n",
        )
        .await;
    client.replies(&["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354", "250 2.0.0", "250 2.0.0"]).await;
    client.replies(&["250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "221 2.0.0"]).await;
    assert_eq!(client.line().await, "", "closed");
    assert_eq!(client.inbox("ann"), ["Subject: a\r\n\r\n.dot\r\n", "Subject: b\r\n\r\n"]);
    assert_eq!(client.inbox("bob"), ["Subject: a\r\n\r\n.dot\r\n"]);
}

#[tokio::test]
async fn one_recipients_full_disk_is_not_the_others_matter() {
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<broken>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\n.\r\n").await;
    client.replies(&["250", "250", "250", "354", "452 4.3.1", "250 2.0.0"]).await;
    assert_eq!(client.inbox("ann").len(), 1);
}

#[tokio::test]
async fn a_large_message_passes_through_in_pieces() {
    let mut client = Client::hello().await;
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let body = line.repeat(5 * SPOOL_LEN / line.len());
    client.send(&format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<broken>\r\nDATA\r\nA: b\r\n\r\n{body}.\r\n")).await;
    client.replies(&["250", "250", "250", "354", "250 2.0.0", "452 4.3.1"]).await;
    assert_eq!(client.inbox("ann"), [format!("A: b\r\n\r\n{body}")]);
}

#[tokio::test]
async fn too_large_is_said_before_or_after_and_the_session_goes_on() {
    let mut client = Client::new(Limits { message_len_max: 100, ..Limits::default() }).await;
    client.send("LHLO x\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250 SIZE 100"]).await;
    client.send("MAIL FROM:<> SIZE=101\r\n").await;
    client.replies(&["552 5.3.4"]).await;
    let body = "x".repeat(SPOOL_LEN * 2);
    client.send(&format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob>\r\nDATA\r\n{body}\r\n.\r\nNOOP\r\n")).await;
    client.replies(&["250", "250", "250", "354", "552 5.3.4", "552 5.3.4", "250 2.0.0"]).await;
    assert_eq!(client.inbox("ann").len() + client.inbox("bob").len(), 0);
}

#[tokio::test]
async fn commands_out_of_order_or_wrong_are_refused_one_by_one() {
    let mut client = Client::new(Limits { bad_commands_max: 100, ..Limits::default() }).await;
    client.send("EHLO x\r\nMAIL FROM:<>\r\n").await;
    client.replies(&["500 5.5.1", "503 5.5.1"]).await;
    client.send("LHLO x\r\nRCPT TO:<ann>\r\nDATA\r\nMAIL FROM:<>\r\nDATA\r\nMAIL FROM:<>\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250 SIZE", "503", "503", "250", "503", "503"]).await;
    client.send("RSET\r\nMAIL FROM:broken\r\nFROB\r\nVRFY ann\r\nSTARTTLS\r\nBDAT 3 LAST\r\nNOOP\r\n").await;
    client.replies(&["250", "501", "500", "252", "502", "502", "250"]).await;
}

#[tokio::test]
async fn a_line_without_end_is_dropped_as_it_comes() {
    let mut client = Client::hello().await;
    for _ in 0..100 {
        client.send(&"x".repeat(10_000)).await;
    }
    client.send("\r\nNOOP\r\n").await;
    client.replies(&["500 5.5.6", "250 2.0.0"]).await;
}

#[tokio::test]
async fn too_many_errors_end_the_session() {
    let mut client = Client::new(Limits { bad_commands_max: 3, ..Limits::default() }).await;
    client.send(&"FROB\r\n".repeat(10)).await;
    client.replies(&["500", "500", "500", "421 4.7.0"]).await;
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_delivers_nothing() {
    let mut client = Client::hello().await;
    client.send(&format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\n{}", "a line\r\n".repeat(SPOOL_LEN / 4))).await;
    client.replies(&["250", "250", "354"]).await;
    client.write.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    assert_eq!(client.inbox("ann").len(), 0);
}

#[tokio::test]
async fn a_message_with_a_nul_or_without_a_header_has_an_answer() {
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nno header at all\r\n.\r\n").await;
    client.replies(&["250", "250", "354", "250 2.0.0"]).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\nx\0y\r\n.\r\n").await;
    client.replies(&["250", "250", "354", "250 2.0.0"]).await;
    assert_eq!(client.inbox("ann"), ["no header at all\r\n", "A: b\r\n\r\nx\0y\r\n"]);
}
