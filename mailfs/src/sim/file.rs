//! An open file of the simulated disk.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use rustix::io::Errno;

use super::{
    fault::CallKind,
    image::{DataChange, Node},
    state::{Extent, Shared},
};
use crate::{File, LockKind, Metadata, Result, file_system::MODE_BITS};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) shared: Arc<Shared>,
    pub(super) inode: u64,
    pub(super) handle: u64,
    pub(super) writable: bool,
    pub(super) path: PathBuf,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.unlock(self.inode, self.handle);
        state.unflock(self.inode, self.handle);
        state.image.close_handle(self.inode);
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.shared.call(CallKind::Read, "read", &self.path, |state, _| match &state.image.inode(self.inode)?.node {
            Node::Dir(_) if !buf.is_empty() => Err(Errno::ISDIR.into()),
            Node::Dir(_) => Ok(0),
            Node::File(file) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let there = file.live.get(start..).unwrap_or_default();
                let len = there.len().min(buf.len());
                if let (Some(to), Some(from)) = (buf.get_mut(..len), there.get(..len)) {
                    to.copy_from_slice(from);
                }
                Ok(len)
            }
        })
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.shared.call(CallKind::Write, "write", &self.path, |state, extent| {
            if data.is_empty() {
                return Ok(());
            }
            if !self.writable {
                return Err(Errno::BADF.into());
            }
            let len = if extent == Extent::Half { data.len() / 2 } else { data.len() };
            let data = Arc::from(data.get(..len).unwrap_or(data));
            let now = state.now();
            state.image.change_data(self.inode, DataChange::Write { offset, data }, now)?;
            state.note_data(self.inode);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.shared.call(CallKind::SetLen, "set length of", &self.path, |state, _| {
            if !self.writable {
                return Err(Errno::INVAL.into());
            }
            let now = state.now();
            state.image.change_data(self.inode, DataChange::SetLen(len), now)?;
            state.note_data(self.inode);
            Ok(())
        })
    }

    fn sync_data(&self) -> Result<()> {
        self.shared.sync_call("sync", &self.path, self.inode)
    }

    fn metadata(&self) -> Result<Metadata> {
        let device = self.shared.device;
        self.shared.call(CallKind::Look, "stat", &self.path, |state, _| state.metadata(device, self.inode))
    }

    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        let taken = self.shared.call(CallKind::Lock, "lock", &self.path, |state, _| {
            if kind == LockKind::Exclusive && !self.writable {
                return Err(Errno::BADF.into());
            }
            Ok(state.try_lock(self.inode, self.handle, kind))
        });
        match taken {
            Err(e) if e.source.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => Ok(false),
            other => other,
        }
    }

    fn unlock(&self) -> Result<()> {
        // Unlocking cannot fail for a reason of the disk's, so it is not a call that could.
        self.shared.state().unlock(self.inode, self.handle);
        Ok(())
    }

    fn try_flock(&self) -> Result<bool> {
        let taken = self.shared.call(CallKind::Lock, "lock", &self.path, |state, _| {
            let holder = *state.flocks.entry(self.inode).or_insert(self.handle);
            Ok(holder == self.handle)
        });
        match taken {
            Err(e) if e.source.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => Ok(false),
            other => other,
        }
    }

    fn unflock(&self) -> Result<()> {
        self.shared.state().unflock(self.inode, self.handle);
        Ok(())
    }

    fn set_permissions(&self, mode: u32, gid: Option<u32>) -> Result<()> {
        self.shared.call(CallKind::SetPermissions, "set permissions of", &self.path, |state, _| {
            let now = state.now();
            let inode = state.image.inode_mut(self.inode)?;
            inode.mode = mode & MODE_BITS;
            inode.gid = gid.unwrap_or(inode.gid);
            inode.changed = now;
            Ok(())
        })
    }

    fn set_modified(&self, time: SystemTime) -> Result<()> {
        self.shared.call(CallKind::SetPermissions, "set the time of", &self.path, |state, _| {
            let now = state.now();
            let inode = state.image.inode_mut(self.inode)?;
            inode.modified = time;
            inode.changed = now;
            Ok(())
        })
    }
}
