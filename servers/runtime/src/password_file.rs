//! A file of users in Dovecot's passwd-file syntax: a line `name:{SCHEME}password` a user; further fields, separated by
//! `:`, are passed over. Lines that begin with `#` and empty ones are comments.
//!
//! The file is read again when it changed; a line that cannot be used is reported once and costs its user only.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::warn;

use crate::{AuthError, Authenticator, HashError, Password, User, UserName};

/// Largest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Characters of a made password: 5 bits each.
const WORD_LEN: usize = 20;

/// Users and passwords from a file.
pub struct PasswordFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Users>)>>,
}

type Users = HashMap<UserName, Password>;

/// What changes when the file does.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
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
    #[error("cannot {doing} password file {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The file is larger than 64 MB.
    #[error("password file {} is larger than {FILE_LEN_MAX} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The password of a new user could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl PasswordFile {
    /// Names the file; it is read when first asked, and need not exist: then there is no user.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::new(None) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it, in order.
    pub fn names(&self) -> Result<Vec<UserName>, PasswordFileError> {
        let mut names: Vec<_> = self.users()?.keys().cloned().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a user with a random password if there is none yet. The file is on disk when this returns.
    pub fn create_first_user(&self, name: &UserName) -> Result<Option<NewUser>, PasswordFileError> {
        if !self.users()?.is_empty() {
            return Ok(None);
        }
        let password = random_word(WORD_LEN).map_err(|source| self.io("make a password for", source))?;
        let hash = Password::hash(password.as_bytes())?;
        let mut text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| self.io("read", source))?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{name}:{hash}\n"));
        self.replace(&text).map_err(|source| self.io("write", source))?;
        Ok(Some(NewUser { name: name.clone(), password }))
    }

    /// Replaces the file by one that only its owner can read; whole or not at all.
    fn replace(&self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut new_path = self.path.clone().into_os_string();
        new_path.push(format!(".new.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new_path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new_path, &self.path)?;
        File::open(folder)?.sync_all()
    }

    /// The users as of now. Costs one `stat` where nothing changed.
    fn users(&self) -> Result<Arc<Users>, PasswordFileError> {
        let stamp = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            metadata => Stamp::of(&metadata.map_err(|source| self.io("look at", source))?),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, users)) = read.as_ref().filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(users));
        }
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(|source| self.io("open", source))?;
        let stamp = Stamp::of(&file.metadata().map_err(|source| self.io("look at", source))?);
        file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(|source| self.io("read", source))?;
        if bytes.len() as u64 > FILE_LEN_MAX {
            return Err(PasswordFileError::TooLarge { path: self.path.clone() });
        }
        let users = Arc::new(parse(&bytes, |line, what| {
            warn!(file = %self.path.display(), line, what, "line of the password file passed over");
        }));
        *read = Some((stamp, Arc::clone(&users)));
        Ok(users)
    }

    fn io(&self, doing: &'static str, source: io::Error) -> PasswordFileError {
        PasswordFileError::Io { doing, path: self.path.clone(), source }
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { inode: metadata.ino(), len: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// Reads the lines; of two for one user the first counts, as in Dovecot.
fn parse(bytes: &[u8], mut report: impl FnMut(usize, &str)) -> Users {
    let mut users = Users::new();
    for (n, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            report(n + 1, "not UTF-8");
            continue;
        };
        let mut fields = line.split(':');
        let name = UserName::new(fields.next().unwrap_or_default());
        let password = Password::parse(fields.next().unwrap_or_default());
        match (name, password) {
            (Ok(name), Ok(password)) => {
                users.entry(name).or_insert(password);
            }
            (Err(error), _) => report(n + 1, &error.to_string()),
            (_, Err(error)) => report(n + 1, &error.to_string()),
        }
    }
    users
}

impl Authenticator for PasswordFile {
    fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError> {
        let users = self.users().map_err(|error| AuthError(error.to_string()))?;
        let Ok(name) = UserName::new(name) else { return Ok(None) };
        let right = users.get(&name).is_some_and(|stored| stored.matches(password));
        Ok(right.then_some(User::new(name)))
    }

    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
        let users = self.users().map_err(|error| AuthError(error.to_string()))?;
        let Ok(name) = UserName::new(name) else { return Ok(None) };
        Ok(users.contains_key(&name).then_some(User::new(name)))
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Random letters and digits that are told apart when read aloud, 5 bits each.
fn random_word(len: usize) -> io::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let bytes = random_bytes(len)?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

/// Random bytes from the system.
pub(crate) fn random_bytes(len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("culver-runtime-{}", random_word(16).unwrap()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn first_user_is_made_once_and_can_log_in() {
        let folder = Folder::new();
        let file = PasswordFile::new(folder.0.join("users"));
        let name = UserName::new("ann").unwrap();
        let made = file.create_first_user(&name).unwrap().unwrap();
        assert!(file.create_first_user(&name).unwrap().is_none());
        assert_eq!(file.verify("Ann", made.password.as_bytes()).unwrap(), Some(User::new(name.clone())));
        assert_eq!(file.verify("ann", b"wrong").unwrap(), None);
        assert_eq!(file.verify("bob", made.password.as_bytes()).unwrap(), None);
        assert_eq!(file.lookup("ann").unwrap(), Some(User::new(name)));
        let mode = fs::metadata(file.path()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.starts_with("ann:{SHA512-CRYPT}$6$") && !text.contains(&made.password), "{text}");
        assert!(!format!("{made:?}").contains(&made.password));
    }

    #[test]
    fn a_changed_file_is_read_again_and_bad_lines_cost_one_user() {
        let folder = Folder::new();
        let file = PasswordFile::new(folder.0.join("users"));
        assert_eq!(file.verify("ann", b"secret").unwrap(), None, "no file, no user");
        fs::write(
            file.path(),
            "# users\n\n../x:{PLAIN}a\nbob:nothing\neve:{ROT13}a\nann:{plain}secret:1000:1000::/home\n",
        )
        .unwrap();
        assert_eq!(file.names().unwrap(), [UserName::new("ann").unwrap()]);
        assert!(file.verify("ann", b"secret").unwrap().is_some());
        assert!(file.verify("ann", b"secret2").unwrap().is_none());
        assert!(file.verify("ann", b"").unwrap().is_none());
        fs::write(file.path(), "ann:{PLAIN}other password\n").unwrap();
        assert!(file.verify("ann", b"other password").unwrap().is_some());
        assert!(file.verify("ann", b"secret").unwrap().is_none());
    }

    #[test]
    fn hashes_of_crypt_are_understood() {
        // As `doveadm pw -s SHA512-CRYPT` prints them.
        let stored = "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        let password = Password::parse(stored).unwrap();
        assert!(password.matches(b"Hello world!"));
        assert!(!password.matches(b"Hello world"));
        assert_eq!(password.to_string(), stored);
        assert!(Password::parse("{SHA512-CRYPT}$5$x").is_err());
        let unknown = Password::parse("hunter2").unwrap_err().to_string();
        assert!(!unknown.contains("hunter2"), "{unknown}");
    }
}
