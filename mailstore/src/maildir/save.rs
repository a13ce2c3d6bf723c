//! A message on its way in: a file in `tmp`, written and parsed as the bytes come.

use std::{
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use mailfs::{FileHandle, FileSystem};
use mailtypes::Guid;

use super::files::MaildirFiles;
use crate::{
    indexed::{BodyWriter, Closing, Staged, TempFile, Unsynced, WriterOptions, unix_now},
    mailbox_list::Rights,
    traits::{Pop3Identity, Result, Save, SaveMeta, Saved},
};

/// Numbers that tell this process's messages of one microsecond from each other. Of the process, as the pid is that
/// stands beside it in the names.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A base name that nobody else makes.
pub(super) fn unique_base(fs: &dyn FileSystem) -> Vec<u8> {
    let now = fs.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let host = fs.host_name().replace('/', "\\057").replace(':', "\\072").replace(',', "\\054");
    format!("{}.M{}P{}Q{count}.{host}", now.as_secs(), now.subsec_micros(), fs.process_id()).into_bytes()
}

/// A message that is being written.
pub(super) struct MaildirSave {
    writer: BodyWriter,
    temp: TempFile,
    path: PathBuf,
    received: Option<i64>,
    guid: Option<Guid>,
    pop3: Pop3Identity,
    now: u32,
    open: Arc<AtomicUsize>,
    sync: bool,
}

/// Makes a new file in `tmp`.
pub(super) fn create_temp(files: &MaildirFiles) -> mailfs::Result<(PathBuf, FileHandle)> {
    let fs = &**files.fs();
    let path = files.tmp().join(std::ffi::OsStr::from_bytes(&unique_base(fs)));
    let rights = Rights::of(fs, files.tmp())?;
    match rights.create(fs, &path) {
        Err(e) if e.is_not_found() => {
            Rights::of(fs, &files.dirs.mail)?.create_dirs(fs, files.tmp())?;
            Ok((path.clone(), rights.create(fs, &path)?))
        }
        other => Ok((path, other?)),
    }
}

impl MaildirSave {
    pub(super) fn begin(files: &MaildirFiles, meta: &SaveMeta, preview: bool) -> Result<Self> {
        let shared = &files.shared;
        let (path, file) = create_temp(files)?;
        let options = WriterOptions {
            nuls: meta.nuls.unwrap_or(shared.options.nuls),
            limits: shared.options.limits.clone(),
            preview,
            compression: shared.options.compression,
            ..WriterOptions::default()
        };
        Ok(Self {
            writer: BodyWriter::new(file, Vec::new(), options),
            temp: TempFile::new(files.fs(), path.clone()),
            path,
            received: meta.internal_date.map(|date| date.unix),
            guid: meta.guid.filter(|guid| !guid.is_zero()),
            pop3: meta.pop3.clone().checked(),
            now: unix_now(&**files.fs()),
            open: Arc::clone(&shared.open_saved),
            sync: shared.syncs(),
        })
    }
}

impl Save for MaildirSave {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.writer.write(bytes)?)
    }

    fn held_len(&self) -> usize {
        self.writer.held_len()
    }

    fn finish(self: Box<Self>) -> Result<Saved> {
        let Self { writer, temp, path, received, guid, pop3, now, open, sync } = *self;
        let written = writer.finish(|_| Closing::default())?;
        let received = received.map_or(now, |unix| u32::try_from(unix.max(0)).unwrap_or(u32::MAX));
        // After the last write, which would set it again.
        written.file.set_modified(UNIX_EPOCH + Duration::from_secs(received.into()))?;
        let base = path.file_name().map(|name| name.as_bytes()).unwrap_or_default();
        let sizes = format!(",S={},W={}", written.plain_len, written.virtual_size);
        let waiting = InTmp { base: [base, sizes.as_bytes()].concat(), guid, pop3, temp };
        let unsynced = Unsynced::keep_or_sync(written.file, &open, sync)?;
        Ok(Saved(Box::new(Staged {
            unsynced,
            structure: written.structure,
            preview: written.preview,
            received,
            waiting,
        })))
    }
}

/// A message that is whole in `tmp`.
pub(super) struct InTmp {
    /// The name it is to have.
    pub(super) base: Vec<u8>,
    /// An identity that it brings along.
    pub(super) guid: Option<Guid>,
    pub(super) pop3: Pop3Identity,
    pub(super) temp: TempFile,
}

impl InTmp {
    /// What the UID list is to tell of it.
    pub(super) fn keys(&self) -> String {
        let guid = self.guid.map(|guid| format!("G{guid}"));
        let uidl = self.pop3.uidl.as_ref().map(|uidl| format!("P{}", String::from_utf8_lossy(uidl)));
        let order = self.pop3.order.map(|order| format!("O{order}"));
        [guid, uidl, order].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}
