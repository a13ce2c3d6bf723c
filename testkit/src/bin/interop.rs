//! The long runs beside a real Dovecot; `docs/testing.md` says how and when.

#![allow(clippy::print_stdout, reason = "its report is its output")]

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use testkit::{
    culver,
    dovecot::Release,
    interop::{StoreFormat, both_at_once, convert, damage, hostile, kill, model, same_answers, turn_about},
    skip,
};

const USAGE: &str = "usage: interop [--format FORMAT] [--dovecot 2.3|2.4=ROOT] RUN
       RUN is turn-about [changes [seed]]
           or both-at-once [seconds [seed]]
           or baseline [seconds [seed]]
           or kill [kills [seed]]
           or convert [messages [seed [kills]]]
           or same-answers [commands [seed]]
           or model [--clients N] [--seconds N] [--seed N]
           or damage [seed [every [words of the variants]]]
           or hostile [--short] [NAME…]";

/// After so many commands that are answered differently, a run of same-answers has enough.
const DIFFERENCES_MAX: usize = 25;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.drain(at..arguments.len().min(at + 2)).nth(1).unwrap_or_default())
    };
    let format = match option("--format") {
        Some(name) => StoreFormat::named(&name).with_context(|| format!("no format {name:?}; {}", usage()))?,
        None => StoreFormat::default(),
    };
    if let Some(release) = option("--dovecot") {
        Release::parse(&release)?.choose()?;
    }
    let dovecot = Release::chosen()?;
    let program = culver::program()?;
    println!("{} {arguments:?}, {}, {dovecot}", program.display(), format.name());
    let run = arguments.first().map(String::as_str).unwrap_or_default();
    let beside = ["turn-about", "both-at-once", "baseline", "convert", "same-answers", "damage"];
    if beside.contains(&run) && !dovecot.is_installed() {
        skip(&format!("interop {arguments:?}"), "dovecot");
        return Ok(());
    }
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let seed = || -> anyhow::Result<u64> {
        let seed = number(2, random()?)?;
        println!("seed {seed}");
        Ok(seed)
    };
    match run {
        "turn-about" => {
            let report = turn_about::run(&program, format, seed()?, number(1, 2000)? as u32)?;
            println!("{report:#?}");
        }
        "both-at-once" => at_once(&program, format, seed()?, Duration::from_secs(number(1, 300)?))?,
        "baseline" => {
            let time = Duration::from_secs(number(1, 300)?);
            println!("{:#?}", both_at_once::run(&program, format, seed()?, time, both_at_once::Mix::AllDovecot)?);
        }
        "kill" => {
            let report = kill::run(&program, format, kill::On::Disk, seed()?, number(1, 200)? as u32, 10_000)?;
            println!("{report:#?}");
            ensure!(report.broken.is_empty(), "promises broken");
        }
        "convert" => {
            let (messages, kills) = (number(1, 5000)? as u32, number(3, 12)? as u32);
            let seed = seed()?;
            let report = convert::run(&program, format, seed, messages, kills)?;
            println!("{report:#?}");
            ensure!(report.broken.is_empty(), "seed {seed}: not as it was");
        }
        "same-answers" => {
            let seed = seed()?;
            let report = same_answers::run(&program, format, seed, number(1, 20_000)? as u32, DIFFERENCES_MAX)?;
            println!("{report:#?}");
            ensure!(report.differences.is_empty(), "seed {seed}: answers differ");
            ensure!(report.complaints.is_empty(), "seed {seed}: Dovecot complains");
        }
        "damage" => {
            harm(format, number(1, 1)?, number(2, 1)? as usize, &arguments.get(3..).unwrap_or_default().join(" "))?
        }
        "model" => check_model(&program, &arguments, format)?,
        "hostile" => attack(&program, &arguments[1..], format)?,
        _ => bail!(usage()),
    }
    Ok(())
}

/// Damage, a row for each kind; takes one variant of so many.
fn harm(format: StoreFormat, seed: u64, every: usize, only: &str) -> anyhow::Result<()> {
    let report = damage::run(format, seed, every, only)?;
    println!("seed {seed}, one variant of {every}\n\n{}", report.table());
    for (what, list) in [("less than Dovecot", &report.worse), ("not repaired", &report.left)] {
        println!("{what}: {}", list.len());
        list.iter().for_each(|line| println!("  {line}"));
    }
    ensure!(report.deleted.is_empty(), "seed {seed}: messages are gone: {:#?}", report.deleted);
    let (ours, theirs) = report.totals();
    println!("in all: Culver {ours}, Dovecot {theirs}");
    ensure!(report.worse.is_empty(), "seed {seed}: Dovecot saves more of {} variants", report.worse.len());
    Ok(())
}

fn usage() -> String {
    format!("{USAGE}\nFORMAT is one of {}", StoreFormat::ALL.map(StoreFormat::name).join(", "))
}

fn random() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000)
}

/// Both together, Dovecot alone, and on a Maildir Culver alone.
fn at_once(program: &Path, format: StoreFormat, seed: u64, time: Duration) -> anyhow::Result<()> {
    let compared = both_at_once::compare(program, format, seed, time)?;
    println!("{compared}");
    println!("lost, doubled or wrong beside nobody but Dovecot: {:#?}", compared.theirs.broken);
    if format.is_maildir() {
        println!(
            "under a UID that nobody was told, by Dovecot's own account: {:#?}",
            compared.ours.misplaced_by_dovecot
        );
        println!("the same beside nobody: {:#?}", compared.theirs.misplaced_by_dovecot);
        println!("not by its own account, beside nobody: {:#?}", compared.theirs.misplaced);
    }
    if format == StoreFormat::Mbox {
        println!("of its own messages spoilt by Dovecot, beside Culver: {:#?}", compared.ours.dovecots_own);
        println!("of its own messages spoilt by Dovecot, beside nobody: {:#?}", compared.theirs.dovecots_own);
    }
    let faults = compared.faults();
    if format.is_maildir() {
        let alone = both_at_once::run(program, format, seed, time, both_at_once::Mix::AllCulver)?;
        println!("eight Culver processes: {alone:#?}");
        ensure!(alone.broken.is_empty() && alone.misplaced.is_empty(), "not as it should be: {alone:#?}");
    }
    ensure!(faults.is_empty(), "seed {seed}: not as it should be: {faults:#?}");
    Ok(())
}

/// Clients of random work, each with its model of the session.
fn check_model(program: &Path, arguments: &[String], format: StoreFormat) -> anyhow::Result<()> {
    let option = |name: &str, default: u64| -> anyhow::Result<u64> {
        match arguments.iter().position(|word| word == name) {
            Some(at) => Ok(arguments.get(at + 1).with_context(usage)?.parse()?),
            None => Ok(default),
        }
    };
    let (seed, clients) = (option("--seed", random()?)?, option("--clients", 10)? as u32);
    let time = Duration::from_secs(option("--seconds", 600)?);
    println!("seed {seed}");
    let report = model::run(program, format, clients, model::Until::Time(time), seed)?;
    println!("{report:#?}");
    Ok(())
}

/// Hostile clients, a line of figures for each kind.
fn attack(program: &Path, names: &[String], format: StoreFormat) -> anyhow::Result<()> {
    let scale = if names.iter().any(|name| name == "--short") { hostile::Scale::Short } else { hostile::Scale::Full };
    let names: Vec<_> = names.iter().filter(|name| *name != "--short").collect();
    let cases = hostile::cases();
    for name in &names {
        ensure!(cases.iter().any(|case| case.name == *name), "no case {name}; there are {cases:?}");
    }
    println!("{scale:?}");
    println!("| case | MiB before → peak → after | CPU s of s | ann's round, ms | meanwhile, ms | what was done |");
    println!("|---|---|---|---|---|---|");
    let mut broken = Vec::new();
    for case in cases.iter().filter(|case| names.is_empty() || names.iter().any(|name| *name == case.name)) {
        match hostile::run(program, case, format, scale) {
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
