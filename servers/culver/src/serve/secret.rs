//! The secret that salts are made of for names that nobody has, and for passwords that are stored as they are (SCRAM,
//! RFC 5802 §9): kept in a file, so that they are the same after a restart. A salt that changes while those of users stay
//! would tell who is no user.
//!
//! Whoever has it can tell the names that nobody has from the others; no password follows from it.

use std::path::Path;

use culver_runtime::Secret;
use mailfs::{FileSystem, FileSystemExt as _, FsError};
use tracing::warn;

/// Its name in the data folder.
const FILE: &str = "login-secret";
const FILE_MODE: u32 = 0o600;
/// Bytes that are taken at least and at most.
const LEN_MIN: usize = 16;
const LEN_MAX: u64 = 4096;

/// The secret of a data folder, made where there is none. `None`, which is warned of, where that cannot be: then one of
/// this process's own will do.
pub(crate) fn login_secret(fs: &dyn FileSystem, data: &Path) -> Option<Secret> {
    let file = data.join(FILE);
    let outcome = read_or_make(fs, &file);
    let why = match outcome {
        Ok(Some(secret)) if secret.0.len() >= LEN_MIN => return Some(secret),
        Ok(Some(secret)) => format!("it has {} bytes, and {LEN_MIN} are the least", secret.0.len()),
        Ok(None) => "the system gives no random bytes".to_owned(),
        Err(error) => error.to_string(),
    };
    warn!(file = %file.display(), why, "salts of names that nobody has will be others after a restart");
    None
}

fn read_or_make(fs: &dyn FileSystem, file: &Path) -> Result<Option<Secret>, FsError> {
    match fs.read_all(file, LEN_MAX) {
        Err(error) if error.is_not_found() => {}
        read => return read.map(|bytes| Some(Secret(bytes))),
    }
    let Ok(secret) = Secret::random() else { return Ok(None) };
    fs.write_atomic(file, &secret.0, FILE_MODE, true)?;
    Ok(Some(secret))
}

#[cfg(test)]
mod tests {
    use mailfs::sim::SimDisk;

    use super::*;

    #[test]
    fn it_is_made_once_and_never_short() {
        let fs = SimDisk::new().as_file_system();
        let root = Path::new("/");
        let made = login_secret(&*fs, root).unwrap();
        assert_eq!(made.0.len(), 32);
        assert_eq!(login_secret(&*fs, root).unwrap(), made);
        let metadata = fs.metadata(&root.join(FILE)).unwrap().unwrap();
        assert_eq!(metadata.mode & 0o777, FILE_MODE);
        fs.write_atomic(&root.join(FILE), b"short", FILE_MODE, true).unwrap();
        assert_eq!(login_secret(&*fs, root), None);
        assert_eq!(login_secret(&*fs, Path::new("/nowhere")), None);
    }
}
