//! A host whose users' mail is in memory, and clients that speak to it over a pipe.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use culver_lmtp::{Options, SessionContext, serve};
use culver_runtime::{
    AuthError, Authenticator, Client as Who, Limits, Logins, PoolOptions, Stop, Stopper, StoragePool, StorageProvider,
    User, UserName,
};
use mailstore::{
    MailStorage, Section, StorageError, ViewAs,
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{MailboxName, SeqNum};
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex,
    split,
};

/// Knows `ann`, `bob`, `broken`, `jörg` and everybody called `user` and a number.
#[derive(Debug)]
struct Users;

impl Authenticator for Users {
    fn verify(&self, _: &str, _: &[u8]) -> Result<Option<User>, AuthError> {
        Ok(None)
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        let known = ["ann", "bob", "broken", "jörg"].contains(&name) || name.starts_with("user");
        Ok(UserName::new(name).ok().filter(|_| known).map(User::new))
    }
}

/// A store for each; `broken`'s disk is full.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    stores: Mutex<HashMap<UserName, Arc<MemoryStorage>>>,
}

impl Stores {
    pub(crate) fn of(&self, user: &str) -> Arc<MemoryStorage> {
        let mut stores = self.stores.lock().unwrap();
        let new = || Arc::new(MemoryStorage::new(MemoryOptions::default()));
        Arc::clone(stores.entry(UserName::new(user).unwrap()).or_insert_with(new))
    }
}

impl StorageProvider for Stores {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        match user.as_str() {
            "broken" => Err(StorageError::NoSpace("test".into())),
            name => Ok(self.of(name)),
        }
    }
}

/// Nothing on top of messages, so that they are what was sent.
pub(crate) fn plain() -> Options {
    Options { received_header: false, return_path_header: false, delivered_to_header: false, ..Options::default() }
}

pub(crate) struct Client {
    pub(crate) read: BufReader<ReadHalf<DuplexStream>>,
    pub(crate) write: WriteHalf<DuplexStream>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) _stopper: Stopper,
}

impl Client {
    pub(crate) async fn new(limits: Limits) -> Self {
        Self::with(limits, plain(), |_| {}).await
    }

    pub(crate) async fn with(limits: Limits, options: Options, change: impl FnOnce(&mut SessionContext)) -> Self {
        let stores = Arc::new(Stores::default());
        let (stopper, stop): (Stopper, Stop) = Stopper::new();
        let pool = StoragePool::new(PoolOptions::storage());
        let mut context = SessionContext {
            host_name: "mail.test".into(),
            peer: "test".into(),
            logins: Logins::new(Arc::new(Users), pool.clone(), &limits),
            limits: Arc::new(limits),
            pool,
            storages: Arc::clone(&stores) as _,
            stop,
            options: Arc::new(options),
            client: Who::default(),
            starttls: None,
        };
        change(&mut context);
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(serve(theirs, context));
        let (read, write) = split(ours);
        let mut client = Self { read: BufReader::new(read), write, stores, _stopper: stopper };
        assert!(client.line().await.starts_with("220 mail.test "));
        client
    }

    pub(crate) async fn hello() -> Self {
        Self::hello_with(Limits::default(), plain()).await
    }

    pub(crate) async fn hello_with(limits: Limits, options: Options) -> Self {
        let mut client = Self::with(limits, options, |_| {}).await;
        client.send("LHLO client.test\r\n").await;
        while client.line().await.starts_with("250-") {}
        client
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        let sent = tokio::time::timeout(Duration::from_secs(20), self.write.write_all(text.as_ref()));
        sent.await.expect("the server reads").unwrap();
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.read.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("a reply in time").unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) async fn replies(&mut self, codes: &[&str]) {
        for (n, code) in codes.iter().enumerate() {
            let line = self.line().await;
            assert!(line.starts_with(code), "reply {n}: expected {code}, got {line}");
        }
    }

    pub(crate) fn inbox(&self, user: &str) -> Vec<String> {
        self.mailbox(user, "INBOX")
    }

    pub(crate) fn mailbox(&self, user: &str, mailbox: &str) -> Vec<String> {
        messages_of(&self.stores.of(user), mailbox)
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        let read = self.read.read_to_string(&mut rest);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the server closes").unwrap();
        rest
    }
}

/// All messages of a mailbox.
pub(crate) fn messages_of(storage: &MemoryStorage, mailbox: &str) -> Vec<String> {
    let mailbox = storage.mailbox(&MailboxName::new(mailbox).unwrap()).unwrap();
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let message = |seq| {
        let mut body = view.body(view.uid_at(SeqNum::new(seq).unwrap()).unwrap()).unwrap();
        let mut bytes = vec![0; body.size() as usize];
        let len = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    };
    (1..=view.message_count()).map(message).collect()
}
