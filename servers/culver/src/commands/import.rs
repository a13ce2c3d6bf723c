//! `culver import`.

use std::{path::PathBuf, process::ExitCode};

use clap::ValueEnum;
use mailfs::RealDisk;
use mailstore::import::{EmlDates, ImportOptions, ImportProgress, ImportSummary, SourceKind, import};

use super::{
    progress,
    store::{UserStore, mailbox_name},
};
use crate::config::arguments::ConfigArguments;

/// What to import, and where to.
#[derive(clap::Args, Debug)]
pub(crate) struct ImportArguments {
    /// Whose mail it becomes.
    user: String,
    /// An mbox file, a Maildir (with the mailboxes in it), or a folder of .eml files.
    source: PathBuf,
    /// The mailbox that it goes to; mailboxes of the source go below it, or beside it where it is INBOX.
    #[arg(long, default_value = "INBOX", value_name = "NAME")]
    mailbox: String,
    /// What the source is, if it should not be found out.
    #[arg(long)]
    kind: Option<Kind>,
    /// Where the time of arrival of .eml files is taken from.
    #[arg(long, default_value = "header", value_name = "FROM")]
    dates: Dates,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Mbox,
    Maildir,
    Eml,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dates {
    /// The Date field.
    Header,
    /// The file.
    File,
}

/// Imports, and says what came of it. Fails by its code if a message could not be taken in.
pub(super) fn run(config: &ConfigArguments, arguments: &ImportArguments) -> anyhow::Result<ExitCode> {
    let store = UserStore::open(config, &arguments.user)?;
    let options = ImportOptions {
        kind: arguments.kind.map(|kind| match kind {
            Kind::Mbox => SourceKind::Mbox,
            Kind::Maildir => SourceKind::Maildir,
            Kind::Eml => SourceKind::Eml,
        }),
        into: mailbox_name(&arguments.mailbox)?,
        eml_dates: match arguments.dates {
            Dates::Header => EmlDates::Header,
            Dates::File => EmlDates::File,
        },
        ..ImportOptions::default()
    };
    let bar = progress::bar();
    let mut tell = |progress: &ImportProgress| {
        bar.set_length(progress.size);
        bar.set_position(progress.done);
        bar.set_message(counts(progress));
    };
    let outcome = import(&RealDisk::new(), &arguments.source, &*store.storage, &options, &mut tell);
    bar.finish_and_clear();
    let summary = outcome?;
    store.finish()?;
    report(&summary);
    Ok(if summary.progress.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn counts(progress: &ImportProgress) -> String {
    format!("{} imported, {} there already, {} failed", progress.imported, progress.skipped, progress.failed)
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command tells what it did")]
fn report(summary: &ImportSummary) {
    for failure in &summary.failures {
        eprintln!("culver: not imported: {failure}");
    }
    println!("{}", counts(&summary.progress));
}
