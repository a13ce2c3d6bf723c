//! Where peers keep their files, and as whom they run.
//!
//! Dovecot refuses to serve mail as root. Tests that run as root therefore give their folders to `nobody` and run both
//! servers as that user; tests that do not run as root run everything as themselves.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::{fs::lchown, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    sys::statvfs::statvfs,
    unistd::{Group, Uid, User},
};

use crate::dovecot::Release;

/// The user that mail belongs to in a test.
#[derive(Clone, Debug)]
pub struct MailUser {
    /// Name in the system's user database.
    pub name: String,
    /// Its primary group.
    pub group: String,
    uid: u32,
    gid: u32,
    is_self: bool,
}

impl MailUser {
    /// `nobody` for root, oneself for others.
    pub fn for_tests() -> anyhow::Result<Self> {
        let me = Uid::effective();
        let user = if me.is_root() { User::from_name("nobody")? } else { User::from_uid(me)? };
        let user = user.ok_or_else(|| anyhow::anyhow!("the system's user database lacks the test user"))?;
        let group = Group::from_gid(user.gid)?.map_or_else(|| user.gid.to_string(), |group| group.name);
        Ok(Self { name: user.name, group, uid: user.uid.as_raw(), gid: user.gid.as_raw(), is_self: !me.is_root() })
    }

    /// Has the command run as this user.
    pub fn run_as(&self, command: &mut Command) {
        if !self.is_self {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives a folder and all in it to this user.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        if self.is_self {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid))?;
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// What a file system in memory must have left to be used, in bytes.
const MEMORY_MIN: u64 = 512 << 20;

/// A folder of its own for a test, removed when dropped unless the test failed or `CULVER_KEEP` is set.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// A new, empty folder that anyone may pass through, where the Dovecot that was chosen sees it.
    pub fn new(what: &str) -> io::Result<Self> {
        Self::below(Release::chosen().map_err(io::Error::other)?.folder_for_places(), what)
    }

    /// The same in memory, where there is enough and the Dovecot that was chosen sees it; for runs that would wait for a
    /// disk and are not about it.
    pub fn in_memory(what: &str) -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let has_space =
            || statvfs(memory).is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() >= MEMORY_MIN);
        match Release::chosen().map_err(io::Error::other)? {
            Release::V2_3 if has_space() => Self::below(memory.to_owned(), what),
            _ => Self::new(what),
        }
    }

    fn below(folder: PathBuf, what: &str) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("culver-{what}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it that belongs to the mail user.
    pub fn folder_of(&self, user: &MailUser, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path)?;
        user.own(&path)?;
        Ok(path)
    }
}

impl Drop for Place {
    #[allow(clippy::print_stderr, reason = "a failed test's files are of no use if nobody knows where they are")]
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("CULVER_KEEP").is_some() {
            eprintln!("files kept in {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

/// Copies a folder with all in it, modification times included, and gives it to the user.
pub fn copy_tree(from: &Path, to: &Path, owner: &MailUser) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-a").arg("--").arg(from).arg(to).status()?;
    anyhow::ensure!(status.success(), "cp -a {} {} failed", from.display(), to.display());
    Ok(owner.own(to)?)
}

/// A port on loopback that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    // A port is free again at once: the next call must not give it too.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held = Vec::new();
    loop {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        if given.insert(port) {
            return Ok(port);
        }
        held.push(listener);
    }
}
