//! `culver user`: the users' file.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context, bail, ensure};
use auth::{NewUser, Password, Scheme, UserName};
use clap::Subcommand;
use mailfs::{FileSystemExt as _, RealDisk};
use serde_json::json;

use super::{
    output::{OutputArguments, enough},
    store::{config, users},
};
use crate::{config::arguments::ConfigArguments, stores::FOLDER_MODE};

/// Longest password that is taken, in bytes; longer ones cannot log in.
const PASSWORD_LEN_MAX: usize = 1024;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user. The password is asked for, or read from a line of standard input if that is no terminal.
    Add(PasswordArguments),
    /// Give a user another password.
    Passwd(PasswordArguments),
    /// Remove a user. The mail stays where it is.
    Remove {
        /// Who.
        name: String,
    },
    /// List users, and how their passwords are stored.
    List {
        #[command(flatten)]
        output: OutputArguments,
    },
}

/// Who, and which password.
#[derive(clap::Args, Debug)]
pub(crate) struct PasswordArguments {
    /// Who.
    name: String,
    /// Make a password, and print it.
    #[arg(long)]
    generate: bool,
    /// How the password is stored; see `culver config docs` for the schemes.
    #[arg(long, default_value = "ARGON2ID", value_parser = scheme)]
    scheme: Scheme,
}

fn scheme(name: &str) -> Result<Scheme, String> {
    let known = || Scheme::names().collect::<Vec<_>>().join(", ");
    Scheme::from_name(name).ok_or_else(|| format!("there are {}", known()))
}

pub(super) fn run(arguments: &ConfigArguments, command: &UserCommand) -> anyhow::Result<()> {
    let config = config(arguments)?;
    let users = users(&config);
    if matches!(command, UserCommand::Add(_)) {
        let folder = config.data();
        let made = RealDisk::new().create_dir_all(&folder, FOLDER_MODE);
        made.with_context(|| format!("making {}", folder.display()))?;
    }
    match command {
        UserCommand::Add(who) => {
            let name = user_name(&who.name)?;
            // Before anybody is asked for a password in vain.
            ensure!(!users.names()?.contains(&name), "there is a user {name} already in {}", users.path().display());
            Ok(users.add(&name, &password(&name, who)?)?)
        }
        UserCommand::Passwd(who) => {
            let name = user_name(&who.name)?;
            ensure!(users.names()?.contains(&name), "there is no user {name} in {}", users.path().display());
            Ok(users.set_password(&name, &password(&name, who)?)?)
        }
        UserCommand::Remove { name } => Ok(users.remove(&user_name(name)?)?),
        UserCommand::List { output } => {
            let mut out = output.open();
            for (user, scheme) in users.list()? {
                let scheme = scheme.map(Scheme::name);
                let text = || format!("{}\t{}", user.name, scheme.unwrap_or("cannot log in"));
                enough(out.item(text, || json!({ "name": user.name.as_str(), "scheme": scheme })))?;
            }
            out.finish()
        }
    }
}

fn user_name(name: &str) -> anyhow::Result<UserName> {
    UserName::new(name).with_context(|| format!("the user name {name:?}"))
}

fn password(name: &UserName, who: &PasswordArguments) -> anyhow::Result<Password> {
    let text = if who.generate {
        let made = NewUser::make(name.clone())?;
        announce(&made.password);
        made.password
    } else if io::stdin().is_terminal() {
        let first = rpassword::prompt_password(format!("Password for {name}: "))?;
        let second = rpassword::prompt_password("Once more: ")?;
        ensure!(first == second, "the two passwords differ");
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if text.is_empty() || text.len() > PASSWORD_LEN_MAX {
        bail!("a password has 1 to {PASSWORD_LEN_MAX} bytes");
    }
    Password::hash(who.scheme, text.as_bytes()).context("hashing the password")
}

#[allow(clippy::print_stdout, reason = "it is asked for")]
fn announce(password: &str) {
    println!("password: {password}");
}
