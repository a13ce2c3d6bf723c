//! `culver mailbox`.

use anyhow::Context;
use clap::Subcommand;
use mailstore::{ListPattern, Status, mailtypes::MailboxName};
use serde_json::json;

use super::{
    output::{OutputArguments, enough, printable},
    store::{UserStore, mailbox_name},
};
use crate::config::arguments::ConfigArguments;

/// What to do with mailboxes.
#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// List mailboxes.
    List {
        /// Whose.
        user: String,
        /// Which, as IMAP's LIST has patterns.
        #[arg(default_value = "*")]
        pattern: String,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Show counts, UIDs and sizes of mailboxes.
    Status {
        /// Whose.
        user: String,
        /// Which, as IMAP's LIST has patterns.
        #[arg(default_value = "*")]
        pattern: String,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Make a mailbox.
    Create {
        /// Whose.
        user: String,
        /// Its name, levels separated by `/`.
        name: String,
    },
    /// Rename a mailbox and all below it.
    Rename {
        /// Whose.
        user: String,
        /// The name it has.
        from: String,
        /// The name it gets.
        to: String,
    },
    /// Delete a mailbox with its messages. What lies below it stays.
    Delete {
        /// Whose.
        user: String,
        /// Its name.
        name: String,
    },
}

pub(super) fn run(config: &ConfigArguments, command: &MailboxCommand) -> anyhow::Result<()> {
    match command {
        MailboxCommand::List { user, pattern, output } => list(&UserStore::open(config, user)?, pattern, *output),
        MailboxCommand::Status { user, pattern, output } => status(&UserStore::open(config, user)?, pattern, *output),
        MailboxCommand::Create { user, name } => {
            let store = UserStore::open(config, user)?;
            store.storage.create(&mailbox_name(name)?)?;
            store.finish()
        }
        MailboxCommand::Rename { user, from, to } => {
            let store = UserStore::open(config, user)?;
            store.storage.rename(&mailbox_name(from)?, &mailbox_name(to)?)?;
            store.finish()
        }
        MailboxCommand::Delete { user, name } => {
            let store = UserStore::open(config, user)?;
            store.storage.delete(&mailbox_name(name)?)?;
            store.finish()
        }
    }
}

fn parsed(pattern: &str) -> anyhow::Result<ListPattern> {
    ListPattern::new(pattern).context("the pattern is too long")
}

fn list(store: &UserStore, pattern: &str, output: OutputArguments) -> anyhow::Result<()> {
    let subscribed = store.storage.subscriptions()?;
    let mut out = output.open();
    for info in store.storage.list(&parsed(pattern)?)? {
        let is_subscribed = subscribed.contains(&info.name);
        let text = || {
            let notes: Vec<_> = [(!info.selectable, "no messages"), (is_subscribed, "subscribed")]
                .into_iter()
                .filter_map(|(holds, note)| holds.then_some(note))
                .collect();
            let notes = if notes.is_empty() { String::new() } else { format!("\t({})", notes.join(", ")) };
            format!("{}{notes}", info.name)
        };
        let json = || {
            json!({
                "name": info.name.as_str(),
                "selectable": info.selectable,
                "has_children": info.has_children,
                "subscribed": is_subscribed,
            })
        };
        enough(out.item(text, json))?;
    }
    out.finish()
}

fn status(store: &UserStore, pattern: &str, output: OutputArguments) -> anyhow::Result<()> {
    let mut out = output.open();
    for info in store.storage.list(&parsed(pattern)?)?.into_iter().filter(|info| info.selectable) {
        let mailbox = store.storage.mailbox(&info.name)?;
        let (status, size) = (mailbox.status()?, mailbox.size()?);
        let guid = mailbox.guid().to_string();
        enough(out.item(|| line(&info.name, &status, size), || value(&info.name, &status, size, &guid)))?;
    }
    out.finish()
}

fn line(name: &MailboxName, status: &Status, size: u64) -> String {
    let Status { messages, unseen, uid_next, uid_validity, highest_modseq, .. } = status;
    format!(
        "{}\tmessages {messages}\tunseen {unseen}\tsize {size}\tuidnext {uid_next}\tuidvalidity {uid_validity}\t\
         highestmodseq {highest_modseq}",
        printable(name.as_str())
    )
}

fn value(name: &MailboxName, status: &Status, size: u64, guid: &str) -> serde_json::Value {
    json!({
        "name": name.as_str(),
        "guid": guid,
        "messages": status.messages,
        "recent": status.recent,
        "unseen": status.unseen,
        "deleted": status.deleted,
        "size": size,
        "uid_next": status.uid_next.value(),
        "uid_validity": status.uid_validity.value(),
        "highest_modseq": status.highest_modseq.value(),
    })
}
