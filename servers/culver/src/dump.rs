//! `culver dump`: what stands in files of a store, whatever state they are in.

use std::{fmt, io, path::Path};

use anyhow::{Context, ensure};
use mailfs::{FileSystem as _, FileSystemExt as _, OpenMode, RealDisk};
use mailindex::dump::{Format, detect, dump};
use mailstore::{dbox, dump as beside};

/// Longest index file that is read, in bytes. Dovecot throws a cache of this size away.
const INDEX_FILE_LEN_MAX: u64 = 1 << 30;
/// Bytes that tell an index file from a dbox file.
const HEAD_LEN: usize = 64;

/// Prints the files to standard output, each under its name if there are several.
pub(crate) fn run<P: AsRef<Path>>(paths: &[P], json: bool) -> anyhow::Result<()> {
    let mut out = Output { out: io::BufWriter::new(io::stdout().lock()), failed: None };
    for path in paths {
        let path = path.as_ref();
        if paths.len() > 1 {
            let name = path.display().to_string();
            let line = if json { serde_json::json!({ "file": name }).to_string() } else { format!("{name:?}:") };
            // The only way in which printing fails is the output, whose own error says more.
            let _ = fmt::Write::write_fmt(&mut out, format_args!("{line}\n"));
        }
        one(path, json, &mut out)?;
    }
    out.finish().context("writing to standard output")
}

fn one<W: io::Write>(path: &Path, json: bool, out: &mut Output<W>) -> anyhow::Result<()> {
    let disk = RealDisk::new();
    let metadata = disk.metadata(path)?.with_context(|| format!("{} does not exist", path.display()))?;
    ensure!(metadata.kind == mailfs::FileKind::File, "{} is not a file", path.display());
    let file = disk.open(path, OpenMode::Read)?;
    // What it was called before it was kept.
    let known_as = path.with_file_name(beside::name_of_kept(path));
    let name = known_as.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut head = [0; HEAD_LEN];
    let head_len = file.read_at(&mut head, 0)?;
    let head = head.get(..head_len).unwrap_or_default();
    let format = if json { Format::Json } else { Format::Text };
    if let Some(kind) = beside::detect(&known_as, head) {
        let _ = beside::dump(&disk, kind, path, format, out)?;
    } else if let Some(kind) = detect(&name, head) {
        let bytes = disk.read_all(path, INDEX_FILE_LEN_MAX)?;
        let _ = dump(kind, &bytes, format, out);
    } else {
        let dump = dbox::dump(&*file).with_context(|| format!("reading {}", path.display()))?;
        let text = if json { format!("{}\n", dump.json) } else { dump.text };
        let _ = fmt::Write::write_str(out, &text);
    }
    Ok(())
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
