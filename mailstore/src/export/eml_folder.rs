//! A file a message: `MAILBOX/UIDVALIDITY-UID.eml`.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use mailfs::{FileSystem, FileSystemExt as _};
use mailtypes::{InternalDate, MailboxName};

use super::{
    Destination, Message, WriteError,
    text::{NewFile, each_piece},
};
use crate::traits::{Body, Result};

/// Mode of folders.
pub(super) const DIR_MODE: u32 = 0o700;

/// See the module.
pub(super) struct EmlFolder<'a> {
    fs: &'a dyn FileSystem,
    root: PathBuf,
    dir: PathBuf,
    there: HashSet<OsString>,
}

impl<'a> EmlFolder<'a> {
    pub(super) fn new(fs: &'a dyn FileSystem, root: &Path) -> Self {
        Self { fs, root: root.to_owned(), dir: root.to_owned(), there: HashSet::new() }
    }
}

fn file_name(message: &Message) -> String {
    format!("{:010}-{:010}.eml", message.uid_validity.value(), message.uid.value())
}

/// When a message arrived, as a file's time.
pub(super) fn time_of(date: InternalDate) -> std::time::SystemTime {
    let since = Duration::from_secs(date.unix.unsigned_abs());
    let time = if date.unix < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    time.unwrap_or(UNIX_EPOCH)
}

impl Destination for EmlFolder<'_> {
    fn begin(&mut self, mailbox: &MailboxName) -> std::result::Result<(), WriteError> {
        // A checked name does not climb, whatever it is.
        self.dir = self.root.join(mailbox.as_str());
        self.fs.create_dir_all(&self.dir, DIR_MODE)?;
        self.there = self.fs.read_dir(&self.dir)?.into_iter().map(|entry| entry.name).collect();
        Ok(())
    }

    fn has(&mut self, message: &Message) -> bool {
        self.there.contains(std::ffi::OsStr::new(&file_name(message)))
    }

    fn write(&mut self, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError> {
        let name = self.dir.join(file_name(message));
        let mut file = NewFile::create(self.fs, name.with_extension("culver.tmp"))?;
        let written = each_piece(body, |piece| {
            file.buffer().extend_from_slice(piece);
            Ok(file.flush_if_long()?)
        });
        match written {
            Ok(()) => Ok(file.finish(self.fs, &name, time_of(message.date))?),
            Err(error) => {
                file.discard(self.fs);
                Err(error)
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        Ok(self.fs.sync_dir(&self.dir)?)
    }
}
