//! mdbox does what every backend must do, with its indexes beside the messages and apart from them, and whether its files
//! are large or hold hardly one message.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod conformance;
mod on_disk;

use std::{path::Path, sync::Arc};

use mailindex::engine::Env;
use mailstore::{
    MailStorage,
    mdbox::{MdboxOptions, MdboxStorage},
};

fn create(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    Arc::new(MdboxStorage::create(env, root, MdboxOptions::default()).unwrap())
}

/// INDEX= and CONTROL= set.
fn create_apart(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let (index, control) = (Some(root.with_extension("index")), Some(root.with_extension("control")));
    Arc::new(MdboxStorage::create(env, root, MdboxOptions { index, control, ..MdboxOptions::default() }).unwrap())
}

/// Most messages become files of their own.
fn create_small(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let options = MdboxOptions { rotate_size: 1000, ..MdboxOptions::default() };
    Arc::new(MdboxStorage::create(env, root, options).unwrap())
}

#[test]
fn on_the_real_disk() {
    on_disk::on_the_real_disk(create, &[]);
}

#[test]
fn on_a_simulated_disk() {
    on_disk::on_a_simulated_disk(create, &[]);
}

#[test]
fn behaves_like_the_model() {
    on_disk::behaves_like_the_model(create);
}

#[test]
fn with_its_indexes_apart() {
    on_disk::on_a_simulated_disk(create_apart, &[]);
    on_disk::behaves_like_the_model(create_apart);
}

#[test]
fn with_small_files() {
    on_disk::on_a_simulated_disk(create_small, &[]);
    on_disk::behaves_like_the_model(create_small);
}
