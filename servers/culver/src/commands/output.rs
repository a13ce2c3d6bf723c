//! Standard output, as text or JSON.

use std::io::{self, Write};

use serde_json::Value;

/// What a command that shows something can be asked for.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct OutputArguments {
    /// Print JSON: one value a line.
    #[arg(long)]
    json: bool,
}

/// Where a command prints.
pub(super) struct Output {
    json: bool,
    out: io::BufWriter<io::StdoutLock<'static>>,
}

impl OutputArguments {
    /// Standard output.
    pub(super) fn open(self) -> Output {
        Output { json: self.json, out: io::BufWriter::new(io::stdout().lock()) }
    }
}

impl Output {
    /// Prints one thing: a line of text, or a value.
    pub(super) fn item(&mut self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> io::Result<()> {
        if self.json { writeln!(self.out, "{}", json()) } else { writeln!(self.out, "{}", text()) }
    }

    /// Prints bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// To be called at the end. A reader that has seen enough, such as `head`, is no failure.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        enough(self.out.flush())
    }
}

/// Takes a reader that has gone for the end of the work.
pub(super) fn enough(outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// A text in which nothing moves the cursor of a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
