//! An open file of the real disk.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rustix::{
    fs::{FlockOperation, fchown, flock},
    process::Gid,
};

use super::{metadata_of, retry};
use crate::{File, FsError, LockKind, Metadata, Result, file_system::MODE_BITS};

#[derive(Debug)]
pub(super) struct RealFile {
    file: fs::File,
    /// As it was opened; the name may be another by now. For errors.
    path: PathBuf,
}

impl RealFile {
    pub(super) fn new(file: fs::File, path: &Path) -> Self {
        Self { file, path: path.to_owned() }
    }

    fn failed(&self, op: &'static str) -> impl FnOnce(io::Error) -> FsError {
        move |e| FsError::new(op, &self.path, e)
    }

    /// One non-blocking record lock call on the whole file, whatever its length will be.
    fn set_lock(&self, lock_type: libc::c_int) -> io::Result<()> {
        let request = whole_file(lock_type);
        retry(|| Ok(fcntl(self.file.as_fd(), FcntlArg::F_OFD_SETLK(&request))?)).map(drop)
    }
}

fn whole_file(lock_type: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: lock_type as libc::c_short, // the constants are ints, the field is a short, by definition
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn lock_type(kind: LockKind) -> libc::c_int {
    match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            match retry(|| self.file.read_at(rest, at)).map_err(self.failed("read"))? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            match retry(|| self.file.write_at(rest, at)).map_err(self.failed("write"))? {
                0 => return Err(FsError::new("write", &self.path, io::ErrorKind::WriteZero.into())),
                n => done += n,
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        retry(|| self.file.set_len(len)).map_err(self.failed("set length of"))
    }

    fn sync_data(&self) -> Result<()> {
        retry(|| self.file.sync_data()).map_err(self.failed("sync"))
    }

    fn metadata(&self) -> Result<Metadata> {
        let metadata = self.file.metadata().map_err(self.failed("stat"))?;
        Ok(metadata_of(&metadata))
    }

    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        match self.set_lock(lock_type(kind)) {
            Ok(()) => Ok(true),
            // POSIX allows either number.
            Err(e) if [Errno::EAGAIN, Errno::EACCES].iter().any(|n| e.raw_os_error() == Some(*n as i32)) => Ok(false),
            Err(e) => Err(FsError::new("lock", &self.path, e)),
        }
    }

    fn lock_waiting(&self, kind: LockKind) -> Result<bool> {
        let request = whole_file(lock_type(kind));
        let locked = retry(|| Ok(fcntl(self.file.as_fd(), FcntlArg::F_OFD_SETLKW(&request))?));
        locked.map(|_| true).map_err(self.failed("lock"))
    }

    fn unlock(&self) -> Result<()> {
        self.set_lock(libc::F_UNLCK).map_err(self.failed("unlock"))
    }

    fn try_flock(&self) -> Result<bool> {
        match retry(|| Ok(flock(&self.file, FlockOperation::NonBlockingLockExclusive)?)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(FsError::new("lock", &self.path, e)),
        }
    }

    fn unflock(&self) -> Result<()> {
        retry(|| Ok(flock(&self.file, FlockOperation::NonBlockingUnlock)?)).map_err(self.failed("unlock"))
    }

    fn set_permissions(&self, mode: u32, gid: Option<u32>) -> Result<()> {
        if let Some(gid) = gid.filter(|gid| *gid != u32::MAX) {
            // A process may give files only to groups it is in; Dovecot goes on without, and so do we.
            let _ = fchown(&self.file, None, Some(Gid::from_raw(gid)));
        }
        // After the change of group, which may clear bits.
        self.file
            .set_permissions(fs::Permissions::from_mode(mode & MODE_BITS))
            .map_err(self.failed("set permissions of"))
    }

    fn set_modified(&self, time: SystemTime) -> Result<()> {
        self.file.set_modified(time).map_err(self.failed("set the time of"))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
