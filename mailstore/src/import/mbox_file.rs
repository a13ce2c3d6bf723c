//! An mbox file as a source.

use std::path::{Path, PathBuf};

use jiff::{Timestamp, tz::TimeZone};
use mailfs::{FileHandle, FileSystem, OpenMode};
use mailtypes::MailboxName;

use super::{
    ImportOptions,
    content::Content,
    source::{Found, Message, Source},
};
use crate::{
    mbox::{MboxMessage, MboxReader},
    traits::Result,
};

/// See the module.
pub(super) struct MboxFile {
    path: PathBuf,
    reader: MboxReader,
    /// For bodies.
    file: FileHandle,
    into: MailboxName,
    local_zone: fn(i64) -> i16,
    at: u64,
}

impl MboxFile {
    pub(super) fn open(fs: &dyn FileSystem, path: &Path, options: &ImportOptions) -> Result<Self> {
        Ok(Self {
            reader: MboxReader::open(fs, path)?,
            file: fs.open(path, OpenMode::Read)?,
            path: path.to_owned(),
            into: options.into.clone(),
            local_zone: options.local_zone,
            at: 0,
        })
    }

    fn message(&self, found: MboxMessage) -> Message {
        let MboxMessage { start, from, status, body, has_length, .. } = found;
        let content =
            Content { header: status.header, file: FileHandle::clone(&self.file), range: body, quoted: !has_length };
        Message {
            mailbox: self.into.clone(),
            what: format!("{} at byte {start}", self.path.display()),
            content,
            date: Some(from.date.resolve(self.local_zone)),
            flags: status.flags,
            keywords: status.keywords,
        }
    }
}

impl Source for MboxFile {
    fn size(&self) -> u64 {
        self.reader.len()
    }

    fn done(&self) -> u64 {
        self.at
    }

    fn next(&mut self) -> Result<Option<Found>> {
        while let Some(message) = self.reader.next_message()? {
            self.at = message.end;
            if !message.status.is_pseudo {
                return Ok(Some(Found::Message(self.message(message))));
            }
        }
        Ok(None)
    }
}

/// The zone of the host at a local time.
pub(crate) fn host_zone(local_seconds: i64) -> i16 {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    let at = |seconds: i64| Timestamp::from_second(seconds).map_or(0, |time| i64::from(zone.to_offset(time).seconds()));
    // The offset at what would be the time in UTC is right but for the hours around a change of clocks.
    let offset = at(local_seconds - at(local_seconds));
    i16::try_from(offset / 60).unwrap_or(0)
}
