//! `culver dump`: what stands in a file of a store, whatever state it is in.

use std::{fmt, io, path::Path};

use anyhow::{Context, ensure};
use mailfs::{FileSystem as _, FileSystemExt as _, OpenMode, RealDisk};
use mailindex::dump::{Format, detect, dump};
use mailstore::dbox;

/// Longest index file that is read, in bytes. Dovecot throws a cache of this size away.
const INDEX_FILE_LEN_MAX: u64 = 1 << 30;
/// Bytes that tell an index file from a dbox file.
const HEAD_LEN: usize = 64;

/// Prints the file to standard output.
pub(crate) fn run(path: &Path, json: bool) -> anyhow::Result<()> {
    let disk = RealDisk::new();
    let metadata = disk.metadata(path)?.with_context(|| format!("{} does not exist", path.display()))?;
    ensure!(metadata.kind == mailfs::FileKind::File, "{} is not a file", path.display());
    let file = disk.open(path, OpenMode::Read)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut head = [0; HEAD_LEN];
    let head_len = file.read_at(&mut head, 0)?;
    let mut out = Output { out: io::BufWriter::new(io::stdout().lock()), failed: None };
    if let Some(kind) = detect(&name, head.get(..head_len).unwrap_or_default()) {
        let bytes = disk.read_all(path, INDEX_FILE_LEN_MAX)?;
        let format = if json { Format::Json } else { Format::Text };
        // The only way in which printing fails is the output, whose own error says more.
        let _ = dump(kind, &bytes, format, &mut out);
    } else {
        let dump = dbox::dump(&*file).with_context(|| format!("reading {}", path.display()))?;
        let text = if json { format!("{}\n", dump.json) } else { dump.text };
        let _ = fmt::Write::write_str(&mut out, &text);
    }
    out.finish().context("writing to standard output")
}

/// Standard output for what is made of text; remembers what went wrong.
struct Output<W> {
    out: W,
    failed: Option<io::Error>,
}

impl<W: io::Write> Output<W> {
    fn finish(mut self) -> io::Result<()> {
        let outcome = self.failed.take().map_or_else(|| self.out.flush(), Err);
        match outcome {
            // A reader such as `head` may have seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

impl<W: io::Write> fmt::Write for Output<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.failed = Some(error);
            fmt::Error
        })
    }
}
