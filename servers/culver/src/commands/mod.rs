//! The commands that look after users and their mail. They work beside a running server: a store may be open in any number
//! of processes.

mod altmove;
mod check;
mod convert;
mod export;
mod expunged;
mod fetch;
mod import;
mod mailbox;
mod output;
mod progress;
mod purge;
mod query;
mod search;
mod store;
mod user;

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::arguments::ConfigArguments;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum MailCommand {
    /// Add, change, remove and list users.
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// Take mail in from an mbox file, a tree of Maildirs or a folder of .eml files.
    Import(import::ImportArguments),
    /// Convert a store to another format, with all that clients know it by; run again, bring what is new.
    Convert(convert::ConvertArguments),
    /// Write mail out as mbox files, Maildirs or .eml files.
    Export(export::ExportArguments),
    /// Look stores over for what is wrong with them, and repair it.
    Check(check::CheckArguments),
    /// List, examine and change mailboxes.
    Mailbox {
        #[command(subcommand)]
        command: mailbox::MailboxCommand,
    },
    /// Show messages of a mailbox.
    Fetch(fetch::FetchArguments),
    /// Find messages of a mailbox, by the words of IMAP's SEARCH.
    Search(search::SearchArguments),
    /// Remove for good the bodies of messages that were expunged from an mdbox.
    Purge(purge::PurgeArguments),
    /// List and bring back messages that were expunged from an mdbox, and not purged.
    Expunged {
        #[command(subcommand)]
        command: expunged::ExpungedCommand,
    },
    /// Move messages to alternate storage, or back.
    Altmove(altmove::AltmoveArguments),
}

/// Carries a command out.
pub(crate) fn run(config: &ConfigArguments, command: &MailCommand) -> anyhow::Result<ExitCode> {
    match command {
        MailCommand::User { command } => user::run(config, command).map(|()| ExitCode::SUCCESS),
        MailCommand::Import(arguments) => import::run(config, arguments),
        MailCommand::Convert(arguments) => convert::run(config, arguments),
        MailCommand::Export(arguments) => export::run(config, arguments),
        MailCommand::Check(arguments) => Ok(check::run(config, arguments)),
        MailCommand::Mailbox { command } => mailbox::run(config, command).map(|()| ExitCode::SUCCESS),
        MailCommand::Fetch(arguments) => fetch::run(config, arguments).map(|()| ExitCode::SUCCESS),
        MailCommand::Purge(arguments) => purge::run(config, arguments).map(|()| ExitCode::SUCCESS),
        MailCommand::Expunged { command } => expunged::run(config, command).map(|()| ExitCode::SUCCESS),
        MailCommand::Altmove(arguments) => altmove::run(config, arguments).map(|()| ExitCode::SUCCESS),
        MailCommand::Search(arguments) => search::run(config, arguments).map(|()| ExitCode::SUCCESS),
    }
}
