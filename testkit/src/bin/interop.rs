//! The long runs beside a real Dovecot; `docs/testing.md` says how and when.

#![allow(clippy::print_stdout, reason = "its report is its output")]

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use testkit::{
    culver, dovecot,
    interop::{StoreFormat, both_at_once, hostile, kill, model, same_answers, turn_about},
    skip,
};

const USAGE: &str = "usage: interop [--format FORMAT] turn-about [changes [seed]]
       interop [--format FORMAT] both-at-once [seconds [seed]]
       interop [--format FORMAT] baseline [seconds [seed]]
       interop [--format FORMAT] kill [kills [seed]]
       interop same-answers [commands [seed]]
       interop [--format FORMAT] model [--clients N] [--seconds N] [--seed N]
       interop [--format FORMAT] hostile [--short] [NAME…]
FORMAT is sdbox, maildir or maildir-fs";

/// After so many commands that are answered differently, a run of same-answers has enough.
const DIFFERENCES_MAX: usize = 25;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut format = StoreFormat::default();
    if let Some(at) = arguments.iter().position(|argument| argument == "--format") {
        let name = arguments.drain(at..arguments.len().min(at + 2)).nth(1).unwrap_or_default();
        format = StoreFormat::named(&name).with_context(|| format!("no format {name:?}; {USAGE}"))?;
    }
    if arguments.first().is_some_and(|word| word == "model") {
        return check_model(&arguments, format);
    }
    if let Some(("hostile", names)) = arguments.split_first().map(|(word, names)| (word.as_str(), names)) {
        return attack(names, format);
    }
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let random = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000;
    let seed = number(2, random)?;
    let program = culver::program()?;
    println!("{} {:?}, {}, seed {seed}", program.display(), arguments, format.name());
    if !dovecot::is_installed() {
        skip(&format!("interop {arguments:?}"), "dovecot");
    }
    match arguments.first().map(String::as_str) {
        Some("turn-about") if dovecot::is_installed() => {
            let report = turn_about::run(&program, format, seed, number(1, 2000)? as u32)?;
            println!("{report:#?}");
        }
        Some("both-at-once") if dovecot::is_installed() => {
            let time = Duration::from_secs(number(1, 300)?);
            let ours = both_at_once::run(&program, format, seed, time, both_at_once::Mix::Half)?;
            println!("four Culver and four Dovecot processes: {ours:#?}");
            let theirs = both_at_once::run(&program, format, seed, time, both_at_once::Mix::AllDovecot)?;
            println!("eight Dovecot processes: {theirs:#?}");
            if format.is_maildir() {
                let alone = both_at_once::run(&program, format, seed, time, both_at_once::Mix::AllCulver)?;
                println!("eight Culver processes: {alone:#?}");
                ensure!(alone.broken.is_empty(), "not as it should be: {:#?}", alone.broken);
            }
            let new: Vec<_> = ours.complaints.keys().filter(|kind| !theirs.complaints.contains_key(*kind)).collect();
            println!("kinds of log lines that eight Dovecot processes do not cause: {new:#?}");
            ensure!(ours.broken.is_empty() && new.is_empty(), "not as it should be: {:#?} {new:#?}", ours.broken);
        }
        Some("baseline") if dovecot::is_installed() => {
            let time = Duration::from_secs(number(1, 300)?);
            println!("{:#?}", both_at_once::run(&program, format, seed, time, both_at_once::Mix::AllDovecot)?);
        }
        Some("kill") => {
            let report = kill::run(&program, format, seed, number(1, 200)? as u32, 10_000)?;
            println!("{report:#?}");
            ensure!(report.broken.is_empty(), "promises broken");
        }
        Some("same-answers") if dovecot::is_installed() => {
            let report = same_answers::run(&program, seed, number(1, 20_000)? as u32, DIFFERENCES_MAX)?;
            println!("{report:#?}");
            ensure!(report.differences.is_empty(), "seed {seed}: answers differ");
            ensure!(report.complaints.is_empty(), "seed {seed}: Dovecot complains");
        }
        Some("turn-about" | "both-at-once" | "baseline" | "same-answers") => {}
        _ => bail!(USAGE),
    }
    Ok(())
}

/// Clients of random work, each with its model of the session.
fn check_model(arguments: &[String], format: StoreFormat) -> anyhow::Result<()> {
    let option = |name: &str, default: u64| -> anyhow::Result<u64> {
        match arguments.iter().position(|word| word == name) {
            Some(at) => Ok(arguments.get(at + 1).context(USAGE)?.parse()?),
            None => Ok(default),
        }
    };
    let random = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000;
    let (seed, clients) = (option("--seed", random)?, option("--clients", 10)? as u32);
    let time = Duration::from_secs(option("--seconds", 600)?);
    let program = culver::program()?;
    println!("{} {arguments:?}, {}, seed {seed}", program.display(), format.name());
    let report = model::run(&program, format, clients, model::Until::Time(time), seed)?;
    println!("{report:#?}");
    Ok(())
}

/// Hostile clients, a line of figures for each kind.
fn attack(names: &[String], format: StoreFormat) -> anyhow::Result<()> {
    let scale = if names.iter().any(|name| name == "--short") { hostile::Scale::Short } else { hostile::Scale::Full };
    let names: Vec<_> = names.iter().filter(|name| *name != "--short").collect();
    let cases = hostile::cases();
    for name in &names {
        ensure!(cases.iter().any(|case| case.name == *name), "no case {name}; there are {cases:?}");
    }
    let program = culver::program()?;
    println!("{}, {}, {scale:?}", program.display(), format.name());
    println!("| case | MiB before → peak → after | CPU s of s | ann's round, ms | meanwhile, ms | what was done |");
    println!("|---|---|---|---|---|---|");
    let mut broken = Vec::new();
    for case in cases.iter().filter(|case| names.is_empty() || names.iter().any(|name| *name == case.name)) {
        match hostile::run(&program, case, format, scale) {
            Ok(figures) => println!("{figures}"),
            Err(error) => {
                println!("| {} | broken: {error:#} |", case.name);
                broken.push(case.name);
            }
        }
    }
    ensure!(broken.is_empty(), "bounds broken: {broken:?}");
    Ok(())
}
