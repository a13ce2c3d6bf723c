//! The Culver mail host: `serve`, and the commands that look after stores.

#![forbid(unsafe_code)]

mod commands;
mod config;
mod dump;
mod serve;
mod stores;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{
    commands::MailCommand,
    config::{
        arguments::{ConfigArguments, ListenerArguments},
        command::ConfigCommand,
    },
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A mail host on Dovecot's files.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve mail.
    Serve(ListenerArguments),
    /// Show the effective settings and where each comes from.
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    #[command(flatten)]
    Mail(MailCommand),
    /// Decode any file of a store, whatever state it is in: logs, indexes, caches, dbox and mbox files, UID lists,
    /// keywords, subscriptions, the journals of mailboxes and of a conversion, UIDVALIDITY, the name of a Maildir file, and
    /// what a repair has kept of them.
    Dump {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let done = |()| ExitCode::SUCCESS;
    let outcome = match command {
        Command::Serve(listeners) => serve::run(&config.overlay(Some(&listeners))).map(done),
        Command::Config { command } => config::command::run(&config, command).map(done),
        Command::Mail(command) => commands::run(&config, &command),
        Command::Dump { files, json } => dump::run(&files, json).map(done),
    };
    outcome.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
}

#[allow(clippy::print_stderr, reason = "a command tells on standard error why it failed")]
fn report(error: &anyhow::Error) {
    eprintln!("culver: {error:#}");
}
