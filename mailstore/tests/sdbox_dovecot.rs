//! sdbox beside a real Dovecot 2.3, its indexes with the messages and apart from them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::sync::Arc;

use beside_dovecot::Kind;
use mailstore::{
    ListLayout, ListOptions,
    sdbox::{SdboxOptions, SdboxStorage},
};

const TOGETHER: Kind = Kind {
    location: |root| format!("sdbox:{}", root.display()),
    open: |env, root| Arc::new(SdboxStorage::create(env, root, SdboxOptions::default()).unwrap()),
};

const APART: Kind = Kind {
    location: |root| {
        let (index, control) = (root.with_file_name("index"), root.with_file_name("control"));
        format!("sdbox:{}:INDEX={}:CONTROL={}", root.display(), index.display(), control.display())
    },
    open: |env, root| {
        let (index, control) = (Some(root.with_file_name("index")), Some(root.with_file_name("control")));
        let options = SdboxOptions { index, control, ..SdboxOptions::default() };
        Arc::new(SdboxStorage::create(env, root, options).unwrap())
    },
};

const BY_GUID: Kind = Kind {
    location: |root| format!("sdbox:{}:LAYOUT=index", root.display()),
    open: |env, root| {
        let list = ListOptions { layout: Some(ListLayout::Index), ..ListOptions::default() };
        Arc::new(SdboxStorage::create(env, root, SdboxOptions { list, ..SdboxOptions::default() }).unwrap())
    },
};

#[test]
fn with_names_in_the_list_index() {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&BY_GUID);
        beside_dovecot::we_read_what_dovecot_writes(&BY_GUID);
        beside_dovecot::turn_about(&BY_GUID, 100, 20_240_107, None);
    }
}

#[test]
fn dovecot_reads_what_we_write() {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&TOGETHER);
    }
}

#[test]
fn we_read_what_dovecot_writes() {
    if dovecot::is_installed() {
        beside_dovecot::we_read_what_dovecot_writes(&TOGETHER);
    }
}

#[test]
fn turn_about() {
    if dovecot::is_installed() {
        beside_dovecot::turn_about(&TOGETHER, 150, 20_240_101, None);
    }
}

#[test]
fn with_its_indexes_apart() {
    if dovecot::is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&APART);
        beside_dovecot::we_read_what_dovecot_writes(&APART);
        beside_dovecot::turn_about(&APART, 60, 20_240_103, None);
    }
}
