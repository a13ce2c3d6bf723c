//! Has a real Dovecot write the stores of `testkit/fixtures`; their README says what is in them.

#![allow(clippy::print_stdout, reason = "its report is its output")]

use std::path::Path;

use anyhow::{Context, ensure};
use testkit::{
    dovecot::Release,
    fixtures::write::{KINDS, write},
};

const USAGE: &str = "usage: write_fixtures 2.4=ROOT FOLDER [NAME…]";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [release, folder, names @ ..] = &arguments[..] else { anyhow::bail!(USAGE) };
    let release = Release::parse(release)?;
    ensure!(matches!(release, Release::V2_4 { .. }), "those of 2.3 are there already; {USAGE}");
    release.choose()?;
    for kind in KINDS.iter().filter(|kind| names.is_empty() || names.iter().any(|name| name == kind.name)) {
        let written = write(kind, Path::new(folder)).with_context(|| kind.name)?;
        println!("{}: {written}", kind.name);
    }
    Ok(())
}
