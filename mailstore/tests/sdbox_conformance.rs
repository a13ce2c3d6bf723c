//! sdbox does what every backend must do, with its indexes beside the messages and apart from them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod conformance;
mod on_disk;

use std::{path::Path, sync::Arc};

use mailindex::engine::Env;
use mailstore::{
    ListLayout, ListOptions, MailStorage,
    sdbox::{SdboxOptions, SdboxStorage},
};

fn create(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    Arc::new(SdboxStorage::create(env, root, SdboxOptions::default()).unwrap())
}

/// INDEX= and CONTROL= set.
fn create_apart(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let (index, control) = (Some(root.with_extension("index")), Some(root.with_extension("control")));
    Arc::new(SdboxStorage::create(env, root, SdboxOptions { index, control, ..SdboxOptions::default() }).unwrap())
}

/// Names in the list index.
fn create_by_guid(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
    Arc::new(SdboxStorage::create(env, root, SdboxOptions { list, ..SdboxOptions::default() }).unwrap())
}

/// And indexes apart.
fn create_by_guid_apart(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
    let (index, control) = (Some(root.with_extension("index")), Some(root.with_extension("control")));
    Arc::new(SdboxStorage::create(env, root, SdboxOptions { index, control, list, ..SdboxOptions::default() }).unwrap())
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
    on_disk::on_the_real_disk(create_by_guid, &[]);
    on_disk::on_a_simulated_disk(create_by_guid, &[]);
    on_disk::behaves_like_the_model(create_by_guid);
    on_disk::on_a_simulated_disk(create_by_guid_apart, &[]);
    on_disk::behaves_like_the_model(create_by_guid_apart);
}
