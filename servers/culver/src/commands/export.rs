//! `culver export`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::ValueEnum;
use mailfs::RealDisk;
use mailstore::{
    ListPattern,
    export::{ExportFormat, ExportOptions, ExportProgress, ExportSummary, export},
};

use super::{progress, store::UserStore};
use crate::config::arguments::ConfigArguments;

/// What to export, and where to.
#[derive(clap::Args, Debug)]
pub(crate) struct ExportArguments {
    /// Whose mail.
    user: String,
    /// The folder to write to; made if it is not there.
    destination: PathBuf,
    /// What to write.
    #[arg(long, default_value = "mbox")]
    format: Format,
    /// Which mailboxes, as IMAP's LIST has patterns: `*` is anything, `%` anything within a level.
    #[arg(long, default_value = "*", value_name = "PATTERN")]
    mailboxes: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A file a mailbox, flags in Status fields.
    Mbox,
    /// Maildir++, flags in names.
    Maildir,
    /// A file a message, without flags.
    Eml,
}

/// Exports, and says what came of it. Fails by its code if a message could not be read.
pub(super) fn run(config: &ConfigArguments, arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let store = UserStore::open(config, &arguments.user)?;
    let options = ExportOptions {
        format: match arguments.format {
            Format::Mbox => ExportFormat::Mbox,
            Format::Maildir => ExportFormat::Maildir,
            Format::Eml => ExportFormat::Eml,
        },
        mailboxes: ListPattern::new(&arguments.mailboxes).context("the pattern is too long")?,
    };
    let bar = progress::bar();
    let mut tell = |progress: &ExportProgress| {
        bar.set_length(progress.size);
        bar.set_position(progress.done);
        bar.set_message(counts(progress));
    };
    let outcome = export(&RealDisk::new(), &*store.storage, &arguments.destination, &options, &mut tell);
    bar.finish_and_clear();
    let summary = outcome?;
    report(&summary);
    Ok(if summary.progress.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn counts(progress: &ExportProgress) -> String {
    let ExportProgress { mailboxes, exported, skipped, failed, .. } = progress;
    format!("{mailboxes} mailboxes: {exported} exported, {skipped} there already, {failed} failed")
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command tells what it did")]
fn report(summary: &ExportSummary) {
    for failure in &summary.failures {
        eprintln!("culver: not exported: {failure}");
    }
    println!("{}", counts(&summary.progress));
}
