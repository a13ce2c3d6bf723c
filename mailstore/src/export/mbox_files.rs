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
    fn begin(&mut self, mailbox: &MailboxName) -> Result<()> {
        self.name = self.root.join(format!("{mailbox}.mbox"));
        self.fs.create_dir_all(self.name.parent().unwrap_or(&self.root), DIR_MODE)?;
        self.file = Some(NewFile::create(self.fs, self.name.with_extension("mbox.culver.tmp"))?);
        Ok(())
    }

    fn has(&self, _: &Message) -> bool {
        false
    }

    fn write(&mut self, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        // Read before the separator is written: what cannot be read leaves no trace.
        let (header_len, status) = header(body)?;
        FromLine::write(SENDER, message.date, file.buffer());
        write_status(message.flags, &message.keywords, file.buffer());
        let (mut lines, mut quoting, mut lf) = (LfLines::default(), Quoting::default(), Vec::new());
        lines.write(&status.header, &mut lf);
        if header_len == body.size() && !lf.ends_with(b"\n\n") && lf != b"\n" {
            // A header without an end would go on in what follows.
            lf.extend_from_slice(if lf.is_empty() || lf.ends_with(b"\n") { b"\n" } else { b"\n\n" });
        }
        quoting.write(&lf, file.buffer());
        let mut skip = header_len;
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

    fn end(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        file.finish(self.fs, &self.name, None)?;
        Ok(self.fs.sync_dir(self.name.parent().unwrap_or(&self.root))?)
    }
}

/// A message's header, as far as it is searched, and how many bytes it has.
fn header(body: &mut dyn Body) -> std::result::Result<(u64, Status), WriteError> {
    let mut len = 16 << 10;
    loop {
        let mut bytes = vec![0; len];
        let read = body.read_at(Section::WHOLE, 0, &mut bytes).map_err(WriteError::Message)?;
        bytes.truncate(read);
        let header_len = mailmime::header_len(&bytes);
        if header_len < read || read < len || len >= HEADER_LEN_MAX {
            let header = bytes.get(..header_len).unwrap_or_default();
            return Ok((header_len as u64, Status::parse(header)));
        }
        len *= 4;
    }
}
