//! The Culver mail host: `serve`, and the commands that look after stores.

#![forbid(unsafe_code)]

mod config;
mod dump;
mod serve;
mod stores;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::config::{
    arguments::{ConfigArguments, ListenerArguments},
    command::ConfigCommand,
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
    /// Decode a transaction log, index, cache or dbox file, whatever state it is in.
    Dump {
        /// The file.
        file: PathBuf,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let outcome = match command {
        Command::Serve(listeners) => serve::run(&config.overlay(Some(&listeners))),
        Command::Config { command } => config::command::run(&config, command),
        Command::Dump { file, json } => dump::run(&file, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a command tells on standard error why it failed")]
fn report(error: &anyhow::Error) {
    eprintln!("culver: {error:#}");
}
