//! `culver expunged`: messages of an mdbox that were expunged and not purged yet.

use anyhow::Context;
use clap::Subcommand;
use mailstore::mailtypes::Uid;
use serde_json::json;

use super::{
    output::{OutputArguments, enough},
    store::{UserStore, mailbox_name},
};
use crate::config::arguments::ConfigArguments;

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum ExpungedCommand {
    /// List them: number, time of arrival (Unix seconds), bytes, the mailbox each was saved to first, subject.
    List {
        /// Whose mail.
        user: String,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Bring them back, as new messages without flags.
    Restore {
        /// Whose mail.
        user: String,
        /// Their numbers, as `list` has them.
        #[arg(required = true)]
        numbers: Vec<u32>,
        /// Into this mailbox; else each into the one that it was saved to first.
        #[arg(long)]
        mailbox: Option<String>,
        #[command(flatten)]
        output: OutputArguments,
    },
}

/// Carries it out.
pub(super) fn run(config: &ConfigArguments, command: &ExpungedCommand) -> anyhow::Result<()> {
    match command {
        ExpungedCommand::List { user, output } => list(config, user, output),
        ExpungedCommand::Restore { user, numbers, mailbox, output } => {
            let store = UserStore::open(config, user)?;
            let name = mailbox.as_deref().map(mailbox_name).transpose()?;
            let numbers: Vec<Uid> = numbers.iter().filter_map(|number| Uid::new(*number)).collect();
            let restored = store.dbox()?.restore_expunged(&numbers, name.as_ref()).context("bringing messages back")?;
            store.finish()?;
            let mut out = output.open();
            for (mailbox, count) in &restored {
                let text = || format!("{mailbox}: {count} messages");
                enough(out.item(text, || json!({"mailbox": mailbox.to_string(), "messages": count})))?;
            }
            out.finish()
        }
    }
}

fn list(config: &ConfigArguments, user: &str, output: &OutputArguments) -> anyhow::Result<()> {
    let store = UserStore::open(config, user)?;
    let mut out = output.open();
    for message in store.dbox()?.expunged()? {
        let (received, size) = (message.received.unwrap_or(0), message.size.unwrap_or(0));
        let (mailbox, subject) = (message.mailbox.unwrap_or_default(), message.subject.unwrap_or_default());
        let number = message.number.value();
        let text = || format!("{number}\t{received}\t{size}\t{mailbox}\t{subject}");
        let json = || {
            json!({
                "number": number,
                "received": received,
                "size": size,
                "mailbox": mailbox,
                "guid": message.guid.map(|guid| guid.to_string()),
                "subject": subject,
            })
        };
        enough(out.item(text, json))?;
    }
    out.finish()
}
