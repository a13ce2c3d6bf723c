//! A file of users in the syntax of Dovecot's passwd-file.
//!
//! Invariants:
//! - The file is read again when it changed; a line that cannot be used is reported once and costs its user only.
//! - It is changed under a dotlock beside it and replaced as a whole: whoever reads it, and a crash at any moment, finds
//!   the old or the new one. Its mode and owners stay.
//! - It need not exist: then there is no user.

mod entry;
mod lines;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry as Slot},
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use mailfs::{
    Dotlock, DotlockContent, DotlockOptions, File, FileSystem, FileSystemExt as _, FsError, Metadata, OpenMode,
    RealDisk,
};
use tracing::warn;

use crate::{
    AuthError, Authenticator, HashError, Password, RandomError, Scheme, ScramSha256, ScramUser, User, UserName,
    random::random_bytes,
};
use entry::{Entry, Fault};

/// Largest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Mode of a file that is made.
const FILE_MODE: u32 = 0o600;
/// How long to wait for somebody else who changes the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// After how long without a change a lock is one that a crash left; a change takes milliseconds. Shorter than one waits, so
/// that the first change after a crash succeeds.
const LOCK_STALE: Duration = Duration::from_secs(10);
/// Two changes so close to each other may have the same time.
const TIME_GRAIN: Duration = Duration::from_millis(100);
/// How many kinds of things that are not looked at are reported.
const IGNORED_MAX: usize = 32;
/// Characters of a made password: 5 bits each.
const WORD_LEN: usize = 20;

/// Users and passwords from a file.
pub struct PasswordFile {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    default_scheme: Scheme,
    read: Mutex<Option<Read>>,
    /// Of what was read last: for those who must not wait.
    offers_scram: AtomicBool,
    scram_iterations: AtomicU32,
}

/// The file as it was read.
struct Read {
    stamp: Stamp,
    /// Another change could follow without changing the stamp.
    fresh: bool,
    users: Arc<Users>,
}

#[derive(Default)]
struct Users {
    entries: HashMap<UserName, Entry>,
    /// The first password of the file, against which those of nobody are checked.
    decoy: Option<Password>,
}

/// What changes when the file does.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: SystemTime,
    changed: SystemTime,
}

/// A user that was made, with the password that is written down nowhere else.
#[derive(Clone)]
pub struct NewUser {
    /// The name.
    pub name: UserName,
    /// The password, 20 letters and digits.
    pub password: String,
}

impl fmt::Debug for NewUser {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a password file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// The system refused.
    #[error("cannot {doing} password file: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system answered, and to which file.
        #[source]
        source: FsError,
    },
    /// Somebody else holds the lock.
    #[error("password file {} is being changed by somebody else", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// There is a user with that name already.
    #[error("user {0} exists already")]
    Exists(UserName),
    /// There is none.
    #[error("there is no user {0}")]
    NoSuchUser(UserName),
    /// The password of a new user could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A password could not be made.
    #[error(transparent)]
    Random(#[from] RandomError),
}

type Result<T> = std::result::Result<T, PasswordFileError>;

impl PasswordFile {
    /// Names a file on the disk; it is read when first asked. Passwords without a scheme in it are of [`Scheme::Crypt`],
    /// as in Dovecot.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(RealDisk::new()), path, Scheme::Crypt)
    }

    /// Names a file; passwords without a scheme in it are of the default one.
    pub fn on(fs: Arc<dyn FileSystem>, path: impl Into<PathBuf>, default_scheme: Scheme) -> Self {
        Self {
            fs,
            path: path.into(),
            default_scheme,
            read: Mutex::new(None),
            offers_scram: AtomicBool::new(false),
            scram_iterations: AtomicU32::new(ScramSha256::ITERATIONS_DEFAULT),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it, in order.
    pub fn names(&self) -> Result<Vec<UserName>> {
        let mut names: Vec<_> = self.users()?.entries.keys().cloned().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The users in it with their schemes, `None` for those who cannot log in, in order.
    pub fn list(&self) -> Result<Vec<(User, Option<Scheme>)>> {
        let users = self.users()?;
        let scheme = |entry: &Entry| entry.password.as_ref().map(Password::scheme).filter(|_| !entry.nologin);
        let mut list: Vec<_> = users.entries.values().map(|entry| (entry.user.clone(), scheme(entry))).collect();
        list.sort_unstable_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(list)
    }

    /// The user with that name, and the line of the file that tells of him, counted from 1.
    pub fn find(&self, name: &UserName) -> Result<Option<(User, usize)>> {
        Ok(self.users()?.entries.get(name).map(|entry| (entry.user.clone(), entry.line)))
    }

    /// Makes a user with a random password if there is none yet. The file is on disk when this returns.
    pub fn create_first_user(&self, name: &UserName) -> Result<Option<NewUser>> {
        if !self.users()?.entries.is_empty() {
            return Ok(None);
        }
        let password = made_password()?;
        let hash = Password::hash(Scheme::Sha512Crypt, password.as_bytes())?;
        self.add(name, &hash)?;
        Ok(Some(NewUser { name: name.clone(), password }))
    }

    /// Adds a user. The file is on disk when this returns.
    pub fn add(&self, name: &UserName, password: &Password) -> Result<()> {
        self.change(|text| match lines::has(text, name) {
            true => Err(PasswordFileError::Exists(name.clone())),
            false => Ok(lines::with(text, name, password)),
        })
    }

    /// Gives a user another password. The file is on disk when this returns.
    pub fn set_password(&self, name: &UserName, password: &Password) -> Result<()> {
        let missing = || PasswordFileError::NoSuchUser(name.clone());
        self.change(|text| lines::with_password(text, name, password).ok_or_else(missing))
    }

    /// Removes a user; his mail stays. The file is on disk when this returns.
    pub fn remove(&self, name: &UserName) -> Result<()> {
        let missing = || PasswordFileError::NoSuchUser(name.clone());
        self.change(|text| lines::without(text, name).ok_or_else(missing))
    }

    /// Replaces the text under the lock.
    fn change(&self, change: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<()> {
        let options = DotlockOptions {
            timeout: LOCK_TIMEOUT,
            stale: LOCK_STALE,
            access: FILE_MODE.into(),
            content: DotlockContent::Replacement,
        };
        let lock = Dotlock::acquire(&self.fs, &self.path, options).map_err(|error| match error.is_timeout() {
            true => PasswordFileError::Locked { path: self.path.clone() },
            false => io_error("lock")(error),
        })?;
        let old = match self.fs.open(&self.path, OpenMode::Read) {
            Err(error) if error.is_not_found() => None,
            old => Some(old.map_err(io_error("open"))?),
        };
        let text = match &old {
            Some(_) => self.fs.read_all(&self.path, FILE_LEN_MAX).map_err(io_error("read"))?,
            None => Vec::new(),
        };
        let text = change(&text)?;
        if let Some(old) = &old {
            let metadata = old.metadata().map_err(io_error("look at"))?;
            take_owners(&**old, &**lock.file())
                .map_err(|source| io_error("keep the owner of")(FsError::new("chown", &self.path, source)))?;
            lock.file().set_permissions(metadata.mode, Some(metadata.gid)).map_err(io_error("keep the mode of"))?;
        } else if let Some(folder) = self.path.parent() {
            take_owner_of_folder(folder, &**lock.file()).map_err(|source| {
                io_error("give to its folder's owner the")(FsError::new("chown", &self.path, source))
            })?;
        }
        lock.file().write_at(&text, 0).map_err(io_error("write"))?;
        lock.replace().map_err(io_error("replace"))
    }

    /// The users as of now. Costs one `stat` where nothing changed.
    fn users(&self) -> Result<Arc<Users>> {
        let stamp = self.fs.metadata(&self.path).map_err(io_error("look at"))?.map(|metadata| Stamp::of(&metadata));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stamp) = stamp else {
            *read = None;
            self.offers_scram.store(false, Ordering::Relaxed);
            return Ok(Arc::default());
        };
        if let Some(read) = read.as_ref().filter(|read| read.stamp == stamp && !read.fresh) {
            return Ok(Arc::clone(&read.users));
        }
        let known = read.as_ref().is_some_and(|read| read.stamp == stamp);
        // The stamp was taken before the text: what is changed in between is seen at the next look.
        let now = self.fs.now();
        let text = self.fs.read_all(&self.path, FILE_LEN_MAX).map_err(io_error("read"))?;
        let users = Arc::new(parse(&text, self.default_scheme, |line, fault| {
            if !known {
                warn!(file = %self.path.display(), line, %fault, "password file");
            }
        }));
        self.offers_scram.store(users.offer_scram(), Ordering::Relaxed);
        self.scram_iterations.store(users.scram_iterations(), Ordering::Relaxed);
        let fresh = now < stamp.modified.max(stamp.changed) + TIME_GRAIN;
        *read = Some(Read { stamp, fresh, users: Arc::clone(&users) });
        Ok(users)
    }
}

fn io_error(doing: &'static str) -> impl Fn(FsError) -> PasswordFileError {
    move |source| PasswordFileError::Io { doing, source }
}

/// Gives a new file the owner of an old one, where they differ: a file that root changed is still to be read by the
/// server.
fn take_owners(old: &dyn File, new: &dyn File) -> io::Result<()> {
    let (Some(old), Some(new)) = (old.descriptor(), new.descriptor()) else { return Ok(()) };
    let owner = rustix::fs::fstat(old)?.st_uid;
    if rustix::fs::fstat(new)?.st_uid != owner {
        rustix::fs::fchown(new, Some(rustix::fs::Uid::from_raw(owner)), None)?;
    }
    Ok(())
}

/// Gives a file that root makes to the owner of its folder: the server that is to read it is seldom root.
fn take_owner_of_folder(folder: &Path, new: &dyn File) -> io::Result<()> {
    let Some(new) = new.descriptor().filter(|_| rustix::process::geteuid().is_root()) else { return Ok(()) };
    let folder = rustix::fs::stat(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    if rustix::fs::fstat(new)?.st_uid != folder.st_uid {
        let (owner, group) = (rustix::fs::Uid::from_raw(folder.st_uid), rustix::fs::Gid::from_raw(folder.st_gid));
        rustix::fs::fchown(new, Some(owner), Some(group))?;
    }
    Ok(())
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let Metadata { device, inode, len, modified, changed, .. } = *metadata;
        Self { device, inode, len, modified, changed }
    }
}

impl Users {
    fn passwords(&self) -> impl Iterator<Item = &Password> {
        self.entries.values().filter(|entry| !entry.nologin).filter_map(|entry| entry.password.as_ref())
    }

    /// Whether SCRAM-SHA-256 is for everybody who can log in.
    fn offer_scram(&self) -> bool {
        let everybody = || self.entries.values().filter(|entry| !entry.nologin);
        everybody().any(|entry| entry.password.is_some())
            && everybody().filter_map(|entry| entry.password.as_ref()).all(Password::is_for_scram_sha256)
            && !everybody().any(|entry| entry.nopassword)
    }

    fn scram_iterations(&self) -> u32 {
        let first = self.decoy.iter().chain(self.passwords()).find_map(Password::scram_iterations);
        first.unwrap_or(ScramSha256::ITERATIONS_DEFAULT)
    }
}

/// Reads the lines; of two for one user the first counts, as in Dovecot. What is not looked at in many lines is reported
/// once.
fn parse(text: &[u8], default: Scheme, mut report: impl FnMut(usize, &dyn fmt::Display)) -> Users {
    let mut users = Users::default();
    let mut ignored = BTreeMap::new();
    for (n, line) in text.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            report(n + 1, &"line passed over: not UTF-8");
            continue;
        };
        let parsed = Entry::parse(line, n + 1, default, |fault| match fault {
            Fault::NotLookedAt(what) if ignored.len() < IGNORED_MAX || ignored.contains_key(&what) => {
                ignored.entry(what).or_insert((n + 1, 0_usize)).1 += 1;
            }
            Fault::NotLookedAt(_) => {}
            fault => report(n + 1, &fault),
        });
        let Some((name, entry)) = parsed else { continue };
        if users.decoy.is_none() {
            users.decoy = entry.password.clone();
        }
        match users.entries.entry(name) {
            Slot::Occupied(_) => report(n + 1, &"line passed over: its user has one above"),
            Slot::Vacant(slot) => {
                slot.insert(entry);
            }
        }
    }
    for (what, (line, times)) in ignored {
        match times {
            1 => report(line, &what),
            times => report(line, &format_args!("{what} (here and in {} lines below)", times - 1)),
        }
    }
    users
}

impl From<PasswordFileError> for AuthError {
    fn from(error: PasswordFileError) -> Self {
        Self(error.to_string())
    }
}

impl Authenticator for PasswordFile {
    fn verify(&self, name: &str, password: &[u8]) -> std::result::Result<Option<User>, AuthError> {
        let users = self.users()?;
        let entry = UserName::new(name).ok().and_then(|name| users.entries.get(&name));
        let stored = entry.and_then(|entry| entry.password.as_ref());
        // Who is not there costs as much as who is.
        let matches = stored.or(users.decoy.as_ref()).is_some_and(|stored| stored.matches(password));
        let right = |entry: &&Entry| !entry.nologin && (entry.nopassword || (entry.password.is_some() && matches));
        Ok(entry.filter(right).map(|entry| entry.user.clone()))
    }

    fn lookup(&self, name: &str) -> std::result::Result<Option<User>, AuthError> {
        let users = self.users()?;
        let Ok(name) = UserName::new(name) else { return Ok(None) };
        Ok(users.entries.get(&name).map(|entry| entry.user.clone()))
    }

    fn scram_sha256(&self, name: &str, salt_secret: &[u8]) -> std::result::Result<Option<ScramUser>, AuthError> {
        let users = self.users()?;
        let Ok(name) = UserName::new(name) else { return Ok(None) };
        let entry = users.entries.get(&name).filter(|entry| !entry.nologin);
        let stored = entry.and_then(|entry| entry.password.as_ref()).or(users.decoy.as_ref());
        // Of nobody's name it is computed too, and thrown away.
        let credentials = stored.and_then(|stored| stored.scram_sha256(salt_secret, name.as_str()));
        let entry = entry.filter(|entry| entry.password.is_some());
        Ok(entry.zip(credentials).map(|(entry, credentials)| ScramUser { user: entry.user.clone(), credentials }))
    }

    fn offers_scram(&self) -> bool {
        self.offers_scram.load(Ordering::Relaxed)
    }

    fn scram_iterations(&self) -> u32 {
        self.scram_iterations.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A password of random letters and digits that are told apart when read aloud, 5 bits each.
fn made_password() -> std::result::Result<String, RandomError> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let bytes: [u8; WORD_LEN] = random_bytes()?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

impl NewUser {
    /// A name with a made password, for [`PasswordFile::add`] or [`PasswordFile::set_password`].
    pub fn make(name: UserName) -> std::result::Result<Self, RandomError> {
        Ok(Self { name, password: made_password()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_looked_at_is_told_once() {
        let me = rustix::process::geteuid().as_raw();
        let other = me.wrapping_add(1);
        let text = format!(
            "# staff\nann:{{PLAIN}}a:{me}:{me}::/home/ann:/bin/sh:userdb_mail=sdbox:~/x userdb_gid=7\n\
             bob:{{PLAIN}}b:{other}:{me}::::proxy=y host=192.0.2.1\ncarl:{{PLAIN}}c:vmail:::::proxy=y\n\
             dora:{{PLAIN}}d::::::userdb_uid={other} userdb_quota_rule=*:storage=1G\n"
        );
        let mut told = Vec::new();
        let users = parse(text.as_bytes(), Scheme::Plain, |line, fault| told.push(format!("{line}: {fault}")));
        let uid = "uid of another system user: all mail belongs to the one that serves it";
        assert_eq!(
            told,
            [
                format!("3: {uid} (here and in 2 lines below)"),
                "3: extra field host is not looked at".to_owned(),
                "3: extra field proxy is not looked at (here and in 1 lines below)".to_owned(),
                "5: extra field userdb_quota_rule is not looked at".to_owned(),
            ]
        );
        let entry = |name: &str| users.entries.get(&UserName::new(name).unwrap()).unwrap();
        assert!(["ann", "bob", "carl", "dora"].into_iter().all(|name| !entry(name).nologin));
        assert_eq!((entry("ann").line, entry("dora").line), (2, 5));
    }
}
