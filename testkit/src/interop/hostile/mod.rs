//! Clients that mean harm, each kind against a server of its own: what they cost it in memory and computing, and how a
//! well-behaved client fares meanwhile. `docs/hostile-clients.md` has the figures.

mod compress;
mod connections;
mod literals;
mod mail;
mod others;
mod search;
mod slow;
mod victim;

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::StoreFormat;
pub use victim::Victim;

/// How much of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scale {
    /// Few clients and small stores: for every run of the tests.
    Short,
    /// The figures of the document.
    Full,
}

impl Scale {
    /// One of two counts.
    pub(crate) fn of(self, short: usize, full: usize) -> usize {
        if self == Self::Full { full } else { short }
    }
}

/// One kind of attack.
#[derive(Clone, Copy)]
pub struct Case {
    /// As on the command line.
    pub name: &'static str,
    /// By how much the server's memory may grow at the most, in MiB, at each scale.
    growth_max_mib: [u64; 2],
    /// Settings that it needs.
    settings: &'static [&'static str],
    /// What must lie there before.
    prepare: fn(&Victim, Scale) -> anyhow::Result<()>,
    /// The attack; it fails where an answer is not as it must be, and tells what it did.
    attack: fn(&Victim, Scale) -> anyhow::Result<String>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a case cost.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The case.
    pub name: &'static str,
    /// What the attack did and was told.
    pub told: String,
    /// Resident memory before, at the peak and after, in KiB.
    pub memory_kib: [u64; 3],
    /// What the server computed during the attack, and how long that took.
    pub cpu: Duration,
    /// See `cpu`.
    pub took: Duration,
    /// The well-behaved client's median round before the attack.
    pub round_before: Duration,
    /// Its median and its longest round meanwhile.
    pub round_meanwhile: [Duration; 2],
    /// Its rounds meanwhile.
    pub rounds: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, peak, after] = self.memory_kib.map(|kib| kib / 1024);
        let ms = |time: Duration| time.as_millis();
        let [median, longest] = self.round_meanwhile;
        write!(
            f,
            "| {} | {before} → {peak} → {after} | {:.1} of {:.1} | {} | {} ({} rounds, longest {}) | {} |",
            self.name,
            self.cpu.as_secs_f64(),
            self.took.as_secs_f64(),
            ms(self.round_before),
            ms(median),
            self.rounds,
            ms(longest),
            self.told
        )
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    [connections::CASES, slow::CASES, literals::CASES, compress::CASES, search::CASES, mail::CASES, others::CASES]
        .concat()
}

/// Runs a case; an error where a bound is broken.
pub fn run(program: &Path, case: &Case, format: StoreFormat, scale: Scale) -> anyhow::Result<Figures> {
    raise_open_files()?;
    let context = || format!("hostile clients: {}", case.name);
    measured(program, case, format, scale).with_context(context)
}

fn measured(program: &Path, case: &Case, format: StoreFormat, scale: Scale) -> anyhow::Result<Figures> {
    let victim = Victim::start(program, format, case.settings)?;
    (case.prepare)(&victim, scale)?;
    let baseline = victim.rounds_alone(ROUNDS_BEFORE)?;
    victim.forget_peak()?;
    let (before, cpu_before) = (victim.memory_kib("VmRSS")?, victim.cpu()?);
    let start = std::time::Instant::now();
    let (told, meanwhile) = victim.meanwhile(|| (case.attack)(&victim, scale))?;
    let (took, cpu) = (start.elapsed(), victim.cpu()?.saturating_sub(cpu_before));
    let peak = victim.memory_kib("VmHWM")?;
    victim.check_alive()?;
    let figures = Figures {
        name: case.name,
        told,
        memory_kib: [before, peak, victim.memory_kib("VmRSS")?],
        cpu,
        took,
        round_before: median(baseline),
        round_meanwhile: [median(meanwhile.clone()), meanwhile.iter().max().copied().unwrap_or_default()],
        rounds: meanwhile.len(),
    };
    let growth_max = case.growth_max_mib[scale.of(0, 1)] * 1024;
    ensure!(peak.saturating_sub(before) <= growth_max, "memory grew by more than {growth_max} KiB: {figures}");
    ensure!(figures.rounds > 0, "nobody else was served meanwhile: {figures}");
    ensure!(
        scale == Scale::Short || figures.round_meanwhile[1] <= ROUND_MAX,
        "somebody else waited longer than {ROUND_MAX:?}: {figures}"
    );
    Ok(figures)
}

/// Rounds of the well-behaved client before the attack.
const ROUNDS_BEFORE: usize = 5;
/// The longest that its round may take during one, at full scale.
const ROUND_MAX: Duration = Duration::from_secs(10);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The attackers' sockets are this process's files; the server raises its own limit.
fn raise_open_files() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
