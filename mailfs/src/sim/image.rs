//! What is on the simulated disk: for each file and directory what running code sees (live) and what a power cut would
//! leave for certain (durable), with all that lies between in order.
//!
//! # Invariants
//!
//! 1. Durable data and then the unsynced writes in order give the live data; likewise for names, over all directories.
//! 2. An inode is kept as long as a live or durable name, an unsynced name operation or a handle leads to it. Its number
//!    is then used again, lowest first, as real file systems do.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
    sync::Arc,
    time::SystemTime,
};

use rustix::io::Errno;

use crate::FileKind;

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;

/// The longest file, as a slip of an offset must not take all memory.
const FILE_LEN_MAX: u64 = 1 << 30;

/// The longest name, as with Linux.
const NAME_LEN_MAX: usize = 255;

const DIR_LEN: u64 = 4096;

/// A change of a file's data that is not synced.
#[derive(Clone, Debug)]
pub(super) struct DataOp {
    /// Position among all unsynced changes of data on the disk.
    pub(super) order: u64,
    pub(super) change: DataChange,
    /// A sync of it failed: the system has given up on it, and a later sync will not bring it to the disk.
    pub(super) given_up: bool,
}

#[derive(Clone, Debug)]
pub(super) enum DataChange {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
}

impl DataChange {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => write_into(to, *offset, data),
            Self::SetLen(len) => to.resize(clamp(*len), 0),
        }
    }

    fn covers_some_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Write { offset: a, data: x }, Self::Write { offset: b, data: y }) => {
                *a < b.saturating_add(y.len() as u64) && *b < a.saturating_add(x.len() as u64)
            }
            _ => true,
        }
    }
}

/// Writes, growing with zeros.
pub(super) fn write_into(to: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = clamp(offset);
    let end = start.saturating_add(data.len());
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(there) = to.get_mut(start..end) {
        there.copy_from_slice(data);
    }
}

/// Lengths are checked before they get here.
pub(super) fn clamp(len: u64) -> usize {
    usize::try_from(len.min(FILE_LEN_MAX)).unwrap_or(usize::MAX)
}

/// A change of names that is not synced; it happens as a whole or not at all.
#[derive(Clone, Debug)]
pub(super) struct NameOp {
    /// Directory, name, and what the name stands for afterwards.
    pub(super) changes: Vec<(u64, OsString, Option<u64>)>,
    /// It gives a directory another place.
    moves_dir: bool,
    /// It removes this directory, which had to be empty.
    removes_dir: Option<u64>,
}

impl NameOp {
    /// Whether this cannot be on the disk without `earlier`.
    ///
    /// Operations on different names are independent, as with file systems that order nothing, but for two: a directory
    /// is removed when it is empty, and directories change places one after the other (else they could contain each
    /// other).
    pub(super) fn depends_on(&self, earlier: &Self) -> bool {
        let shares_name =
            || self.changes.iter().any(|(d, n, _)| earlier.changes.iter().any(|(ed, en, _)| (d, n) == (ed, en)));
        let empties = || self.removes_dir.is_some_and(|dir| earlier.touches(dir));
        (self.moves_dir && earlier.moves_dir) || empties() || shares_name()
    }

    fn touches(&self, dir: u64) -> bool {
        self.changes.iter().any(|(d, _, _)| *d == dir)
    }
}

/// Marks in `wanted` also what those marked depend on. Both are in order.
pub(super) fn close_over_dependencies(ops: &[NameOp], wanted: &mut [bool]) {
    for later in (0..ops.len()).rev() {
        let (Some(op), Some(true)) = (ops.get(later), wanted.get(later).copied()) else { continue };
        for (earlier, mark) in ops.iter().zip(wanted.iter_mut()).take(later) {
            *mark = *mark || op.depends_on(earlier);
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) live: Arc<Vec<u8>>,
    pub(super) durable: Arc<Vec<u8>>,
    pub(super) unsynced: Vec<DataOp>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) live: BTreeMap<OsString, u64>,
    pub(super) durable: BTreeMap<OsString, u64>,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) mode: u32,
    pub(super) gid: u32,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
    /// Live names.
    pub(super) links: u64,
    /// Live and durable names, and mentions in unsynced name operations.
    refs: u64,
    handles: u64,
}

impl Inode {
    fn new(node: Node, mode: u32, now: SystemTime) -> Self {
        Self { node, mode, gid: 0, modified: now, changed: now, links: 0, refs: 0, handles: 0 }
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.node {
            Node::File(_) => FileKind::File,
            Node::Dir(_) => FileKind::Dir,
        }
    }

    pub(super) fn len(&self) -> u64 {
        match &self.node {
            Node::File(file) => file.live.len() as u64,
            Node::Dir(_) => DIR_LEN,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Image {
    inodes: BTreeMap<u64, Inode>,
    free: BTreeSet<u64>,
    next_inode: u64,
    pub(super) name_ops: Vec<NameOp>,
    next_order: u64,
}

/// Where a name is or would be.
pub(super) struct Place {
    pub(super) dir: u64,
    pub(super) name: OsString,
    pub(super) inode: Option<u64>,
}

impl Image {
    /// An empty, durable root directory.
    pub(super) fn new(now: SystemTime) -> Self {
        let mut root = Inode::new(Node::Dir(DirNode::default()), 0o755, now);
        root.refs = 1; // never given up
        root.links = 1;
        let inodes = BTreeMap::from([(ROOT, root)]);
        Self { inodes, free: BTreeSet::new(), next_inode: ROOT + 1, name_ops: Vec::new(), next_order: 0 }
    }

    pub(super) fn inode(&self, number: u64) -> io::Result<&Inode> {
        self.inodes.get(&number).ok_or_else(|| Errno::STALE.into())
    }

    pub(super) fn inode_mut(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| Errno::STALE.into())
    }

    pub(super) fn inodes(&self) -> impl Iterator<Item = (u64, &Inode)> {
        self.inodes.iter().map(|(number, inode)| (*number, inode))
    }

    fn dir_mut(&mut self, number: u64) -> Option<&mut DirNode> {
        match self.inodes.get_mut(&number).map(|i| &mut i.node) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn dir(&self, number: u64) -> io::Result<&DirNode> {
        match &self.inode(number)?.node {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    fn is_dir(&self, number: u64) -> bool {
        self.dir(number).is_ok()
    }

    fn file_mut(&mut self, number: u64) -> io::Result<&mut FileNode> {
        match &mut self.inode_mut(number)?.node {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    // Paths.

    /// The directories from the root on, the last component not looked at; there is none for the root itself.
    fn walk<'p>(&self, path: &'p Path) -> io::Result<(Vec<u64>, Option<&'p OsStr>)> {
        let mut dirs = vec![ROOT];
        let mut last: Option<&OsStr> = None;
        for component in path.components() {
            if let Some(name) = last.take() {
                let at = dirs.last().copied().unwrap_or(ROOT);
                let next = self.dir(at)?.live.get(name).ok_or(Errno::NOENT)?;
                dirs.push(*next);
            }
            match component {
                Component::Normal(name) if name.len() > NAME_LEN_MAX => return Err(Errno::NAMETOOLONG.into()),
                Component::Normal(name) => last = Some(name),
                Component::ParentDir if dirs.len() > 1 => drop(dirs.pop()),
                _ => {}
            }
        }
        let at = dirs.last().copied().unwrap_or(ROOT);
        if last.is_some() && !self.is_dir(at) {
            return Err(Errno::NOTDIR.into());
        }
        Ok((dirs, last))
    }

    pub(super) fn resolve(&self, path: &Path) -> io::Result<u64> {
        let (dirs, last) = self.walk(path)?;
        let at = dirs.last().copied().unwrap_or(ROOT);
        match last {
            None => Ok(at),
            Some(name) => self.dir(at)?.live.get(name).copied().ok_or_else(|| Errno::NOENT.into()),
        }
    }

    /// The place of a name, whose directory must be there. Not for the root.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let (dirs, last) = self.walk(path)?;
        let dir = dirs.last().copied().unwrap_or(ROOT);
        let name = last.ok_or(Errno::BUSY)?;
        let inode = self.dir(dir)?.live.get(name).copied();
        Ok(Place { dir, name: name.to_owned(), inode })
    }

    /// Whether `inode` is a directory on the way to `path` or `path` itself.
    pub(super) fn is_on_the_way(&self, inode: u64, path: &Path) -> bool {
        self.walk(path).is_ok_and(|(dirs, _)| dirs.contains(&inode))
    }

    // Counting what leads to an inode.

    fn hold(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.refs += 1;
        }
    }

    fn release(&mut self, number: u64) {
        let mut unreferenced = vec![number];
        while let Some(number) = unreferenced.pop() {
            let Some(inode) = self.inodes.get_mut(&number) else { continue };
            inode.refs = inode.refs.saturating_sub(1);
            unreferenced.extend(self.free_if_unused(number));
        }
    }

    /// Frees the inode; what its names led to is to be released.
    fn free_if_unused(&mut self, number: u64) -> Vec<u64> {
        if self.inodes.get(&number).is_none_or(|i| i.refs > 0 || i.handles > 0) {
            return Vec::new();
        }
        self.free.insert(number);
        match self.inodes.remove(&number).map(|i| i.node) {
            Some(Node::Dir(dir)) => dir.live.into_values().chain(dir.durable.into_values()).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn open_handle(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.handles += 1;
        }
    }

    pub(super) fn close_handle(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.handles = inode.handles.saturating_sub(1);
        }
        for child in self.free_if_unused(number) {
            self.release(child);
        }
    }

    /// As after the death of everyone who had files open.
    pub(super) fn close_all_handles(&mut self) {
        let open: Vec<u64> = self.inodes.iter().filter(|(_, i)| i.handles > 0).map(|(n, _)| *n).collect();
        for number in open {
            if let Some(inode) = self.inodes.get_mut(&number) {
                inode.handles = 1;
            }
            self.close_handle(number);
        }
    }

    // Changes of names.

    fn add_inode(&mut self, node: Node, mode: u32, now: SystemTime) -> u64 {
        let number = self.free.pop_first().unwrap_or_else(|| {
            let next = self.next_inode;
            self.next_inode += 1;
            next
        });
        self.inodes.insert(number, Inode::new(node, mode, now));
        number
    }

    /// Does it to the live names, and remembers it as unsynced.
    fn change_names(&mut self, op: NameOp, now: SystemTime) {
        for (dir, name, to) in &op.changes {
            if let Some(to) = to {
                self.hold(*to); // for the mention
                self.hold(*to); // for the live name
                if let Some(inode) = self.inodes.get_mut(to) {
                    inode.links += 1;
                    inode.changed = now;
                }
            }
            let Some(node) = self.dir_mut(*dir) else { continue };
            let before = match to {
                Some(to) => node.live.insert(name.clone(), *to),
                None => node.live.remove(name),
            };
            if let Some(inode) = self.inodes.get_mut(dir) {
                inode.modified = now;
                inode.changed = now;
            }
            if let Some(before) = before {
                if let Some(inode) = self.inodes.get_mut(&before) {
                    inode.links = inode.links.saturating_sub(1);
                    inode.changed = now;
                }
                self.release(before);
            }
        }
        self.name_ops.push(op);
    }

    pub(super) fn create(&mut self, place: &Place, mode: u32, now: SystemTime) -> io::Result<u64> {
        self.add(place, Node::File(FileNode::default()), mode, now)
    }

    pub(super) fn create_dir(&mut self, place: &Place, mode: u32, now: SystemTime) -> io::Result<u64> {
        self.add(place, Node::Dir(DirNode::default()), mode, now)
    }

    fn add(&mut self, place: &Place, node: Node, mode: u32, now: SystemTime) -> io::Result<u64> {
        if place.inode.is_some() {
            return Err(Errno::EXIST.into());
        }
        let number = self.add_inode(node, mode, now);
        let changes = vec![(place.dir, place.name.clone(), Some(number))];
        self.change_names(NameOp { changes, moves_dir: false, removes_dir: None }, now);
        Ok(number)
    }

    pub(super) fn link(&mut self, from: u64, to: &Place, now: SystemTime) -> io::Result<()> {
        if to.inode.is_some() {
            return Err(Errno::EXIST.into());
        }
        if self.is_dir(from) {
            return Err(Errno::PERM.into());
        }
        let changes = vec![(to.dir, to.name.clone(), Some(from))];
        self.change_names(NameOp { changes, moves_dir: false, removes_dir: None }, now);
        Ok(())
    }

    pub(super) fn unlink(&mut self, place: &Place, now: SystemTime) -> io::Result<()> {
        if self.is_dir(place.inode.ok_or(Errno::NOENT)?) {
            return Err(Errno::ISDIR.into());
        }
        let changes = vec![(place.dir, place.name.clone(), None)];
        self.change_names(NameOp { changes, moves_dir: false, removes_dir: None }, now);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, place: &Place, now: SystemTime) -> io::Result<()> {
        let number = place.inode.ok_or(Errno::NOENT)?;
        if !self.dir(number)?.live.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        let changes = vec![(place.dir, place.name.clone(), None)];
        self.change_names(NameOp { changes, moves_dir: false, removes_dir: Some(number) }, now);
        Ok(())
    }

    /// The checks and their order are Linux's.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, replace: bool, now: SystemTime) -> io::Result<(u64, u64)> {
        let (old, new) = (self.place(from)?, self.place(to)?);
        let moved = old.inode.ok_or(Errno::NOENT)?;
        if !replace && new.inode.is_some() {
            return Err(Errno::EXIST.into());
        }
        if self.is_on_the_way(moved, to) {
            return Err(Errno::INVAL.into());
        }
        if new.inode.is_some_and(|target| self.is_on_the_way(target, from)) {
            return Err(Errno::NOTEMPTY.into());
        }
        if new.inode == Some(moved) {
            return Ok((old.dir, new.dir));
        }
        let moves_dir = self.is_dir(moved);
        let mut removes_dir = None;
        if let Some(target) = new.inode {
            match (moves_dir, self.is_dir(target)) {
                (true, false) => return Err(Errno::NOTDIR.into()),
                (false, true) => return Err(Errno::ISDIR.into()),
                (true, true) if !self.dir(target)?.live.is_empty() => return Err(Errno::NOTEMPTY.into()),
                (true, true) => removes_dir = Some(target),
                (false, false) => {}
            }
        }
        let changes = vec![(new.dir, new.name, Some(moved)), (old.dir, old.name, None)];
        self.change_names(NameOp { changes, moves_dir, removes_dir }, now);
        Ok((old.dir, new.dir))
    }

    /// All operations that touch the directory become durable, whole, with those they depend on.
    pub(super) fn sync_dir(&mut self, dir: u64) {
        let mut wanted: Vec<bool> = self.name_ops.iter().map(|op| op.touches(dir)).collect();
        close_over_dependencies(&self.name_ops, &mut wanted);
        let ops = std::mem::take(&mut self.name_ops);
        for (op, synced) in ops.into_iter().zip(wanted) {
            if synced { self.make_durable(op) } else { self.name_ops.push(op) }
        }
    }

    fn make_durable(&mut self, op: NameOp) {
        for (dir, name, to) in op.changes {
            // The mention of `to` in the operation goes over to the durable name, if its directory is still there.
            let before = match (self.dir_mut(dir), to) {
                (Some(node), Some(to)) => node.durable.insert(name, to),
                (Some(node), None) => node.durable.remove(&name),
                (None, to) => to,
            };
            if let Some(before) = before {
                self.release(before);
            }
        }
    }

    /// Everything, as after `sync`.
    pub(super) fn sync_all(&mut self) {
        for op in std::mem::take(&mut self.name_ops) {
            self.make_durable(op);
        }
        for inode in self.inodes.values_mut() {
            if let Node::File(file) = &mut inode.node {
                file.unsynced.clear();
                file.durable = Arc::clone(&file.live);
            }
        }
    }

    // Changes of data.

    pub(super) fn change_data(&mut self, number: u64, change: DataChange, now: SystemTime) -> io::Result<()> {
        let end = match &change {
            DataChange::Write { offset, data } => offset.checked_add(data.len() as u64),
            DataChange::SetLen(len) => Some(*len),
        };
        if end.is_none_or(|end| end > FILE_LEN_MAX) {
            return Err(Errno::FBIG.into());
        }
        let order = self.next_order;
        self.next_order += 1;
        let file = self.file_mut(number)?;
        change.apply(Arc::make_mut(&mut file.live));
        file.unsynced.push(DataOp { order, change, given_up: false });
        let inode = self.inode_mut(number)?;
        inode.modified = now;
        inode.changed = now;
        Ok(())
    }

    pub(super) fn sync_data(&mut self, number: u64) -> io::Result<()> {
        let Node::File(file) = &mut self.inode_mut(number)?.node else { return Ok(()) };
        let mut given_up: Vec<DataOp> = Vec::new();
        for op in std::mem::take(&mut file.unsynced) {
            if op.given_up {
                given_up.push(op);
            } else {
                op.change.apply(Arc::make_mut(&mut file.durable));
                // What is overwritten cannot come back.
                given_up.retain(|old| !op.change.covers_some_of(&old.change));
            }
        }
        file.unsynced = given_up;
        Ok(())
    }

    /// After a failed sync the system takes the data for written, and never writes it.
    pub(super) fn give_up_data(&mut self, number: u64) {
        if let Ok(file) = self.file_mut(number) {
            for op in &mut file.unsynced {
                op.given_up = true;
            }
        }
    }

    /// A new image from what was chosen to survive, all of it durable. What no name leads to is gone.
    pub(super) fn rebuild(
        &self,
        entries: &BTreeMap<u64, BTreeMap<OsString, u64>>,
        mut data_of: impl FnMut(&FileNode) -> Vec<u8>,
        now: SystemTime,
    ) -> Self {
        let mut image = Self::new(now);
        let mut dirs = vec![ROOT];
        if let (Ok(old), Ok(new)) = (self.inode(ROOT), image.inode_mut(ROOT)) {
            (new.mode, new.gid) = (old.mode, old.gid);
        }
        while let Some(dir) = dirs.pop() {
            for (name, number) in entries.get(&dir).into_iter().flatten() {
                let Some(old) = self.inodes.get(number) else { continue };
                if !image.inodes.contains_key(number) {
                    let node = match &old.node {
                        Node::File(file) => {
                            let data = Arc::new(data_of(file));
                            Node::File(FileNode { live: Arc::clone(&data), durable: data, unsynced: Vec::new() })
                        }
                        Node::Dir(_) => {
                            dirs.push(*number);
                            Node::Dir(DirNode::default())
                        }
                    };
                    image.inodes.insert(*number, Inode { node, links: 0, refs: 0, handles: 0, ..old.clone() });
                }
                if let Some(inode) = image.inodes.get_mut(number) {
                    inode.links += 1;
                    inode.refs += 2; // a live and a durable name
                }
                if let Some(node) = image.dir_mut(dir) {
                    node.live.insert(name.clone(), *number);
                    node.durable.insert(name.clone(), *number);
                }
            }
        }
        image.next_inode = image.inodes.last_key_value().map_or(ROOT, |(n, _)| *n) + 1;
        image.free = (ROOT + 1..image.next_inode).filter(|n| !image.inodes.contains_key(n)).collect();
        image
    }
}
