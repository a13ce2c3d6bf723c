//! The same deliveries to Culver and to a real Dovecot: what is stored is equal to the line, but for the delivery's name
//! and its date.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, path::Path, sync::Arc};

use culver_lmtp::{DetailMailbox, Options, SessionContext};
use culver_runtime::{
    AuthError, Authenticator, Client, Limits, Logins, PoolOptions, Stopper, StoragePool, StorageProvider, User,
    UserName,
};
use mailstore::{MailStorage, Section, Store, ViewAs};
use mailtypes::{MailboxName, SeqNum};
use testkit::{
    dovecot::{self, Dovecot, Setup},
    lmtp::{Lmtp, dot_stuffed},
    place::{MailUser, Place},
    skip,
};

#[derive(Debug)]
struct Users;

impl Authenticator for Users {
    fn verify(&self, _: &str, _: &[u8]) -> Result<Option<User>, AuthError> {
        Ok(None)
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        Ok(UserName::new(name).ok().filter(|name| ["ann", "bob"].contains(&name.as_str())).map(User::new))
    }
}

/// A store for each user below a folder.
#[derive(Debug)]
struct Stores(std::path::PathBuf);

impl StorageProvider for Stores {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        Ok(Arc::clone(Store::create(self.0.join(user.as_str()))?.storage()))
    }
}

async fn listen(context: SessionContext) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(culver_lmtp::serve(stream, context.clone()));
        }
    });
    address
}

/// How a message is sent.
#[derive(Clone, Copy)]
enum By {
    Data,
    Chunks(usize),
}

/// One delivery; the codes of all replies.
fn deliver(lmtp: &mut Lmtp, sender: &str, recipients: &[&str], message: &[u8], by: By) -> Vec<u16> {
    let mut codes = Vec::new();
    let mut say = |lmtp: &mut Lmtp, line: &str| {
        lmtp.send(format!("{line}\r\n").as_bytes()).unwrap();
        let (code, _) = lmtp.reply().unwrap();
        codes.push(code);
        code
    };
    say(lmtp, &format!("MAIL FROM:<{sender}>"));
    let accepted = recipients.iter().filter(|recipient| say(lmtp, &format!("RCPT TO:<{recipient}>")) == 250).count();
    match by {
        By::Data => {
            if say(lmtp, "DATA") != 354 {
                say(lmtp, "RSET");
                return codes;
            }
            lmtp.send(&dot_stuffed(message)).unwrap();
        }
        By::Chunks(len) => {
            for chunk in message.chunks(len) {
                lmtp.send(format!("BDAT {}\r\n", chunk.len()).as_bytes()).unwrap();
                lmtp.send(chunk).unwrap();
                codes.push(lmtp.reply().unwrap().0);
            }
            lmtp.send(b"BDAT 0 LAST\r\n").unwrap();
        }
    }
    (0..accepted).for_each(|_| codes.push(lmtp.reply().unwrap().0));
    codes
}

/// All messages of a user's mailbox, with what differs from delivery to delivery left out.
fn stored(root: &Path, mailbox: &str) -> Vec<String> {
    let store = Store::open(root).unwrap();
    let view = store.storage().mailbox(&MailboxName::new(mailbox).unwrap()).unwrap().view(&ViewAs::default()).unwrap();
    let message = |seq| {
        let mut body = view.body(view.uid_at(SeqNum::new(seq).unwrap()).unwrap()).unwrap();
        let mut bytes = vec![0; body.size() as usize];
        let len = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        let mut lines: Vec<_> =
            bytes[..len].split_inclusive(|&b| b == b'\n').map(|l| l.escape_ascii().to_string()).collect();
        for line in lines.iter_mut().take(9) {
            if line.starts_with("\\tid ") {
                *line = "\\tid ID".to_owned();
            } else if let Some((before, _)) = line.split_once("; ").filter(|_| line.contains(" +0000")) {
                *line = format!("{before}; DATE");
            }
        }
        lines.join("\n")
    };
    (1..=view.message_count()).map(message).collect()
}

#[test]
fn the_same_deliveries_to_both() {
    if !dovecot::is_installed() {
        return skip("the same deliveries to Dovecot", "dovecot-lmtpd");
    }
    let place = Place::new("lmtp-same").unwrap();
    let owner = MailUser::for_tests().unwrap();
    let (ours, theirs) = (place.path().join("ours"), place.folder_of(&owner, "theirs").unwrap());
    let setup = Setup {
        mail_location: format!("sdbox:{}/%u", theirs.display()),
        users: &["ann", "bob"],
        extra: "hostname = mail.test\nrecipient_delimiter = +\nlmtp_save_to_detail_mailbox = yes\nlda_mailbox_autocreate = yes\n",
    };
    let dovecot = Dovecot::start(place.path(), &owner, &setup).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let limits = Limits { bad_commands_max: 1000, ..Limits::default() };
    let (_stopper, stop) = Stopper::new();
    let context = SessionContext {
        host_name: "mail.test".into(),
        peer: "test".into(),
        options: Arc::new(Options { detail: DetailMailbox::Create, ..Options::default() }),
        logins: Logins::new(Arc::new(Users), StoragePool::new(PoolOptions::passwords()), &limits),
        limits: Arc::new(limits),
        pool: StoragePool::new(PoolOptions::storage()),
        storages: Arc::new(Stores(ours.clone())),
        stop,
        client: Client { address: Some([127, 0, 0, 1].into()), ..Client::default() },
        starttls: None,
    };
    let address = runtime.block_on(listen(context));
    let mut both = [address, dovecot.lmtp].map(|address| Lmtp::connect(address).unwrap());
    let mut number = 0;
    let mut check = |sender: &str, recipients: &[&str], message: &[u8], by: By| {
        number += 1;
        let [ours, theirs] = both.each_mut().map(|lmtp| deliver(lmtp, sender, recipients, message, by));
        assert_eq!(ours, theirs, "delivery {number} to {recipients:?}");
    };
    let plain = b"Subject: one\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n.dot\r\n..\r\n";
    check("x@y.example", &["ann"], plain, By::Data);
    check("", &["ann"], plain, By::Data);
    check("\"a b\"@y.example", &["ann"], plain, By::Data);
    check("@hop.example:x@[127.0.0.1]", &["ann"], plain, By::Data);
    check("x@y.example", &["ann", "bob"], plain, By::Data);
    check("x@y.example", &["ann", "nobody", "ann", "bob"], plain, By::Data);
    check("x@y.example", &["nobody"], plain, By::Data);
    check("x@y.example", &["ann+lists/rust", "ann+inbox", "bob+x+y"], plain, By::Data);
    check("x@y.example", &["ann+"], plain, By::Data);
    check("x@y.example", &["\"ann+a b\""], plain, By::Data);
    check("x@y.example", &["ann"], b"no header at all", By::Data);
    check("x@y.example", &["ann"], b"", By::Data);
    check("x@y.example", &["ann"], b"Return-Path: <old@y>\r\nDelivered-To: old\r\n\r\nkept\r\n", By::Data);
    check("x@y.example", &["ann"], b"A: b\r\n\r\nnul \0 bare \r cr and bare\nlf\r\n", By::Chunks(7));
    check("x@y.example", &["ann", "bob"], plain, By::Chunks(1000));
    check(
        "x@y.example",
        &["ann"],
        &b"A: b\r\n\r\n".iter().chain(b"line\r\n".repeat(100_000).iter()).copied().collect::<Vec<_>>(),
        By::Data,
    );
    drop(both);
    for (user, mailbox, count) in
        [("ann", "INBOX", 14), ("bob", "INBOX", 3), ("ann", "lists/rust", 1), ("bob", "x+y", 1), ("ann", "a b", 1)]
    {
        let (ours, theirs) = (stored(&ours.join(user), mailbox), stored(&theirs.join(user), mailbox));
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "{user}'s {mailbox}, message {}", n + 1);
        }
        assert_eq!((ours.len(), theirs.len()), (count, count), "{user}'s {mailbox}");
    }
}
