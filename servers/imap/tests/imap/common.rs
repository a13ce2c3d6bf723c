//! A host with one user's mail in memory, and clients that speak to it over a pipe.

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use culver_imap::SessionContext;
use culver_runtime::{
    AuthError, Authenticator, Connections, Limits, Logins, PoolOptions, Stop, Stopper, StoragePool, StorageProvider,
    User, UserName,
};
use imap_proto::response::{Response, ResponseDecoder, ResponseLimits};
use mailstore::{
    Batch, MailStorage, SaveMeta,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
    mailfs::sim::SimDisk,
    mailindex::engine::{Env, EnvOptions, Fsync},
    memory::{MemoryOptions, MemoryStorage},
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{Flags, InternalDate, MailboxName, Uid};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    task::JoinHandle,
    time::timeout,
};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Knows `ann` with the password `secret`, and any other name with the password `other`.
#[derive(Debug)]
struct Everybody;

impl Authenticator for Everybody {
    fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError> {
        let right: &[u8] = if name == "ann" { b"secret" } else { b"other" };
        Ok((password == right).then(|| User::new(UserName::new(name).unwrap())))
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        Ok(UserName::new(name).ok().map(User::new))
    }
}

/// Everybody has the same mail.
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
        Self::with(Limits::default(), MemoryOptions::default())
    }

    pub(crate) fn with(limits: Limits, options: MemoryOptions) -> Self {
        Self::on(limits, Arc::new(MemoryStorage::new(options)))
    }

    /// On the backend that real mail is kept in, without a disk below it.
    pub(crate) fn on_sdbox() -> Self {
        Self::on_sdbox_with(Limits::default())
    }

    pub(crate) fn on_sdbox_with(limits: Limits) -> Self {
        let env =
            Env::new(SimDisk::new().as_file_system(), EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() });
        let storage = SdboxStorage::create(&env, Path::new("/mail"), SdboxOptions::default()).unwrap();
        Self::on(limits, Arc::new(storage))
    }

    /// On Maildir++, whose names have no `/`.
    pub(crate) fn on_maildir() -> Self {
        let env =
            Env::new(SimDisk::new().as_file_system(), EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() });
        let options = MaildirOptions::default();
        let storage = MaildirStorage::create(&env, Path::new("/mail"), &MaildirPlaces::default(), options).unwrap();
        Self::on(Limits::default(), Arc::new(storage))
    }

    fn on(limits: Limits, storage: Arc<dyn MailStorage>) -> Self {
        let limits = Limits { failed_login_delay: Duration::from_millis(50), ..limits };
        let (stopper, stop): (Stopper, Stop) = Stopper::new();
        let passwords = StoragePool::new(PoolOptions::passwords());
        let pool = PoolOptions { threads: 4, steps_per_user_max: 4, ..PoolOptions::storage() };
        let ctx = SessionContext {
            logins: Logins::new(Arc::new(Everybody), passwords, &limits),
            storages: Arc::new(Shared(Arc::clone(&storage))),
            pool: StoragePool::new(pool),
            connections: Connections::new(&limits),
            limits: Arc::new(limits),
            stop,
            peer: None,
            options: Arc::default(),
            special_uses: Arc::default(),
            client: culver_runtime::Client { plaintext_allowed: true, ..Default::default() },
            starttls: None,
        };
        Self { storage, ctx, stopper }
    }

    /// Puts a message into a mailbox, past all sessions.
    pub(crate) fn put(&self, mailbox: &str, text: &[u8], flags: Flags) -> Uid {
        let mailbox = self.storage.mailbox(&MailboxName::new(mailbox).unwrap()).unwrap();
        let meta = SaveMeta { internal_date: Some(InternalDate::utc(0)), guid: None, ..SaveMeta::default() };
        let mut save = mailbox.begin_save(meta, None).unwrap();
        save.write(text).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), flags, vec![]);
        mailbox.submit(batch).unwrap().wait().unwrap().saved[0]
    }

    /// A client of a session of its own, past the greeting. The pipe holds so many bytes each way.
    pub(crate) async fn connect_with(&self, pipe_len: usize) -> Client {
        let (near, far) = tokio::io::duplex(pipe_len);
        let session = tokio::spawn(culver_imap::serve(far, self.ctx.clone()));
        let mut client = Client::new(near, session);
        assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(64 * 1024).await
    }

    pub(crate) async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        let answer = client.command("LOGIN ann secret").await;
        assert!(answer.starts_with("tag OK [CAPABILITY IMAP4rev1 "), "{answer}");
        client
    }

    pub(crate) async fn select(&self) -> Client {
        let mut client = self.log_in().await;
        client.ok("SELECT INBOX").await;
        client
    }
}

pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
    pub(crate) session: JoinHandle<()>,
    decoder: ResponseDecoder,
    input: Vec<u8>,
    commands: u32,
}

impl Client {
    pub(crate) fn new(stream: DuplexStream, session: JoinHandle<()>) -> Self {
        let decoder = ResponseDecoder::new(ResponseLimits::default());
        Self { stream, session, decoder, input: Vec::new(), commands: 0 }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("the server reads").unwrap();
    }

    /// The next response with its bytes; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<(Response, Vec<u8>)> {
        let mut bytes = Vec::new();
        loop {
            let mut rest = self.input.as_slice();
            let response = self.decoder.next(&mut rest).unwrap();
            let used = self.input.len() - rest.len();
            bytes.extend(self.input.drain(..used));
            if let Some(response) = response {
                return Some((response, bytes));
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await.expect("the server answers");
            if read.unwrap() == 0 {
                assert!(bytes.is_empty(), "broken off: {:?}", String::from_utf8_lossy(&bytes));
                return None;
            }
        }
    }

    /// The next response as text.
    pub(crate) async fn line(&mut self) -> String {
        let (_, bytes) = self.next().await.expect("a response");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn next_tag(&mut self) -> String {
        self.commands += 1;
        format!("a{}", self.commands)
    }

    /// Responses up to the one with this tag, which is written as `tag`.
    pub(crate) async fn answer(&mut self, tag: &str) -> String {
        let mut text = String::new();
        loop {
            let Some((response, bytes)) = self.next().await else { panic!("closed after {text}") };
            let line = String::from_utf8_lossy(&bytes).into_owned();
            match response {
                Response::Status { tag: Some(of), .. } if of.as_str() == tag => {
                    text.push_str(&line.replacen(tag, "tag", 1));
                    return text;
                }
                _ => text.push_str(&line),
            }
        }
    }

    pub(crate) async fn command(&mut self, command: impl AsRef<[u8]>) -> String {
        let tag = self.next_tag();
        let line = [tag.as_bytes(), b" ", command.as_ref(), b"\r\n"].concat();
        self.send(line).await;
        self.answer(&tag).await
    }

    /// A command that must succeed.
    pub(crate) async fn ok(&mut self, command: impl AsRef<[u8]>) -> String {
        let answer = self.command(&command).await;
        let last = answer.lines().last().unwrap_or_default();
        assert!(last.starts_with("tag OK"), "{} -> {answer}", String::from_utf8_lossy(command.as_ref()));
        answer
    }

    /// Between the levels of names.
    pub(crate) async fn separator(&mut self) -> &'static str {
        if self.ok("LIST \"\" \"\"").await.contains("\".\"") { "." } else { "/" }
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some((_, bytes)) = self.next().await {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }
}

/// A stream that notes the longest buffer it was given to write.
pub(crate) struct Counting<S> {
    pub(crate) stream: S,
    pub(crate) longest: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.longest.fetch_max(buf.len(), Ordering::Relaxed);
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
