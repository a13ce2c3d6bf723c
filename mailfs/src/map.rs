//! Whole files as bytes: read into a buffer or, for programs that read stores of their own, mapped.
//!
//! The only `unsafe` code of the workspace. No caller can tell a map from a buffer, except by being killed: a process that
//! serves many users must not map, as any of them may cut his file short and have us die of the page fault.
#![allow(unsafe_code)]

use std::{ops::Deref, path::Path};

use crate::{FileSystem, OpenMode, Result, convenience::read_file};

/// Whether files may be mapped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MapPolicy {
    /// Never: read into a buffer.
    #[default]
    Buffer,
    /// Map. The caller vouches that nobody changes the file in place or cuts it while it is mapped: the process would
    /// see bytes change that Rust takes for constant, or die. For a converter or an archive reader, on stores that
    /// nothing else has open.
    DangerousMap,
}

/// The content of a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Bytes {
    /// In memory.
    Owned(Vec<u8>),
    /// In the page cache.
    Mapped(ReadOnlyMap),
}

/// A file mapped for reading.
#[derive(Debug)]
pub struct ReadOnlyMap(memmap2::Mmap);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(data) => data,
            Self::Mapped(map) => &map.0,
        }
    }
}

/// The whole file, by the policy; in a buffer also where it cannot be mapped (empty, or not on a real disk). Fails with
/// `FileTooLarge` when a buffer would take more than `limit` bytes; a map takes none.
pub fn open_bytes(fs: &dyn FileSystem, path: &Path, policy: MapPolicy, limit: u64) -> Result<Bytes> {
    let file = fs.open(path, OpenMode::Read)?;
    if policy == MapPolicy::DangerousMap
        && let Some(descriptor) = file.descriptor()
    {
        // SAFETY: the map is private to us and read-only, and lives on after the descriptor is closed. That nobody
        // changes or cuts the file meanwhile is what the caller vouched for by choosing the policy.
        if let Ok(map) = unsafe { memmap2::MmapOptions::new().map(&descriptor) } {
            return Ok(Bytes::Mapped(ReadOnlyMap(map)));
        }
    }
    read_file(&*file, path, limit).map(Bytes::Owned)
}
