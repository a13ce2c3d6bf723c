//! `culver config`: the settings, what is wrong with a file, the documentation.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::bail;

use super::{Config, Overlay, arguments::ConfigArguments, check::Purpose, docs, problem::Problems, show};

/// What to do with a configuration.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Tell all that is wrong with a file, and fail if there is an error.
    Check {
        /// The file.
        file: PathBuf,
        /// Look at no file that it names: it is meant for another machine.
        #[arg(long)]
        without_files: bool,
    },
    /// Print the documentation of all settings (docs/configuration.md).
    Docs,
}

/// Runs `culver config`.
pub(crate) fn run(arguments: &ConfigArguments, command: Option<ConfigCommand>) -> anyhow::Result<()> {
    match command {
        None => print(&show::show(&Config::load_or_report(&arguments.overlay(None))?)),
        Some(ConfigCommand::Docs) => print(&docs::docs()),
        Some(ConfigCommand::Check { file, without_files }) => {
            let purpose = if without_files { Purpose::Elsewhere } else { Purpose::Serving };
            let (_, problems) =
                Config::load_for(purpose, &Overlay { file: Some(file.clone()), ..arguments.overlay(None) });
            let list = problems.in_order();
            let text: String = list.iter().map(|problem| format!("{problem}\n")).collect();
            if problems.has_errors() {
                print(&text)?;
                bail!("{}: {}", file.display(), counted(&problems));
            }
            print(&format!("{text}{}: {}\n", file.display(), counted(&problems)))
        }
    }
}

impl Config {
    /// The configuration, or an error that names everything that is wrong.
    pub(crate) fn load_or_report(overlay: &Overlay) -> anyhow::Result<Self> {
        let (config, problems) = Self::load(overlay);
        problems.result().map(|()| config)
    }
}

impl Problems {
    /// An error that names all errors, if there is one.
    pub(crate) fn result(&self) -> anyhow::Result<()> {
        if self.has_errors() {
            let text: String = self.errors().map(|problem| format!("\n{problem}")).collect();
            bail!("nothing can be done with this configuration: {}{text}", counted(self));
        }
        Ok(())
    }
}

fn counted(problems: &Problems) -> String {
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let counts = [count(problems.errors().count(), "error"), count(problems.warnings().count(), "warning")];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    if counts.is_empty() { "no errors".to_owned() } else { counts.join(", ") }
}

fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader such as `head` may have seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}
