//! Tries a piece of work against every power cut and every failing call, and asks a check what it thinks of what is left.
//!
//! The work writes down what it has promised ([`Acks`]); the check opens what was left, and says whether all promises hold.
//! Work with one thread is repeated exactly, so that a broken state can be found again by the numbers it is reported by.

use std::{
    any::Any,
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    crash::CrashChoice,
    disk::SimDisk,
    fault::{CallKind, Fault},
};
use crate::FileSystem;

/// Any error of the work or the check.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the work has promised so far, in its own words. Survives the work's failure.
#[derive(Debug)]
pub struct Acks<A>(Mutex<Vec<A>>);

impl<A: Clone> Acks<A> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// To be called right after the promise was given (or right before a step, for a check that wants to know what was
    /// under way).
    pub fn push(&self, ack: A) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ack);
    }

    fn all(&self) -> Vec<A> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Cuts the power during each call that changes something or syncs.
///
/// ```
/// use std::path::Path;
///
/// use mailfs::{FileSystemExt, sim::{Acks, CrashRunner}};
///
/// let report = CrashRunner::default().run(
///     |disk| disk.write_atomic(Path::new("/state"), b"old", 0o600, true).expect("a new disk"),
///     |fs, acks: &Acks<&str>| {
///         fs.write_atomic(Path::new("/state"), b"new", 0o600, true)?;
///         acks.push("new");
///         Ok(())
///     },
///     |disk, acks| match (&*disk.read_all(Path::new("/state"), 99)?, acks) {
///         (b"new", _) | (b"old", []) => Ok(()),
///         (other, _) => Err(format!("{other:?} after {acks:?}").into()),
///     },
/// );
/// assert!(report.is_sound(), "{report}");
/// ```
#[derive(Clone, Debug)]
pub struct CrashRunner {
    /// What becomes of what was not synced; each is tried at each point.
    pub choices: Vec<CrashChoice>,
    /// Every how many calls the power is cut; 1 is all.
    pub stride: u64,
    /// How many points at most.
    pub points_max: u64,
    /// After so many broken states the run ends.
    pub broken_max: usize,
    /// Nothing but this point and choice, to look at one that was reported.
    pub only: Option<(u64, CrashChoice)>,
}

impl Default for CrashRunner {
    fn default() -> Self {
        Self { choices: CrashChoice::list(4), stride: 1, points_max: u64::MAX, broken_max: 20, only: None }
    }
}

/// What a [`CrashRunner`] found.
#[derive(Clone, Debug, Default)]
pub struct CrashReport {
    /// Calls during which the power was cut, and once after the last.
    pub points: u64,
    /// Different states that were checked.
    pub states: u64,
    /// What did not hold, with the point and the choice.
    pub broken: Vec<String>,
}

/// Lets each call fail.
#[derive(Clone, Debug)]
pub struct FaultRunner {
    /// How.
    pub faults: Vec<Fault>,
    /// A run that makes so many calls after the failing one is taken to hang. Waiting for a lock in vain makes 200 a second
    /// of the disk's clock.
    pub extra_calls_max: u64,
    /// Besides what the work left behind, check what a power cut thereafter leaves.
    pub then_crash: Vec<CrashChoice>,
    /// After so many broken states the run ends.
    pub broken_max: usize,
}

impl Default for FaultRunner {
    fn default() -> Self {
        Self {
            faults: Fault::ALL.to_vec(),
            extra_calls_max: 1_000_000,
            then_crash: vec![CrashChoice::DropAll],
            broken_max: 20,
        }
    }
}

/// What a [`FaultRunner`] found.
#[derive(Clone, Debug, Default)]
pub struct FaultReport {
    /// Calls that were made to fail, each fault and each of once and lasting counted.
    pub points: u64,
    /// Different states that were checked.
    pub states: u64,
    /// What did not hold, with the call and the fault.
    pub broken: Vec<String>,
}

type Work<'a, A> = dyn Fn(Arc<dyn FileSystem>, &Acks<A>) -> Result<(), BoxError> + 'a;
type Check<'a, A> = dyn Fn(&SimDisk, &[A]) -> Result<(), BoxError> + 'a;

/// The work and the check, and what has been seen of it.
struct Trial<'a, A> {
    base: SimDisk,
    work: &'a Work<'a, A>,
    check: &'a Check<'a, A>,
    seen: HashSet<(u64, u64)>,
    states: u64,
    broken: Vec<String>,
}

impl<'a, A: Clone + Hash> Trial<'a, A> {
    fn new(setup: &dyn Fn(&SimDisk), work: &'a Work<'a, A>, check: &'a Check<'a, A>) -> Self {
        let base = SimDisk::new();
        setup(&base);
        base.sync_all();
        Self { base, work, check, seen: HashSet::new(), states: 0, broken: Vec::new() }
    }

    /// What the work promised, and how it ended; a panic is broken in any case.
    fn run_work(&mut self, disk: &SimDisk, at: &dyn fmt::Display) -> (Vec<A>, Result<(), BoxError>) {
        let acks = Acks::new();
        let ended = catch_unwind(AssertUnwindSafe(|| (self.work)(disk.as_file_system(), &acks)));
        let ended = ended.unwrap_or_else(|panic| {
            self.broken.push(format!("{at}: the work panicked: {}", panic_text(&*panic)));
            Ok(())
        });
        (acks.all(), ended)
    }

    /// Checks what is on the disk, unless the same has been checked with the same promises.
    fn check_state(&mut self, disk: &SimDisk, acks: &[A], at: &dyn fmt::Display) {
        let mut hasher = DefaultHasher::new();
        acks.hash(&mut hasher);
        if !self.seen.insert((disk.content_hash(), hasher.finish())) {
            return;
        }
        self.states += 1;
        match catch_unwind(AssertUnwindSafe(|| (self.check)(disk, acks))) {
            Ok(Ok(())) => {}
            Ok(Err(e)) => self.broken.push(format!("{at}: {e}")),
            Err(panic) => self.broken.push(format!("{at}: the check panicked: {}", panic_text(&*panic))),
        }
    }
}

impl CrashRunner {
    /// `setup` prepares an empty disk, once; all it leaves is durable. `work` is run from there anew for each point, and is
    /// expected to fail when the power is cut, and only then. `check` gets each state that may be left, as a disk of its
    /// own to recover and write on, and the promises given before.
    pub fn run<A: Clone + Hash>(
        &self,
        setup: impl Fn(&SimDisk),
        work: impl Fn(Arc<dyn FileSystem>, &Acks<A>) -> Result<(), BoxError>,
        check: impl Fn(&SimDisk, &[A]) -> Result<(), BoxError>,
    ) -> CrashReport {
        let mut trial = Trial::new(&setup, &work, &check);
        let mut points = 0;
        let mut k = self.only.map_or(1, |(k, _)| k);
        while points < self.points_max && trial.broken.len() < self.broken_max {
            points += 1;
            let has_crashed = self.run_point(&mut trial, k);
            if !has_crashed || self.only.is_some() {
                break;
            }
            k = k.saturating_add(self.stride.max(1));
        }
        CrashReport { points, states: trial.states, broken: trial.broken }
    }

    fn run_point<A: Clone + Hash>(&self, trial: &mut Trial<'_, A>, k: u64) -> bool {
        let disk = trial.base.fork();
        disk.crash_after(k);
        let (acks, ended) = trial.run_work(&disk, &format_args!("crash point {k}"));
        let during = disk.crashed_during();
        let at = format!("crash point {k} ({})", during.as_deref().unwrap_or("after the end"));
        if let (None, Err(e)) = (&during, ended) {
            trial.broken.push(format!("{at}: the work failed by itself: {e}"));
        }
        let only = self.only.map(|(_, choice)| vec![choice]);
        for choice in only.as_ref().unwrap_or(&self.choices) {
            trial.check_state(&disk.crash(*choice), &acks, &format_args!("{at}, {choice:?}"));
        }
        during.is_some()
    }
}

impl FaultRunner {
    /// Like [`CrashRunner::run`]; the work may fail or succeed when a call of it fails, but must not panic or hang, and
    /// what it has promised must hold, for who goes on using the disk and after a power cut.
    pub fn run<A: Clone + Hash>(
        &self,
        setup: impl Fn(&SimDisk),
        work: impl Fn(Arc<dyn FileSystem>, &Acks<A>) -> Result<(), BoxError>,
        check: impl Fn(&SimDisk, &[A]) -> Result<(), BoxError>,
    ) -> FaultReport {
        let mut trial = Trial::new(&setup, &work, &check);
        let mut points = 0;
        for (n, fault, lasting) in self.plans(&mut trial) {
            if trial.broken.len() >= self.broken_max {
                break;
            }
            points += u64::from(self.run_point(&mut trial, n, fault, lasting));
        }
        FaultReport { points, states: trial.states, broken: trial.broken }
    }

    /// Which calls can fail how, by a run in which none does.
    fn plans<A: Clone + Hash>(&self, trial: &mut Trial<'_, A>) -> Vec<(u64, Fault, bool)> {
        let disk = trial.base.fork();
        disk.record_calls();
        if let (_, Err(e)) = trial.run_work(&disk, &"without a fault") {
            trial.broken.push(format!("without a fault: the work failed by itself: {e}"));
        }
        let mut plans = Vec::new();
        for (n, kind) in (1..).zip(disk.recorded_calls()) {
            for fault in self.faults.iter().filter(|fault| fault.concerns(kind)) {
                plans.push((n, *fault, false));
                plans.push((n, *fault, true));
            }
        }
        plans
    }

    fn run_point<A: Clone + Hash>(&self, trial: &mut Trial<'_, A>, n: u64, fault: Fault, lasting: bool) -> bool {
        let disk = trial.base.fork();
        disk.plan_fault(n, fault, lasting, n.saturating_add(self.extra_calls_max));
        let how_long = if lasting { "lasting" } else { "once" };
        let (acks, _) = trial.run_work(&disk, &format_args!("call {n}, {fault:?} {how_long}"));
        if disk.faults_delivered() == 0 {
            return false; // the run went another way than the first, as with several threads
        }
        let call = disk.failed_call().unwrap_or_default();
        let at = format!("call {n}, {fault:?} {how_long} (last: {call})");
        if let Some(during) = disk.crashed_during() {
            trial.broken.push(format!("{at}: the work goes on for ever: {during}"));
        }
        trial.check_state(&disk.fork(), &acks, &at);
        for choice in &self.then_crash {
            trial.check_state(&disk.crash(*choice), &acks, &format_args!("{at}, then {choice:?}"));
        }
        true
    }
}

impl CrashReport {
    /// Whether something was tried, and nothing was broken.
    pub fn is_sound(&self) -> bool {
        self.states > 0 && self.broken.is_empty()
    }
}

impl FaultReport {
    /// Whether something was tried, and nothing was broken.
    pub fn is_sound(&self) -> bool {
        self.states > 0 && self.broken.is_empty()
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "crash points", self.points, self.states, &self.broken)
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, "failed calls", self.points, self.states, &self.broken)
    }
}

fn show(f: &mut fmt::Formatter<'_>, what: &str, points: u64, states: u64, broken: &[String]) -> fmt::Result {
    write!(f, "{points} {what}, {states} states, {} broken", broken.len())?;
    broken.iter().try_for_each(|line| write!(f, "\n  {line}"))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

impl SimDisk {
    fn plan_fault(&self, n: u64, fault: Fault, lasting: bool, calls_max: u64) {
        self.shared.state().plan = super::fault::Plan::fail_at(n, fault, lasting).with_calls_max(calls_max);
    }

    fn record_calls(&self) {
        self.shared.state().plan = super::fault::Plan::recording();
    }

    fn recorded_calls(&self) -> Vec<CallKind> {
        self.shared.state().plan.kinds.take().unwrap_or_default()
    }
}
