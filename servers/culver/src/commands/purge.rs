//! `culver purge`.

use anyhow::Context;
use serde_json::json;

use super::{
    output::{OutputArguments, enough},
    store::UserStore,
};
use crate::config::arguments::ConfigArguments;

/// What to purge.
#[derive(clap::Args, Debug)]
pub(crate) struct PurgeArguments {
    /// Whose mail.
    user: String,
    #[command(flatten)]
    output: OutputArguments,
}

/// Removes what no mailbox refers to any more, and tells how much that was, and which files were left as they are.
pub(super) fn run(config: &ConfigArguments, arguments: &PurgeArguments) -> anyhow::Result<()> {
    let store = UserStore::open(config, &arguments.user)?;
    let purged = store.dbox()?.purge().context("purging")?;
    store.finish()?;
    let mut out = arguments.output.open();
    let text = || {
        let (removed, copied, files, freed) = (purged.removed, purged.copied, purged.files, purged.freed);
        format!("{removed} messages removed, {copied} kept, {files} files written anew, {freed} bytes freed")
    };
    let left: Vec<_> = purged.left.iter().map(|(path, why)| json!({"path": path, "why": why})).collect();
    let json = || {
        json!({
            "removed": purged.removed,
            "kept": purged.copied,
            "files": purged.files,
            "freed": purged.freed,
            "left": left,
        })
    };
    enough(out.item(text, json))?;
    for (path, why) in &purged.left {
        tracing::warn!(path = %path.display(), "left as it is: {why}");
    }
    out.finish()
}
