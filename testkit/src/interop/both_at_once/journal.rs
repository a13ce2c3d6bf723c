//! What every worker asked and was told, with the time: from it and the logs of the indexes it can be found out what became
//! of a message, where the store is kept (`CULVER_KEEP`).

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// A file with a line for each command, written by all workers.
#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<File>,
    /// A clock of both kinds at one time.
    start: (Instant, SystemTime),
}

impl Journal {
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: Mutex::new(File::create(path)?), start: (Instant::now(), SystemTime::now()) })
    }

    /// Writes what was asked since `began`, and what was told now.
    pub(super) fn note(&self, began: Instant, what: &str) {
        let unix = |at: Instant| {
            let time = self.start.1 + at.saturating_duration_since(self.start.0);
            time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
        };
        let line = format!("{:.4} {:.4} {what}\n", unix(began), unix(Instant::now()));
        // A journal that cannot be written is none; the run goes on.
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}
