//! A short form of the damage runs (`interop damage`): after Culver's repair there is never less than after Dovecot's, and
//! no message is nowhere.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and says what it saw")]

use testkit::{
    dovecot,
    interop::{StoreFormat, damage},
    skip,
};

/// The same variants in every run.
fn damaged(format: StoreFormat) {
    if !dovecot::is_installed() {
        return skip("repairs compared with Dovecot's", "dovecot");
    }
    let report = damage::run(format, 1, 25, "").unwrap();
    println!("{}", report.table());
    let tried: u32 = report.rows.values().map(|row| row.variants).sum();
    assert!(tried >= 8, "hardly anything was tried");
    assert!(report.deleted.is_empty(), "{:#?}", report.deleted);
    assert!(report.worse.is_empty(), "less than Dovecot brings back: {:#?}", report.worse);
}

#[test]
fn damage_to_sdbox() {
    damaged(StoreFormat::Sdbox);
}

#[test]
fn damage_to_maildir() {
    damaged(StoreFormat::Maildir);
}

#[test]
fn damage_to_maildir_with_layout_fs() {
    damaged(StoreFormat::MaildirFs);
}

#[test]
fn damage_to_mdbox() {
    damaged(StoreFormat::Mdbox);
}
