//! Culver and Dovecot side by side: the same jobs on stores of their own with the same mail, by turns in one run, each
//! figure CPU and wall. One command; what it prints goes into `docs/benchmarks.md`.
//!
//! A row is printed when it is done. One that fails, or whose answers differ, says so and the others go on; the run then ends
//! with an error.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its report is its output")]

mod jobs;
mod measure;
mod secured;
mod servers;

use std::{io::Write, time::Instant};

use anyhow::{Context, ensure};
use jobs::Job;
use measure::{Sample, load, median};
use servers::{Format, Kind, Pair, Stores};

const USAGE: &str = "there are --format=sdbox|mdbox|maildir|mbox, --crlf (bodies keep their CRLF), --zstd (bodies are \
                     compressed) and --rounds=NUMBER";

/// Rounds of each job, Culver and Dovecot by turns.
const ROUNDS: usize = 5;

/// What the command line asks for.
struct Asked {
    stores: Stores,
    rounds: usize,
    /// Parts of the names of rows; none is all rows.
    rows: Vec<String>,
}

impl Asked {
    fn parse(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let stores = Stores { format: Format::Sdbox, crlf: false, zstd: false };
        let mut asked = Self { stores, rounds: ROUNDS, rows: Vec::new() };
        for word in words {
            match word.split_once('=') {
                Some(("--format", name)) => asked.stores.format = Format::named(name)?,
                Some(("--rounds", number)) => asked.rounds = number.parse().context("--rounds")?,
                _ if word == "--crlf" => asked.stores.crlf = true,
                _ if word == "--zstd" => asked.stores.zstd = true,
                _ => {
                    ensure!(!word.starts_with("--"), "{word}: {USAGE}");
                    asked.rows.push(word);
                }
            }
        }
        ensure!(asked.rounds > 0, "no rounds, no figures");
        Ok(asked)
    }

    fn wants(&self, job: &Job) -> bool {
        let is_named = self.rows.iter().any(|word| job.name.contains(word.as_str()));
        (is_named || self.rows.is_empty() && !job.on_request)
            && (job.formats.is_empty() || job.formats.contains(&self.stores.format))
    }
}

fn main() -> anyhow::Result<()> {
    let asked = Asked::parse(std::env::args().skip(1))?;
    ensure!(testkit::dovecot::is_installed(), "Dovecot is not installed: there is nothing to compare with");
    let began = Instant::now();
    let pair = Pair::start(asked.stores)?;
    println!("{}; load {}\n", pair.describe()?, load()?);
    println!("| job | Culver | Dovecot | ratio | CPU Culver | CPU Dovecot | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut failed = Vec::new();
    let mut rows = 0;
    for job in jobs::all().iter().filter(|job| asked.wants(job)) {
        rows += 1;
        let since = Instant::now();
        match run(&pair, job, asked.rounds) {
            Ok(row) => {
                println!("{}", row.text);
                if row.void {
                    failed.push(format!("{}: the answers differ", job.name));
                }
            }
            Err(error) => {
                println!("| {} | FAILED: {error:#} |", job.name);
                failed.push(format!("{}: {error:#}", job.name));
            }
        }
        std::io::stdout().flush()?;
        eprintln!("({:.1} s: {})", since.elapsed().as_secs_f64(), job.name);
    }
    println!("\n{rows} rows in {:.0} s; load {}", began.elapsed().as_secs_f64(), load()?);
    ensure!(rows > 0, "no row is called like that");
    ensure!(failed.is_empty(), "{} rows without a figure:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// A row as it is printed.
struct Row {
    text: String,
    void: bool,
}

fn run(pair: &Pair, job: &Job, rounds: usize) -> anyhow::Result<Row> {
    (job.prepare)(pair).context("preparing")?;
    // For whoever wants to look on: `perf record -g -p PID`.
    eprintln!("({}: prepared, culver is process {})", job.name, pair.root_pid(Kind::Culver)?);
    let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
    let mut void = false;
    for round in 0..=job.rounds.unwrap_or(rounds) {
        let mut answers = [None, None];
        for (at, kind) in [Kind::Culver, Kind::Dovecot].into_iter().enumerate() {
            let cpu = pair.cpu(kind)?;
            let (mut wall, mut cpu_of_commands) = (0.0, None);
            for _ in 0..job.repeats {
                let began = Instant::now();
                let outcome = (job.run)(pair, kind).with_context(|| format!("{kind:?}"))?;
                wall += outcome.value.unwrap_or_else(|| began.elapsed().as_secs_f64() * 1e3);
                cpu_of_commands = outcome.cpu.map(|cpu| cpu + cpu_of_commands.unwrap_or(0.0));
                answers[at] = outcome.answers;
            }
            let times = job.repeats as f64;
            let cpu = cpu_of_commands.map_or_else(|| Ok((pair.cpu(kind)? - cpu) * 1e3), anyhow::Ok)?;
            // The first round warms caches on both sides and is not counted.
            if round > 0 || job.rounds == Some(0) {
                samples[at].push(Sample { wall: wall / times, cpu: cpu / times });
            }
        }
        void |= answers[0] != answers[1];
    }
    let [ours, theirs] = samples.map(|samples| Sample {
        wall: median(samples.iter().map(|s| s.wall)),
        cpu: median(samples.iter().map(|s| s.cpu)),
    });
    let ratio = |ours: f64, theirs: f64| if ours > 0.0 { format!("{:.2}", theirs / ours) } else { "-".to_owned() };
    let unit = job.unit;
    let text = format!(
        "| {} | {:.2} {unit} | {:.2} {unit} | {} | {:.1} ms | {:.1} ms | {} |{}",
        job.name,
        ours.wall,
        theirs.wall,
        ratio(ours.wall, theirs.wall),
        ours.cpu,
        theirs.cpu,
        ratio(ours.cpu, theirs.cpu),
        if void { " VOID: the answers differ |" } else { "" },
    );
    Ok(Row { text, void })
}
