//! mbox does what every backend must do, with its indexes beside the files and apart from them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod conformance;
mod on_disk;

use std::{path::Path, sync::Arc};

use mailindex::engine::Env;
use mailstore::{
    ListOptions, MailStorage,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};

/// A name is a folder or a file, a body ends with a line end, and the identity of a message follows from its header. What
/// mbox does there is checked in `mbox_store.rs`.
const BUT: [&str; 9] = [
    "levels lead to mailboxes",
    "list patterns",
    "a deleted mailbox's children stay",
    "a rename keeps all but the name",
    "bodies come back with CRLF however they were cut",
    "columns tell what was saved",
    "a message with NUL bytes is kept where that is asked for",
    "an odd message is a message",
    "what POP3 knew of a message is kept or not there",
];

fn create_in(env: &Env, root: &Path, places: &MboxPlaces) -> Arc<dyn MailStorage> {
    Arc::new(MboxStorage::create(env, root, places, MboxOptions::default()).unwrap())
}

fn create(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    create_in(env, root, &MboxPlaces::default())
}

/// INBOX=, INDEX= and CONTROL= set.
fn create_apart(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let [inbox, index, control] = ["inbox", "index", "control"].map(|name| Some(root.with_extension(name)));
    create_in(env, root, &MboxPlaces { index, control, list: ListOptions { inbox, ..ListOptions::default() } })
}

#[test]
fn on_the_real_disk() {
    on_disk::on_the_real_disk(create, &BUT);
}

#[test]
fn on_a_simulated_disk() {
    on_disk::on_a_simulated_disk(create, &BUT);
}

#[test]
fn behaves_like_the_model() {
    on_disk::behaves_like_the_model(create);
}

#[test]
fn with_its_indexes_apart() {
    on_disk::on_a_simulated_disk(create_apart, &BUT);
    on_disk::behaves_like_the_model(create_apart);
}
