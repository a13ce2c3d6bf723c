//! The log: where it goes, how it looks, how much of it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::config::{
    Config,
    tables::{Log, LogFormat},
};

/// The variable that goes before the configuration's level.
const LEVEL_VARIABLE: &str = "CULVER_LOG";
/// rustls warns of every client that names an address in SNI, as mutt does. What ends a handshake is told by us. Stands
/// before the configured level, which can say otherwise.
const QUIET: &str = "rustls=error";
/// Mode of a file that is made.
const FILE_MODE: u32 = 0o640;

type SetLevel = Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>;

/// The log that is written.
pub(crate) struct Logging {
    set_level: SetLevel,
    file: Option<LogFile>,
}

#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Logging {
    /// Begins to log, for the whole process. To be called once.
    pub(crate) fn begin(config: &Config) -> anyhow::Result<Self> {
        let log = &config.log;
        let (set_level, file) = match log.target.as_str() {
            "stderr" => (begin(log, io::stderr)?, None),
            "stdout" => (begin(log, io::stdout)?, None),
            path => {
                let path = config.path(Path::new(path));
                let opened = open(&path).with_context(|| format!("opening the log {}", path.display()))?;
                let file = LogFile { path, file: Arc::new(Mutex::new(opened)) };
                (begin(log, file.clone())?, Some(file))
            }
        };
        Ok(Self { set_level, file })
    }

    /// Another level from now on, and the file opened anew, in case it was moved away.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        if let Some(LogFile { path, file }) = &self.file {
            let opened = open(path).with_context(|| format!("opening the log {}", path.display()))?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        }
        (self.set_level)(filter(&config.log))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

fn filter(log: &Log) -> EnvFilter {
    EnvFilter::try_from_env(LEVEL_VARIABLE).unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},{}", *log.level)))
}

fn begin<W>(log: &Log, writer: W) -> anyhow::Result<SetLevel>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (level, handle) = reload::Layer::new(filter(log));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let registry = tracing_subscriber::registry().with(level);
    match *log.format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(lines).try_init()?;
        }
    }
    Ok(Box::new(move |filter| Ok(handle.reload(filter)?)))
}

/// One line at a time, each whole: a line is one write.
impl io::Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogFile {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}
