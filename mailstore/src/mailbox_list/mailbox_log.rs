//! `dovecot.mailbox.log`: what was deleted, renamed and subscribed to, for replication (`docs/formats/list.md`).
//!
//! # Invariants
//!
//! 1. Nobody locks it: each record is one write to the end, and a reader passes over what is no record.
//! 2. It says nothing that is not so without it: a failure to write it is worth a line in the log, and it is not synced.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mailfs::{FileSystem, FileSystemExt, OpenMode};
use mailtypes::{Guid, MailboxName};
use sha1::{Digest, Sha1};

use super::{Format, Rights};
use crate::{
    indexed::unix_now,
    traits::{Result, StorageError},
};

/// What it is called.
const FILE: &str = "dovecot.mailbox.log";

/// A record's length.
const RECORD_LEN: usize = 24;

/// A longer one is set aside before something is added.
const FILE_LEN_MAX: u64 = 4096;

/// Largest file read: a Dovecot that is configured otherwise lets it grow.
const READ_LEN_MAX: u64 = 16 << 20;

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailboxLogKind {
    /// The mailbox with this GUID was deleted.
    MailboxDeleted,
    /// The level with this name was removed.
    DirDeleted,
    /// A mailbox was renamed to this name.
    Renamed,
    /// This name was subscribed to.
    Subscribed,
    /// It was not any more.
    Unsubscribed,
    /// A level was made. Dovecot 2.3 knows the number and takes it for damage.
    DirCreated,
}

impl MailboxLogKind {
    const ALL: [(Self, u8); 6] = [
        (Self::MailboxDeleted, 1),
        (Self::DirDeleted, 2),
        (Self::Renamed, 3),
        (Self::Subscribed, 4),
        (Self::Unsubscribed, 5),
        (Self::DirCreated, 6),
    ];

    fn number(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, number)| *number)
    }
}

/// A record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MailboxLogRecord {
    /// What happened.
    pub kind: MailboxLogKind,
    /// The mailbox's GUID; for all kinds but [`MailboxLogKind::MailboxDeleted`] that of its name ([`name_guid`]).
    pub guid: Guid,
    /// When, in whole seconds.
    pub time: SystemTime,
}

/// What stands for a name: the beginning of the SHA-1 of the name as clients see it, in UTF-8.
pub fn name_guid(name: &str) -> Guid {
    let digest = Sha1::digest(name.as_bytes());
    let mut guid = [0; 16];
    guid.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Guid(guid)
}

impl MailboxLogRecord {
    /// As stored.
    fn encode(&self) -> [u8; RECORD_LEN] {
        let seconds = self.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = [0; RECORD_LEN];
        let parts: [&[u8]; 3] = [&[self.kind.number(), 0, 0, 0], &self.guid.0, &seconds];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// `None` for what is no record of a kind that is known.
    fn decode(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let [kind, _, _, _, rest @ ..] = bytes;
        let (kind, _) = MailboxLogKind::ALL.into_iter().find(|(_, number)| number == kind)?;
        let (guid, seconds) = rest.split_first_chunk::<16>()?;
        let seconds = u32::from_be_bytes(seconds.try_into().ok()?);
        Some(Self { kind, guid: Guid(*guid), time: UNIX_EPOCH + Duration::from_secs(seconds.into()) })
    }
}

/// The records in a file's bytes; what is none is passed over, and so is a torn end.
pub fn decode_mailbox_log(bytes: &[u8]) -> Vec<MailboxLogRecord> {
    let (records, _) = bytes.as_chunks::<RECORD_LEN>();
    records.iter().filter_map(MailboxLogRecord::decode).collect()
}

/// The records of a store whose list index lies in `index_root` (the store's folder unless `INDEX=` says otherwise), oldest
/// first; those of the file that was set aside last among them. None where there is no log.
pub fn read_mailbox_log(fs: &dyn FileSystem, index_root: &Path) -> Result<Vec<MailboxLogRecord>> {
    let log = index_root.join(FILE);
    let mut records = Vec::new();
    for path in [old_path(&log), log] {
        match fs.read_all(&path, READ_LEN_MAX) {
            Ok(bytes) => records.extend(decode_mailbox_log(&bytes)),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(StorageError::from(e)),
        }
    }
    Ok(records)
}

fn old_path(log: &Path) -> PathBuf {
    log.with_extension("log.2")
}

/// The name as clients see it.
fn seen_name(format: &dyn Format, name: &MailboxName) -> String {
    let separator = format.separator();
    let prefix = format.layout().prefix();
    let name = match name.is_storage_root() {
        true => prefix.trim_end_matches('/').to_owned(),
        false => format!("{prefix}{name}"),
    };
    if separator == MailboxName::SEPARATOR { name } else { name.replace('/', separator.encode_utf8(&mut [0; 4])) }
}

/// Notes what became of a name.
pub(super) fn note(format: &dyn Format, kind: MailboxLogKind, name: &MailboxName) {
    append(format, &[(kind, name_guid(&seen_name(format, name)))]);
}

/// Notes that a mailbox is deleted; `level`: and its level gone.
pub(super) fn note_deleted(format: &dyn Format, name: &MailboxName, guid: Option<Guid>, level: bool) {
    let mailbox = guid.map(|guid| (MailboxLogKind::MailboxDeleted, guid));
    let level = level.then(|| (MailboxLogKind::DirDeleted, name_guid(&seen_name(format, name))));
    let all: Vec<_> = mailbox.into_iter().chain(level).collect();
    append(format, &all);
}

fn append(format: &dyn Format, what: &[(MailboxLogKind, Guid)]) {
    let fs = &**format.env().fs();
    let time = UNIX_EPOCH + Duration::from_secs(unix_now(fs).into());
    let records = what.iter().map(|&(kind, guid)| MailboxLogRecord { kind, guid, time }.encode());
    let bytes: Vec<u8> = records.flatten().collect();
    let path = format.layout().index().join(FILE);
    if let Err(e) = append_to(fs, &path, &bytes) {
        tracing::warn!("replication is not told of a change of the list: {e}");
    }
}

fn append_to(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> mailfs::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if fs.metadata(path)?.is_some_and(|there| there.len > FILE_LEN_MAX) {
        fs.rename(path, &old_path(path))?;
    }
    let file = match fs.open(path, OpenMode::Append) {
        Err(e) if e.is_not_found() => {
            let rights = Rights::of(fs, path.parent().unwrap_or(path))?;
            match rights.create(fs, path) {
                Err(e) if !e.is_already_exists() => return Err(e),
                _ => fs.open(path, OpenMode::Append)?,
            }
        }
        other => other?,
    };
    let len = file.len()?;
    file.write_at(bytes, len)
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_hashed_as_clients_see_them() {
        assert_eq!(name_guid("ä/b").to_string(), "d5b0d8de671331423e9bf1c11193d6a2");
        assert_eq!(name_guid("INBOX/x").to_string(), "1822c1846208e71738a2dfabd90df964");
    }

    /// As Dovecot 2.3.19 wrote it.
    #[test]
    fn records_are_dovecots() {
        let bytes = b"\x04\0\0\0\x84\xa5\x16\x84\x1b\xa7\x7a\x5b\x46\x48\xde\x2c\xd0\xdf\xcb\x30\x6b\x03\x26\x0a";
        let [record] = decode_mailbox_log(bytes)[..] else { panic!("one record") };
        assert_eq!((record.kind, record.guid), (MailboxLogKind::Subscribed, name_guid("c")));
        assert_eq!(record.time, UNIX_EPOCH + Duration::from_secs(0x6b03_260a));
        assert_eq!(record.encode(), *bytes);
    }

    #[test]
    fn a_long_one_is_set_aside() {
        let (dir, fs) = (tempfile::tempdir().unwrap(), RealDisk::new());
        let path = dir.path().join(FILE);
        let record = |n: u8| {
            let guid = Guid([n; 16]);
            MailboxLogRecord { kind: MailboxLogKind::Renamed, guid, time: UNIX_EPOCH + Duration::from_secs(7) }
        };
        for n in 0..200 {
            append_to(&fs, &path, &record(n).encode()).unwrap();
        }
        let read = read_mailbox_log(&fs, dir.path()).unwrap();
        assert_eq!(read, (0..200).map(record).collect::<Vec<_>>());
        assert!(old_path(&path).exists());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for record in decode_mailbox_log(&bytes) {
                prop_assert_eq!(MailboxLogRecord::decode(&record.encode()), Some(record));
            }
        }
    }
}
