//! `culver search`.

use mailstore::{ViewAs, search::search};
use serde_json::json;

use super::{
    output::{OutputArguments, enough},
    query::search_key,
    store::UserStore,
};
use crate::config::arguments::ConfigArguments;

/// Where to look, and what for.
#[derive(clap::Args, Debug)]
pub(crate) struct SearchArguments {
    /// Whose mail.
    user: String,
    /// The mailbox.
    mailbox: String,
    /// IMAP's SEARCH keys, such as `UNSEEN FROM bob SINCE 1-Jan-2024`.
    query: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Prints the UIDs of the messages that match, one a line.
pub(super) fn run(config: &ConfigArguments, arguments: &SearchArguments) -> anyhow::Result<()> {
    let key = search_key(&arguments.query)?;
    let store = UserStore::open(config, &arguments.user)?;
    let view = store.mailbox(&arguments.mailbox)?.view(&ViewAs::default())?;
    let found = search(key, &*view)?;
    view.flush_cache();
    let mut out = arguments.output.open();
    for uid in found.iter() {
        enough(out.item(|| uid.to_string(), || json!(uid.value())))?;
    }
    out.finish()
}
