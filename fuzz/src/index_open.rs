//! A mailbox's index files as a whole: whatever stands in them, they are opened, put right or refused.

use std::{collections::BTreeSet, error::Error, ffi::OsString, path::Path, sync::Arc};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailindex::{
    engine::{Background, Env, EnvOptions, IndexError, MailboxIndex, MessageStore},
    state::State,
};
use mailtypes::UidSet;

use crate::state::{Facts, check};

/// There are no bodies.
#[derive(Debug)]
struct NoBodies;

impl MessageStore for NoBodies {
    fn remove(&self, _: &State, _: &UidSet) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

const DIR: &str = "/box";
const PREFIX: &str = "dovecot.index";

/// The input is three files, the first two with their lengths before them (two bytes, little-endian): the log, the log
/// before it, and the snapshot; an empty one is not there. Whatever is opened holds together, and is the same when it is
/// opened again: what was put right stays right.
pub fn index_open(data: &[u8]) {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR), 0o700).expect("a disk in memory");
    let (log, rest) = split(data);
    let (log2, snapshot) = split(rest);
    for (name, file) in [("dovecot.index.log", log), ("dovecot.index.log.2", log2), (PREFIX, snapshot)] {
        if !file.is_empty() {
            disk.write_atomic(&Path::new(DIR).join(name), file, 0o600, true).expect("a disk in memory");
        }
    }
    let before = names(&disk);
    let Ok(first) = open(&disk) else {
        let after = names(&disk);
        assert!(before.len() <= after.len(), "nothing is deleted: {before:?}, {after:?}");
        return;
    };
    check(&first);
    let repaired = names(&disk);
    assert!(before.len() <= repaired.len(), "nothing is deleted: {before:?}, {repaired:?}");
    let second = open(&disk).unwrap_or_else(|e| panic!("what was opened is opened again: {e}"));
    check(&second);
    assert_eq!(Facts::of(&second), Facts::of(&first), "who opens it next sees the same");
    assert_eq!(names(&disk), repaired, "what was put right is not put right again");
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return (&[], &[]) };
    rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()))
}

fn open(disk: &SimDisk) -> Result<State, IndexError> {
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(disk.as_file_system(), options);
    let index = MailboxIndex::open(&env, Path::new(DIR), PREFIX, Arc::new(NoBodies))?;
    Ok(index.state())
}

fn names(disk: &SimDisk) -> BTreeSet<OsString> {
    let entries = disk.read_dir(Path::new(DIR)).expect("a folder that is there");
    entries.into_iter().map(|entry| entry.name).collect()
}
