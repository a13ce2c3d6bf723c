//! An mbox file a mailbox: `MAILBOX.mbox`, made anew each time.

use std::path::{Path, PathBuf};

use mailfs::{FileSystem, FileSystemExt as _};
use mailtypes::MailboxName;

use super::{
    Destination, Message, WriteError,
    eml_folder::DIR_MODE,
    text::{LfLines, NewFile, each_piece},
};
use crate::{
    mbox::{FromLine, Quoting, Status, write_status},
    traits::{Body, Result, Section},
};

/// How much of a header is searched for fields that belong to mbox files.
const HEADER_LEN_MAX: usize = 1 << 20;
/// The sender where nobody knows.
const SENDER: &str = "MAILER-DAEMON";

/// See the module.
pub(super) struct MboxFiles<'a> {
    fs: &'a dyn FileSystem,
    root: PathBuf,
    name: PathBuf,
    file: Option<NewFile>,
}

impl<'a> MboxFiles<'a> {
    pub(super) fn new(fs: &'a dyn FileSystem, root: &Path) -> Self {
        Self { fs, root: root.to_owned(), name: root.to_owned(), file: None }
    }
}

impl Destination for MboxFiles<'_> {
    fn begin(&mut self, mailbox: &MailboxName) -> std::result::Result<(), WriteError> {
        self.name = self.root.join(format!("{mailbox}.mbox"));
        self.fs.create_dir_all(self.name.parent().unwrap_or(&self.root), DIR_MODE)?;
        self.file = Some(NewFile::create(self.fs, self.name.with_extension("mbox.culver.tmp"))?);
        Ok(())
    }

    fn has(&mut self, _: &Message) -> bool {
        false
    }

    fn write(&mut self, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let before = file.len();
        let written = write(file, message, body);
        match &written {
            Ok(()) => {}
            // Half a line would take the next separator in.
            Err(WriteError::Source(_)) => file.cut_back(before)?,
            Err(WriteError::Destination(_)) => {
                if let Some(file) = self.file.take() {
                    file.discard(self.fs);
                }
            }
        }
        written
    }

    fn end(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        file.replace(self.fs, &self.name)?;
        Ok(self.fs.sync_dir(self.name.parent().unwrap_or(&self.root))?)
    }
}

/// Adds a message to a file. One that cannot be read to its end leaves a part there.
fn write(file: &mut NewFile, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError> {
    let header = header(body)?;
    FromLine::write(SENDER, message.date, file.buffer());
    write_status(message.flags, &message.keywords, file.buffer());
    let (mut lines, mut quoting, mut lf) = (LfLines::default(), Quoting::default(), Vec::new());
    lines.write(&header.status.header, &mut lf);
    if header.is_all && !lf.ends_with(b"\n\n") && lf != b"\n" {
        // A header without an end would go on in what follows.
        lf.extend_from_slice(if lf.is_empty() || lf.ends_with(b"\n") { b"\n" } else { b"\n\n" });
    }
    quoting.write(&lf, file.buffer());
    let mut skip = header.len;
    each_piece(body, |piece| {
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= skipped as u64;
        lf.clear();
        lines.write(piece.get(skipped..).unwrap_or_default(), &mut lf);
        quoting.write(&lf, file.buffer());
        Ok(file.flush_if_long()?)
    })?;
    lf.clear();
    lines.finish(&mut lf);
    quoting.write(&lf, file.buffer());
    quoting.finish(file.buffer());
    if !file.buffer().ends_with(b"\n") {
        file.buffer().push(b'\n');
    }
    file.buffer().push(b'\n');
    Ok(())
}

/// A message's header, as far as it is searched.
struct Header {
    len: u64,
    status: Status,
    /// Whether the message has nothing else.
    is_all: bool,
}

fn header(body: &mut dyn Body) -> std::result::Result<Header, WriteError> {
    let mut len = 16 << 10;
    loop {
        let mut bytes = vec![0; len];
        let read = body.read_at(Section::WHOLE, 0, &mut bytes).map_err(WriteError::Source)?;
        bytes.truncate(read);
        let header_len = mailmime::header_len(&bytes);
        if header_len < read || read < len || len >= HEADER_LEN_MAX {
            let status = Status::parse(bytes.get(..header_len).unwrap_or_default());
            return Ok(Header { len: header_len as u64, status, is_all: header_len == read && read < len });
        }
        len *= 4;
    }
}

#[cfg(test)]
mod tests {
    use mailfs::sim::SimDisk;
    use mailtypes::{Flags, InternalDate, Uid, UidValidity};

    use super::*;
    use crate::traits::StorageError;

    /// Reads well up to a place, where the disk is bad.
    struct Broken {
        text: Vec<u8>,
        at: u64,
    }

    impl Body for Broken {
        fn size(&self) -> u64 {
            self.text.len() as u64
        }

        fn stored_size(&self) -> u64 {
            self.size()
        }

        fn read_at(&mut self, _: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
            let rest = self.text.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let read = rest.len().min(buf.len());
            if offset + read as u64 > self.at {
                return Err(StorageError::Io("bad".into()));
            }
            buf[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
    }

    fn message() -> Message {
        Message {
            uid_validity: UidValidity::new(1).unwrap(),
            uid: Uid::MIN,
            guid: None,
            flags: Flags::NONE,
            keywords: Vec::new(),
            date: InternalDate::utc(0),
        }
    }

    #[test]
    fn a_body_that_fails_midway_leaves_no_trace() {
        let whole = |text: &str| Broken { text: text.as_bytes().to_vec(), at: u64::MAX };
        let long = |at| Broken { text: [b"A: long\r\n\r\n".to_vec(), vec![b'x'; 2 << 20]].concat(), at };
        // At the header, in what the buffer holds, and in what was written already.
        for at in [0, 300_000, 1 << 20] {
            let disk = SimDisk::new();
            let mut to = MboxFiles::new(&disk, Path::new("/out"));
            assert!(to.begin(&MailboxName::inbox()).is_ok());
            assert!(to.write(&message(), &mut whole("A: 1\r\n\r\none\r\n")).is_ok());
            assert!(matches!(to.write(&message(), &mut long(at)), Err(WriteError::Source(_))));
            assert!(to.write(&message(), &mut whole("A: 2\r\n\r\ntwo\r\n")).is_ok());
            to.end().unwrap();
            let text = disk.read_all(Path::new("/out/INBOX.mbox"), u64::MAX).unwrap();
            let text = String::from_utf8(text).unwrap();
            let messages: Vec<_> = text.split("From MAILER-DAEMON ").skip(1).collect();
            assert_eq!(messages.len(), 2, "{at}");
            assert!(messages[0].ends_with("A: 1\n\none\n\n") && messages[1].ends_with("A: 2\n\ntwo\n\n"), "{at}");
        }
    }
}
