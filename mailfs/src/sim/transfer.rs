//! Between the simulated disk and a directory of the real one, for looking at a state with other programs and for setting
//! up from fixtures. Permission bits and hard links go along; times and owners do not.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    disk::SimDisk,
    image::{DataChange, Node, ROOT},
    state::State,
};
use crate::{FsError, Result, file_system::MODE_BITS};

impl SimDisk {
    /// Lays out what running code sees in a directory of the real disk, which is made if need be and should be empty.
    pub fn dump_to(&self, real_dir: &Path) -> Result<()> {
        let state = self.shared.state();
        let mut first_names: BTreeMap<u64, PathBuf> = BTreeMap::new();
        let mut pending = vec![(ROOT, real_dir.to_owned())];
        while let Some((number, path)) = pending.pop() {
            let children = dump_one(&state, number, &path, first_names.get(&number))
                .map_err(|e| FsError::new("dump to", &path, e))?;
            pending.extend(children);
            first_names.entry(number).or_insert(path);
        }
        Ok(())
    }

    /// Copies the content of a directory of the real disk into `at`, which is made with what is above it; all of it is
    /// durable. Symbolic links are followed for files and left out for directories; what is neither is left out.
    pub fn load_from(&self, real_dir: &Path, at: &Path) -> Result<()> {
        let mut state = self.shared.state();
        make_dirs(&mut state, at).map_err(|e| FsError::new("create directory", at, e))?;
        let mut linked: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut pending = vec![(real_dir.to_owned(), at.to_owned())];
        while let Some((from, to)) = pending.pop() {
            let entries = fs::read_dir(&from).map_err(|e| FsError::new("read directory", &from, e))?;
            for entry in entries {
                let loaded = entry.and_then(|e| load_one(&mut state, &e, &to.join(e.file_name()), &mut linked));
                pending.extend(loaded.map_err(|e| FsError::new("load from", &from, e))?);
            }
        }
        state.image.sync_all();
        Ok(())
    }
}

/// Tells the children of a directory, which are to be dumped after it.
fn dump_one(state: &State, number: u64, path: &Path, first: Option<&PathBuf>) -> io::Result<Vec<(u64, PathBuf)>> {
    let inode = state.image.inode(number)?;
    match (&inode.node, first) {
        (Node::File(_), Some(first)) => fs::hard_link(first, path).map(|()| Vec::new()),
        (Node::File(file), None) => {
            fs::write(path, file.live.as_slice())?;
            fs::set_permissions(path, fs::Permissions::from_mode(inode.mode))?;
            Ok(Vec::new())
        }
        (Node::Dir(dir), _) => {
            fs::create_dir_all(path)?;
            // Such that we can go on in it, whatever its mode.
            fs::set_permissions(path, fs::Permissions::from_mode(inode.mode | 0o700))?;
            Ok(dir.live.iter().map(|(name, child)| (*child, path.join(name))).collect())
        }
    }
}

/// Tells the directory to go on with, if it is one.
fn load_one(
    state: &mut State,
    entry: &fs::DirEntry,
    to: &Path,
    linked: &mut BTreeMap<(u64, u64), u64>,
) -> io::Result<Option<(PathBuf, PathBuf)>> {
    let from = entry.path();
    let now = state.now();
    let place = state.image.place(to)?;
    if entry.file_type()?.is_dir() {
        let mode = entry.metadata()?.mode() & MODE_BITS;
        state.image.create_dir(&place, mode, now)?;
        return Ok(Some((from, to.to_owned())));
    }
    let metadata = fs::metadata(&from)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if let Some(inode) = linked.get(&(metadata.dev(), metadata.ino())) {
        state.image.link(*inode, &place, now)?;
        return Ok(None);
    }
    let inode = state.image.create(&place, metadata.mode() & MODE_BITS, now)?;
    let data = fs::read(&from)?.into();
    state.image.change_data(inode, DataChange::Write { offset: 0, data }, now)?;
    linked.insert((metadata.dev(), metadata.ino()), inode);
    Ok(None)
}

fn make_dirs(state: &mut State, path: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    for dir in above {
        if state.image.resolve(dir).is_err() {
            let now = state.now();
            let place = state.image.place(dir)?;
            state.image.create_dir(&place, 0o700, now)?;
        }
    }
    Ok(())
}
