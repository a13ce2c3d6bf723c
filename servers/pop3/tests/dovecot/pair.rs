//! Culver and a Dovecot, each on its copy of one store.

use std::{net::SocketAddr, path::Path, sync::Arc};

use culver_pop3::{Options, SessionContext, SessionLocks};
use culver_runtime::{
    AuthError, Authenticator, Client, Connections, Limits, Logins, PoolOptions, Stopper, StoragePool, StorageProvider,
    User, UserName,
};
use fastrand::Rng;
use mailstore::{Batch, Columns, Cursor, MailStorage, NulPolicy, Rows, SaveMeta, ScanBudget, Store, ViewAs};
use mailtypes::{Flags, InternalDate, MailboxName, Uid};
use testkit::{
    dovecot::{Dovecot, PASSWORD, Setup},
    imap::Imap,
    messages,
    place::{MailUser, Place, copy_tree, free_port},
};

/// Everybody with the right password.
#[derive(Debug)]
struct Users;

impl Authenticator for Users {
    fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError> {
        if password == PASSWORD.as_bytes() { self.lookup(name) } else { Ok(None) }
    }
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        Ok(UserName::new(name).ok().map(User::new))
    }
}

#[derive(Debug)]
struct One(Arc<dyn MailStorage>);

impl StorageProvider for One {
    fn storage_for(&self, _: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        Ok(Arc::clone(&self.0))
    }
}

pub(crate) struct Pair {
    storage: Arc<dyn MailStorage>,
    server: Server,
    pub(crate) theirs: SocketAddr,
    dovecot: Dovecot,
    numbers: u64,
    _place: Place,
}

/// Culver's POP3 over one store, until dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _stopper: Stopper,
}

impl Server {
    pub(crate) fn start(storage: Arc<dyn MailStorage>, options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let limits = Limits { bad_commands_max: 1000, ..Limits::default() };
        let (stopper, stop) = Stopper::new();
        let context = SessionContext {
            logins: Logins::new(Arc::new(Users), StoragePool::new(PoolOptions::passwords()), &limits),
            storages: Arc::new(One(storage)),
            pool: StoragePool::new(PoolOptions::storage()),
            connections: Connections::new(&limits),
            limits: Arc::new(limits),
            options: Arc::new(options),
            locks: SessionLocks::default(),
            stop,
            peer: None,
            client: Client { plaintext_allowed: true, ..Client::default() },
            starttls: None,
        };
        let address = runtime.block_on(listen(context));
        Self { address, _runtime: runtime, _stopper: stopper }
    }
}

impl Pair {
    /// A store with so many messages; `extra` are further lines of Dovecot's configuration.
    pub(crate) fn new(what: &str, rng: &mut Rng, messages: u64, options: Options, extra: &str) -> Self {
        let place = Place::new(what).unwrap();
        let owner = MailUser::for_tests().unwrap();
        let (ours, theirs) = (place.path().join("ours"), place.folder_of(&owner, "theirs").unwrap());
        let storage = Arc::clone(Store::create(&ours).unwrap().storage());
        let mut numbers = 0;
        for _ in 0..messages {
            numbers += 1;
            put(&*storage, &any_message(rng, numbers), numbers);
        }
        copy_tree(&ours, &theirs.join("ann"), &owner).unwrap();
        let (dovecot, pop3) = dovecot(place.path(), &owner, format!("sdbox:{}/%u", theirs.display()), extra);
        let server = Server::start(Arc::clone(&storage), options);
        Self { storage, server, theirs: pop3, dovecot, numbers, _place: place }
    }

    pub(crate) fn ours(&self) -> SocketAddr {
        self.server.address
    }

    /// Puts the same messages into both.
    pub(crate) fn add(&mut self, rng: &mut Rng, count: usize) {
        for _ in 0..count {
            self.numbers += 1;
            let message = messages::varied(rng, self.numbers);
            put(&*self.storage, &message, self.numbers);
            let mut imap = Imap::login(self.dovecot.imap, "ann", PASSWORD).unwrap();
            assert_eq!(imap.append("INBOX", "", None, &message).unwrap().status, "OK");
        }
    }

    /// A message goes, in both, while sessions are open.
    pub(crate) fn expunge_behind_their_backs(&mut self, rng: &mut Rng) {
        let inbox = self.our_inbox();
        let Some((uid, _)) = inbox.get(rng.usize(..inbox.len().max(1))) else { return };
        let uids = [Uid::new(*uid).unwrap()].into_iter().collect();
        let mailbox = self.storage.mailbox(&MailboxName::inbox()).unwrap();
        mailbox.submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
        self.dovecot.doveadm(&["expunge", "-u", "ann", "mailbox", "INBOX", "uid", &uid.to_string()]).unwrap();
    }

    /// UIDs and flags in ours.
    fn our_inbox(&self) -> Vec<(u32, Vec<String>)> {
        let view = self.storage.mailbox(&MailboxName::inbox()).unwrap().view(&ViewAs::default()).unwrap();
        let mut rows = Rows::new();
        let budget = ScanBudget { rows: usize::MAX, bytes: usize::MAX, until: None };
        view.scan(&view.uids(), Cursor::START, &Columns::flags(), budget, &mut rows).unwrap();
        rows.rows.iter().map(|row| (row.uid.value(), flags(&row.flags.to_string()))).collect()
    }

    fn their_inbox(&self) -> Vec<(u32, Vec<String>)> {
        let text = self.dovecot.doveadm(&["fetch", "-u", "ann", "uid flags", "mailbox", "INBOX", "all"]).unwrap();
        let text = String::from_utf8(text).unwrap();
        let values = |key: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned()).collect()
        };
        values("uid:").iter().zip(values("flags:")).map(|(uid, text)| (uid.parse().unwrap(), flags(&text))).collect()
    }

    /// What is in both, which must be the same.
    pub(crate) fn inboxes_equal(&self, session: usize) -> Vec<(u32, Vec<String>)> {
        // What a lost session leaves behind comes when each has noticed.
        let mut both = (self.our_inbox(), self.their_inbox());
        for _ in 0..200 {
            if both.0 == both.1 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            both = (self.our_inbox(), self.their_inbox());
        }
        assert_eq!(both.0, both.1, "before or after session {session}");
        both.0
    }
}

fn flags(text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(|word| word.trim_matches(['(', ')']).to_owned());
    let mut flags: Vec<_> = words.filter(|flag| !flag.is_empty() && flag != "\\Recent").collect();
    flags.sort();
    flags
}

async fn listen(context: SessionContext) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(culver_pop3::serve(stream, context.clone()));
        }
    });
    address
}

/// A Dovecot that has POP3.
pub(crate) fn dovecot(folder: &Path, owner: &MailUser, mail_location: String, extra: &str) -> (Dovecot, SocketAddr) {
    let port = free_port().unwrap();
    let extra = format!(
        "protocols = imap lmtp pop3\nservice pop3-login {{\n  inet_listener pop3 {{\n    port = {port}\n  }}\n  \
         inet_listener pop3s {{\n    port = 0\n  }}\n  chroot =\n}}\n{extra}\n"
    );
    let setup = Setup { mail_location, users: &["ann"], extra: &extra };
    (Dovecot::start(folder, owner, &setup).unwrap(), ([127, 0, 0, 1], port).into())
}

fn any_message(rng: &mut Rng, number: u64) -> Vec<u8> {
    match rng.u32(..10) {
        0 => messages::large(rng, number, 300_000),
        1..=5 => messages::varied(rng, number),
        6 => b"A: b\r\n\r\nnul \0 and bare \r cr\r\n.\r\n..\r\nno end".to_vec(),
        _ => messages::message(rng, number),
    }
}

fn put(storage: &dyn MailStorage, message: &[u8], number: u64) {
    let mailbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let internal_date = Some(InternalDate::utc(1_700_000_000 + number as i64));
    let meta = SaveMeta { internal_date, nuls: Some(NulPolicy::Keep), ..SaveMeta::default() };
    let mut save = mailbox.begin_save(meta, None).unwrap();
    save.write(message).unwrap();
    let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, vec![]);
    mailbox.submit(batch).unwrap().wait().unwrap();
}
