//! A host with one user's mail in memory, and clients that speak to it over a pipe.

use std::{sync::Arc, time::Duration};

use culver_pop3::{Options, SessionContext, SessionLocks};
use culver_runtime::{
    AuthError, Authenticator, Client as Who, Connections, Limits, Logins, PoolOptions, Stopper, StoragePool,
    StorageProvider, User, UserName,
};
use mailstore::{
    Batch, Column, Columns, Cursor, MailStorage, NulPolicy, Rows, SaveMeta, ScanBudget, ViewAs,
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{Flags, MailboxName, Uid};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf,
        duplex, split,
    },
    task::JoinHandle,
    time::timeout,
};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Knows `ann` with the password `secret word`.
#[derive(Debug)]
struct Users;

impl Authenticator for Users {
    fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError> {
        match name {
            "broken" => Err(AuthError("on purpose".to_owned())),
            _ if password == b"secret word" => self.lookup(name),
            _ => Ok(None),
        }
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        Ok(UserName::new(name).ok().filter(|name| name.as_str() == "ann").map(User::new))
    }
}

#[derive(Debug)]
struct Shared(Arc<dyn MailStorage>);

impl StorageProvider for Shared {
    fn storage_for(&self, _: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        Ok(Arc::clone(&self.0))
    }
}

pub(crate) struct Host {
    pub(crate) storage: Arc<dyn MailStorage>,
    pub(crate) ctx: SessionContext,
    pub(crate) stopper: Stopper,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), Options::default())
    }

    pub(crate) fn with(limits: Limits, options: Options) -> Self {
        Self::over(Arc::new(MemoryStorage::new(MemoryOptions::default())), limits, options)
    }

    pub(crate) fn over(storage: Arc<dyn MailStorage>, limits: Limits, options: Options) -> Self {
        let limits = Limits { failed_login_delay: Duration::from_millis(20), ..limits };
        let (stopper, stop) = Stopper::new();
        let passwords = StoragePool::new(PoolOptions::passwords());
        let pool = PoolOptions { threads: 4, steps_per_user_max: 4, ..PoolOptions::storage() };
        let ctx = SessionContext {
            logins: Logins::new(Arc::new(Users), passwords, &limits),
            storages: Arc::new(Shared(Arc::clone(&storage))),
            pool: StoragePool::new(pool),
            connections: Connections::new(&limits),
            limits: Arc::new(limits),
            options: Arc::new(options),
            locks: SessionLocks::default(),
            stop,
            peer: None,
            client: Who { plaintext_allowed: true, ..Who::default() },
            starttls: None,
        };
        Self { storage, ctx, stopper }
    }

    /// Puts a message into INBOX, past all sessions.
    pub(crate) fn put(&self, text: &[u8]) -> Uid {
        let mailbox = self.storage.mailbox(&MailboxName::inbox()).unwrap();
        let mut save =
            mailbox.begin_save(SaveMeta { nuls: Some(NulPolicy::Keep), ..SaveMeta::default() }, None).unwrap();
        save.write(text).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, vec![]);
        mailbox.submit(batch).unwrap().wait().unwrap().saved[0]
    }

    /// Messages `1` to `count`, each with its number in it.
    pub(crate) fn put_many(&self, count: usize) {
        for number in 1..=count {
            self.put(format!("Subject: {number}\r\n\r\nbody {number}\r\n").as_bytes());
        }
    }

    pub(crate) fn expunge(&self, uids: &[u32]) {
        let mailbox = self.storage.mailbox(&MailboxName::inbox()).unwrap();
        let uids = uids.iter().map(|&uid| Uid::new(uid).unwrap()).collect();
        mailbox.submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
    }

    /// UIDs of INBOX with flags and keywords.
    pub(crate) fn inbox(&self) -> Vec<(u32, String)> {
        let view = self.storage.mailbox(&MailboxName::inbox()).unwrap().view(&ViewAs::default()).unwrap();
        let mut rows = Rows::new();
        let budget = ScanBudget { rows: usize::MAX, bytes: usize::MAX, until: None };
        let columns = Columns::flags().with(Column::Size);
        assert_eq!(view.scan(&view.uids(), Cursor::START, &columns, budget, &mut rows).unwrap(), None);
        let show = |row: &mailstore::Row| {
            let keywords: Vec<_> = rows.keywords(row).iter().map(|keyword| keyword.as_str()).collect();
            (row.uid.value(), format!("{}{}", row.flags, keywords.join(" ")))
        };
        rows.rows.iter().map(show).collect()
    }

    pub(crate) fn uids(&self) -> Vec<u32> {
        self.inbox().into_iter().map(|(uid, _)| uid).collect()
    }

    /// A client past the greeting.
    pub(crate) async fn connect(&self) -> Client {
        let (ours, theirs) = duplex(64 * 1024);
        let session = tokio::spawn(culver_pop3::serve(theirs, self.ctx.clone()));
        let (read, write) = split(ours);
        let mut client = Client { read: BufReader::new(read), write, session };
        assert_eq!(client.line().await, "+OK Culver ready.");
        client
    }

    pub(crate) async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        client.check(&[("USER ann", "+OK"), ("PASS secret word", "+OK Logged in.")]).await;
        client
    }
}

pub(crate) struct Client {
    pub(crate) read: BufReader<ReadHalf<DuplexStream>>,
    pub(crate) write: WriteHalf<DuplexStream>,
    pub(crate) session: JoinHandle<()>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.write.write_all(bytes.as_ref())).await.expect("the server reads").unwrap();
    }

    /// The next line without its end; empty at the end of the stream.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        timeout(PATIENCE, self.read.read_until(b'\n', &mut line)).await.expect("the server answers").unwrap();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.is_empty() || line.ends_with("\r\n"), "{line:?}");
        line.trim_end_matches("\r\n").to_owned()
    }

    pub(crate) async fn command(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n")).await;
        self.line().await
    }

    /// Commands with what their answers begin with.
    pub(crate) async fn check(&mut self, conversation: &[(&str, &str)]) {
        for (command, expected) in conversation {
            let answer = self.command(command).await;
            assert!(answer.starts_with(expected), "{command} -> {answer}, not {expected}");
        }
    }

    /// Answers that come without being asked for again.
    pub(crate) async fn check_lines(&mut self, expected: &[&str]) {
        for expected in expected {
            let answer = self.line().await;
            assert!(answer.starts_with(expected), "{answer}, not {expected}");
        }
    }

    /// The lines of a multi-line answer whose first line is still to come, dots as sent.
    pub(crate) async fn lines(&mut self) -> Vec<String> {
        let first = self.line().await;
        assert!(first.starts_with("+OK"), "{first}");
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line == "." {
                return lines;
            }
            lines.push(line);
        }
    }

    pub(crate) async fn list(&mut self, command: &str) -> Vec<String> {
        self.send(format!("{command}\r\n")).await;
        self.lines().await
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.read.read_to_end(&mut rest)).await.expect("the server closes").unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}
