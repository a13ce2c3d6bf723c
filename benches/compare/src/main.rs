//! Culver and Dovecot side by side: the same jobs on stores of their own with the same mail, by turns in one run, each
//! figure CPU and wall. One command; what it prints goes into `docs/benchmarks.md`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its report is its output")]

mod jobs;
mod measure;
mod secured;
mod servers;

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context, ensure};
use jobs::Job;
use measure::{Sample, median};
use servers::{Format, Kind, Pair};

/// Rounds of each job, Culver and Dovecot by turns.
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let mut wanted: BTreeSet<String> = std::env::args().skip(1).collect();
    let formats: Vec<String> = wanted.extract_if(.., |word| word.starts_with("--format=")).collect();
    let format = formats.last().and_then(|word| word.strip_prefix("--format=")).unwrap_or("sdbox");
    ensure!(testkit::dovecot::is_installed(), "Dovecot is not installed: there is nothing to compare with");
    let pair = Pair::start(Format::named(format)?)?;
    println!("{}", pair.describe()?);
    println!(
        "{:<46} {:>10} {:>10} {:>7}   {:>10} {:>10} {:>7}",
        "job (median of rounds)", "culver", "dovecot", "ratio", "cpu", "cpu", "ratio"
    );
    for job in jobs::all() {
        if wanted.is_empty() || wanted.iter().any(|word| job.name.contains(word.as_str())) {
            run(&pair, &job).with_context(|| job.name.to_owned())?;
        }
    }
    Ok(())
}

fn run(pair: &Pair, job: &Job) -> anyhow::Result<()> {
    (job.prepare)(pair).context("preparing")?;
    let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
    let mut answers = [None, None];
    for round in 0..=job.rounds.unwrap_or(ROUNDS) {
        for (at, kind) in [Kind::Culver, Kind::Dovecot].into_iter().enumerate() {
            let cpu = pair.cpu(kind)?;
            let began = Instant::now();
            let outcome = (job.run)(pair, kind)?;
            let wall = outcome.value.unwrap_or_else(|| began.elapsed().as_secs_f64() * 1e3);
            let cpu = (pair.cpu(kind)? - cpu) * 1e3;
            answers[at] = outcome.answers;
            // The first round warms caches on both sides and is not counted.
            if round > 0 || job.rounds == Some(0) {
                samples[at].push(Sample { wall, cpu });
            }
        }
    }
    let [ours, theirs] = samples.map(|samples| Sample {
        wall: median(samples.iter().map(|s| s.wall)),
        cpu: median(samples.iter().map(|s| s.cpu)),
    });
    let void = if answers[0] == answers[1] { "" } else { "  VOID: the answers differ" };
    let ratio = |ours: f64, theirs: f64| if ours > 0.0 { format!("{:.2}", theirs / ours) } else { "-".to_owned() };
    println!(
        "{:<46} {:>10} {:>10} {:>7}   {:>10} {:>10} {:>7}{void}",
        format!("{} [{}]", job.name, job.unit),
        format!("{:.2}", ours.wall),
        format!("{:.2}", theirs.wall),
        ratio(ours.wall, theirs.wall),
        format!("{:.0} ms", ours.cpu),
        format!("{:.0} ms", theirs.cpu),
        ratio(ours.cpu, theirs.cpu),
    );
    Ok(())
}
