//! The short forms of the long runs of `docs/testing.md`: Culver and a real Dovecot on the same files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and tells its figures")]

use std::{path::Path, time::Duration};

use testkit::{
    dovecot,
    interop::{StoreFormat, both_at_once, convert, kill, model, same_answers, turn_about},
    skip,
};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_culver"))
}

fn turn_about(format: StoreFormat, seed: u64) {
    if !dovecot::is_installed() {
        return skip("changes by turns with Dovecot", "dovecot");
    }
    let report = turn_about::run(program(), format, seed, 200).unwrap();
    println!("{report:?}");
    // After each change, and once more after the forced rebuild at the end.
    assert_eq!(report.comparisons, 201);
}

#[test]
fn by_turns_with_dovecot() {
    turn_about(StoreFormat::Sdbox, 101);
}

#[test]
fn by_turns_with_dovecot_on_compressed_sdbox_with_alternate_storage() {
    turn_about(StoreFormat::SdboxZstd, 104);
    turn_about(StoreFormat::SdboxAlt, 105);
}

#[test]
fn by_turns_with_dovecot_on_mdbox() {
    turn_about(StoreFormat::Mdbox, 106);
    turn_about(StoreFormat::MdboxZstd, 107);
    turn_about(StoreFormat::MdboxAlt, 108);
}

#[test]
fn by_turns_with_dovecot_on_layout_index() {
    turn_about(StoreFormat::SdboxIndex, 109);
    turn_about(StoreFormat::MdboxIndex, 110);
}

#[test]
fn by_turns_with_dovecot_and_a_third_party_on_maildir() {
    turn_about(StoreFormat::Maildir, 102);
}

#[test]
fn by_turns_with_dovecot_and_a_third_party_on_maildir_with_layout_fs() {
    turn_about(StoreFormat::MaildirFs, 103);
}

#[test]
fn by_turns_with_dovecot_on_mbox() {
    turn_about(StoreFormat::Mbox, 108);
}

/// A minute for each format, and less for what differs from it in the layout.
const AT_ONCE: Duration = Duration::from_secs(60);
const AT_ONCE_SHORT: Duration = Duration::from_secs(20);

fn at_once(format: StoreFormat, seed: u64, time: Duration) {
    if !dovecot::is_installed() {
        return skip("changes at once with Dovecot", "dovecot");
    }
    let ours = both_at_once::run(program(), format, seed, time, both_at_once::Mix::Half).unwrap();
    println!("seed {seed}: {ours:?}");
    assert!(ours.commands > 100, "hardly anything was done");
    let theirs = match ours.needs_comparison() {
        true => both_at_once::run(program(), format, seed, time, both_at_once::Mix::AllDovecot).unwrap(),
        false => both_at_once::Report::default(),
    };
    let compared = both_at_once::Compared { ours, theirs };
    println!("{compared}");
    let faults = compared.faults();
    assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
}

#[test]
fn at_once_with_dovecot() {
    at_once(StoreFormat::Sdbox, 201, AT_ONCE);
}

#[test]
fn at_once_with_dovecot_on_mdbox() {
    at_once(StoreFormat::Mdbox, 204, AT_ONCE);
}

#[test]
fn at_once_with_dovecot_on_alternate_storage() {
    at_once(StoreFormat::MdboxAlt, 205, AT_ONCE_SHORT);
}

#[test]
fn at_once_with_dovecot_on_layout_index() {
    at_once(StoreFormat::SdboxIndex, 206, AT_ONCE_SHORT);
}

#[test]
fn at_once_with_a_third_party_that_renames_everything_on_maildir() {
    let mix = both_at_once::Mix::AllCulver;
    let report = both_at_once::run(program(), StoreFormat::MaildirFs, 203, AT_ONCE_SHORT, mix).unwrap();
    println!("{report:?}");
    assert!(report.broken.is_empty() && report.misplaced.is_empty(), "{report:#?}");
}

#[test]
fn at_once_with_dovecot_and_a_third_party_on_maildir() {
    at_once(StoreFormat::Maildir, 202, AT_ONCE);
}

#[test]
fn at_once_with_dovecot_on_mbox() {
    at_once(StoreFormat::Mbox, 207, AT_ONCE);
}

fn killed(format: StoreFormat, seed: u64) {
    if !dovecot::is_installed() {
        skip("opening a killed server's store with Dovecot", "dovecot");
    }
    let report = kill::run(program(), format, kill::On::Memory, seed, 12, 2_000).unwrap();
    println!("seed {seed}: {report:?}");
    assert!(report.acknowledged > 0 && report.stores > 0, "the load did nothing: {report:?}");
    assert!(report.broken.is_empty(), "seed {seed}: {:#?}", report.broken);
}

#[test]
fn killed_under_load() {
    killed(StoreFormat::Sdbox, 301);
}

#[test]
fn killed_under_load_on_mdbox() {
    killed(StoreFormat::Mdbox, 303);
}

#[test]
fn killed_under_load_on_layout_index() {
    killed(StoreFormat::MdboxIndex, 304);
}

#[test]
fn killed_under_load_on_maildir() {
    killed(StoreFormat::Maildir, 302);
}

#[test]
fn killed_under_load_on_mbox() {
    killed(StoreFormat::Mbox, 308);
}

fn agree_with_their_models(format: StoreFormat, seed: u64) {
    let report = model::run(program(), format, 6, model::Until::Commands(120), seed).unwrap();
    println!("{report:?}");
    assert!(report.commands >= 600 && report.resynchronized > 0, "hardly anything was done: {report:?}");
}

/// The same work in every run; what of it happens at the same time is the machine's.
#[test]
fn sessions_agree_with_their_models() {
    agree_with_their_models(StoreFormat::Sdbox, 20_260_101);
}

#[test]
fn sessions_on_mdbox_agree_with_their_models() {
    agree_with_their_models(StoreFormat::Mdbox, 20_260_103);
}

#[test]
fn sessions_on_maildir_agree_with_their_models() {
    agree_with_their_models(StoreFormat::Maildir, 20_260_102);
}

#[test]
fn sessions_on_mbox_agree_with_their_models() {
    agree_with_their_models(StoreFormat::Mbox, 20_260_108);
}

/// Killed so often on the way to sdbox, and so often on the way back.
const CONVERSION_KILLS: u32 = 3;

fn converted_while_killed(format: StoreFormat, seed: u64) {
    if !dovecot::is_installed() {
        return skip("conversions looked at with Dovecot", "dovecot");
    }
    let report = convert::run(program(), format, seed, 240, CONVERSION_KILLS).unwrap();
    println!("seed {seed}: {report:?}");
    assert!(report.messages > 200 && report.kills == 2 * CONVERSION_KILLS, "{report:?}");
    assert!(report.broken.is_empty(), "seed {seed}: {:#?}", report.broken);
}

#[test]
fn conversions_of_mdbox_are_killed_and_go_on() {
    converted_while_killed(StoreFormat::Mdbox, 401);
}

#[test]
fn conversions_of_maildir_are_killed_and_go_on() {
    converted_while_killed(StoreFormat::Maildir, 402);
}

#[test]
fn conversions_of_mbox_are_killed_and_go_on() {
    converted_while_killed(StoreFormat::Mbox, 403);
}

/// The same commands in every run.
#[test]
fn the_same_answers_as_dovecot() {
    if !dovecot::is_installed() {
        return skip("answers compared with Dovecot's", "dovecot");
    }
    let report = same_answers::run(program(), StoreFormat::Sdbox, 3, 400, 3).unwrap();
    println!("{:?} {:?}", report.commands, report.allowed);
    assert!(report.responses > 400, "hardly anything was answered: {report:?}");
    assert!(report.differences.is_empty(), "{:#?}", report.differences);
    assert!(report.complaints.is_empty(), "{:#?}", report.complaints);
}
