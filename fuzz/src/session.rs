//! Sessions of IMAP, POP3 and LMTP: whatever a client sends, and however it is cut, the session ends when the client is
//! gone, and panics nowhere: neither itself nor in the steps that it runs on the pool.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use culver_runtime::{
    AuthError, Authenticator, Client, Connections, Limits, Logins, PoolOptions, Stopper, StoragePool, StorageProvider,
    User, UserName,
};
use mailstore::{
    Batch, MailStorage, SaveMeta,
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{Flags, MailboxName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::Runtime,
    time::timeout,
};

/// A session that takes longer hangs. Its work is bounded by [`INPUT_LEN_MAX`].
const PATIENCE: Duration = Duration::from_secs(20);
/// More input teaches nothing new.
const INPUT_LEN_MAX: usize = 16 * 1024;
/// Bytes of what a client says at once, where the first byte of the input has this bit.
const CUT: u8 = 1;

/// Everybody's password is right.
#[derive(Debug)]
struct Users;

impl Authenticator for Users {
    fn verify(&self, name: &str, _: &[u8]) -> Result<Option<User>, AuthError> {
        self.lookup(name)
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        Ok(UserName::new(name).ok().map(User::new))
    }
}

/// Mail of one session, new for each.
#[derive(Debug)]
struct Mail(Arc<MemoryStorage>);

impl StorageProvider for Mail {
    fn storage_for(&self, _: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        Ok(Arc::clone(&self.0) as _)
    }
}

/// What all runs share: threads are dear.
struct Host {
    runtime: Runtime,
    storage: StoragePool,
    passwords: StoragePool,
}

/// Panics so far. Those of steps are contained by the pool, and would go unseen.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(panic);
        }));
        Host {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            storage: StoragePool::new(PoolOptions { threads: 1, ..PoolOptions::storage() }),
            passwords: StoragePool::new(PoolOptions { threads: 1, ..PoolOptions::passwords() }),
        }
    })
}

/// Small ones, so that a small input meets them.
fn limits() -> Limits {
    Limits {
        failed_login_delay: Duration::ZERO,
        literal_len_max: 4096,
        message_len_max: 8192,
        output_step_len: 2048,
        input_step_len: 1024,
        session_memory_max: 512 * 1024,
        pipelined_commands_max: 16,
        ..Limits::default()
    }
}

fn mail() -> Arc<Mail> {
    let storage = Arc::new(MemoryStorage::new(MemoryOptions::default()));
    let inbox = storage.mailbox(&MailboxName::inbox()).expect("INBOX is there");
    let mut batch = Batch::new();
    for text in [
        &b"From: a@example.org\r\nSubject: one\r\n\r\nbody\r\n.\r\n"[..],
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\npart\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n\
          Subject: inner\r\n\r\nhi\r\n--x--\r\n",
    ] {
        let mut save = inbox.begin_save(SaveMeta::default(), None).expect("it takes messages");
        save.write(text).expect("it takes this one");
        batch = batch.save(save.finish().expect("it is whole"), Flags::NONE, vec![]);
    }
    inbox.submit(batch).expect("it is taken").wait().expect("it is there");
    Arc::new(Mail(storage))
}

fn logins(host: &Host, limits: &Limits) -> Logins {
    Logins::new(Arc::new(Users), host.passwords.clone(), limits)
}

fn client() -> Client {
    Client { plaintext_allowed: true, ..Client::default() }
}

/// Sends the input after `before`, takes all answers, and waits for the session's end.
fn converse<S: Future<Output = ()> + Send + 'static>(
    before: &str,
    input: &[u8],
    serve: impl FnOnce(DuplexStream) -> S,
) {
    let (&cut, input) = input.split_first().unwrap_or((&0, &[]));
    let input = &input[..input.len().min(INPUT_LEN_MAX)];
    let piece_len = if cut & CUT == 0 { input.len().max(1) } else { usize::from(cut >> 1) + 1 };
    let (host, panics) = (host(), PANICS.load(Ordering::SeqCst));
    host.runtime.block_on(async {
        let (near, far) = duplex(512);
        let session = tokio::spawn(serve(far));
        let (mut read, mut write) = tokio::io::split(near);
        let answers = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while read.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
        });
        let say = async {
            // The session may end before it has read all.
            let _ = write.write_all(before.as_bytes()).await;
            for piece in input.chunks(piece_len) {
                if write.write_all(piece).await.is_err() {
                    break;
                }
            }
            let _ = write.shutdown().await;
        };
        timeout(PATIENCE, say).await.expect("the session reads");
        timeout(PATIENCE, session).await.expect("the session ends").expect("the session does not panic");
        timeout(PATIENCE, answers).await.expect("its end is seen").expect("a reader");
    });
    assert_eq!(PANICS.load(Ordering::SeqCst), panics, "no step panics");
}

/// IMAP, the input's first byte saying how it is cut and where the client stands.
pub fn imap_session(input: &[u8]) {
    let before = match input.first().map_or(0, |first| first >> 6) {
        0 => "",
        1 => "x LOGIN ann x\r\n",
        2 => "x LOGIN ann x\r\nx SELECT INBOX\r\n",
        _ => "x LOGIN ann x\r\nx ENABLE QRESYNC\r\nx SELECT INBOX\r\n",
    };
    let (host, limits, (_stopper, stop)) = (host(), limits(), Stopper::new());
    let context = culver_imap::SessionContext {
        logins: logins(host, &limits),
        storages: mail(),
        pool: host.storage.clone(),
        connections: Connections::new(&limits),
        limits: Arc::new(limits),
        stop,
        peer: None,
        options: Arc::default(),
        special_uses: Arc::default(),
        client: client(),
        starttls: None,
    };
    converse(before, input, |stream| culver_imap::serve(stream, context));
}

/// POP3, as above.
pub fn pop3_session(input: &[u8]) {
    let before = if input.first().is_some_and(|first| first >> 7 == 1) { "USER ann\r\nPASS x\r\n" } else { "" };
    let (host, limits, (_stopper, stop)) = (host(), limits(), Stopper::new());
    let context = culver_pop3::SessionContext {
        logins: logins(host, &limits),
        storages: mail(),
        pool: host.storage.clone(),
        connections: Connections::new(&limits),
        limits: Arc::new(limits),
        options: Arc::default(),
        locks: culver_pop3::SessionLocks::default(),
        stop,
        peer: None,
        client: client(),
        starttls: None,
    };
    converse(before, input, |stream| culver_pop3::serve(stream, context));
}

/// LMTP, as above.
pub fn lmtp_session(input: &[u8]) {
    let before = match input.first().map_or(0, |first| first >> 6) {
        0 => "",
        1 => "LHLO x\r\n",
        2 => "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob>\r\n",
        _ => "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann>\r\nDATA\r\n",
    };
    let (host, limits, (_stopper, stop)) = (host(), limits(), Stopper::new());
    let context = culver_lmtp::SessionContext {
        host_name: "mail.example".into(),
        peer: "a pipe".into(),
        options: Arc::default(),
        logins: logins(host, &limits),
        limits: Arc::new(limits),
        pool: host.storage.clone(),
        storages: mail(),
        stop,
        client: client(),
        starttls: None,
    };
    converse(before, input, |stream| async move {
        // That the client is gone is no finding.
        let _ = culver_lmtp::serve(stream, context).await;
    });
}
