//! Maildir does what every backend must do, with its indexes beside the messages and apart from them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod conformance;
mod on_disk;

use std::{path::Path, sync::Arc};

use mailindex::engine::Env;
use mailstore::{
    ListLayout, ListOptions, MailStorage,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
};

fn create_in(env: &Env, root: &Path, places: &MaildirPlaces) -> Arc<dyn MailStorage> {
    Arc::new(MaildirStorage::create(env, root, places, MaildirOptions::default()).unwrap())
}

fn create(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    create_in(env, root, &MaildirPlaces::default())
}

/// INDEX= and CONTROL= set.
fn create_apart(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let (index, control) = (Some(root.with_extension("index")), Some(root.with_extension("control")));
    create_in(env, root, &MaildirPlaces { index, control, ..MaildirPlaces::default() })
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
fn with_names_in_the_list_index() {
    let create = |env: &Env, root: &Path| {
        let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
        create_in(env, root, &MaildirPlaces { list, ..MaildirPlaces::default() })
    };
    on_disk::on_the_real_disk(create, &[]);
    on_disk::on_a_simulated_disk(create, &[]);
    on_disk::behaves_like_the_model(create);
}
