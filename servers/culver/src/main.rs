//! The Culver mail host: `serve`, and the commands that look after stores.

#![forbid(unsafe_code)]

mod data_folder;
mod dump;
mod serve;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A mail host on Dovecot's files.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve IMAP and LMTP on loopback.
    Serve(ServeArguments),
    /// Decode a transaction log, index, cache or dbox file, whatever state it is in.
    Dump {
        /// The file.
        file: PathBuf,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
}

/// Where to serve, and what.
#[derive(clap::Args, Debug)]
struct ServeArguments {
    /// The folder of users and mail; made if it is not there.
    #[arg(long, default_value = "./culver-data", value_name = "FOLDER")]
    data: PathBuf,
    /// Where IMAP listens. Only loopback addresses: there is no TLS yet.
    #[arg(long, default_value = "127.0.0.1:1143", value_name = "ADDRESS")]
    imap: SocketAddr,
    /// Where LMTP listens. Only loopback addresses.
    #[arg(long, default_value = "127.0.0.1:1024", value_name = "ADDRESS")]
    lmtp: SocketAddr,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
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
