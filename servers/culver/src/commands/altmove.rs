//! `culver altmove`.

use anyhow::Context;
use mailstore::{ViewAs, dbox::MoveTo, search::search};
use serde_json::json;

use super::{
    output::{OutputArguments, enough},
    query::search_key,
    store::{UserStore, mailbox_name},
};
use crate::config::arguments::ConfigArguments;

/// What to move.
#[derive(clap::Args, Debug)]
pub(crate) struct AltmoveArguments {
    /// Whose mail.
    user: String,
    /// The mailbox.
    mailbox: String,
    /// IMAP's SEARCH keys, such as `BEFORE 1-Jan-2024`.
    query: Vec<String>,
    /// Back to where new messages come.
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// Moves the messages that match, and prints the UIDs of those that lay in the other storage, one a line.
pub(super) fn run(config: &ConfigArguments, arguments: &AltmoveArguments) -> anyhow::Result<()> {
    let key = search_key(&arguments.query)?;
    let store = UserStore::open(config, &arguments.user)?;
    let view = store.mailbox(&arguments.mailbox)?.view(&ViewAs::default())?;
    let found = search(key, &*view)?;
    view.flush_cache();
    let to = if arguments.back { MoveTo::Primary } else { MoveTo::Alternate };
    let mailbox = mailbox_name(&arguments.mailbox)?;
    let moved = store.dbox()?.move_messages(&mailbox, &found, to).context("moving messages")?;
    store.finish()?;
    let mut out = arguments.output.open();
    for uid in moved.moved.iter() {
        enough(out.item(|| uid.to_string(), || json!(uid.value())))?;
    }
    out.finish()
}
