//! Which calls of the simulated disk fail, and how.

use std::{io, path::Path, time::Duration};

use rustix::io::Errno;

/// How long a [`Fault::LockHeld`] that comes once lasts, by the disk's clock.
const LOCK_HELD_FOR: Duration = Duration::from_millis(50);

/// How a call fails. There is no interrupted call: a [`crate::FileSystem`] continues those itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    /// No space left, nothing done: writes, growth, new names.
    NoSpace,
    /// Input/output error: all but locks. After a failed sync the data will not reach the disk by a later sync.
    Io,
    /// Half of the data is written, then there is no space: writes.
    ShortWrite,
    /// Too many open files: opens, listings and syncs of directories.
    TooManyFiles,
    /// Somebody else holds the lock: from now on for 50 ms by the disk's clock, or for ever if it is to last.
    LockHeld,
}

impl Fault {
    /// All.
    pub const ALL: [Self; 5] = [Self::NoSpace, Self::Io, Self::ShortWrite, Self::TooManyFiles, Self::LockHeld];

    pub(super) fn concerns(self, kind: CallKind) -> bool {
        match self {
            Self::NoSpace => matches!(kind, CallKind::Create | CallKind::Write | CallKind::AddName),
            Self::Io => kind != CallKind::Lock,
            Self::ShortWrite => kind == CallKind::Write,
            Self::TooManyFiles => {
                matches!(kind, CallKind::Open | CallKind::Create | CallKind::List | CallKind::SyncDir)
            }
            Self::LockHeld => kind == CallKind::Lock,
        }
    }
}

/// What a call does, as far as failing goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallKind {
    Open,
    Create,
    Look,
    List,
    Read,
    Write,
    SetLen,
    AddName,
    RemoveName,
    SetPermissions,
    SyncData,
    SyncDir,
    Lock,
}

impl CallKind {
    /// Whether it changes something or makes it durable, so that a crash there is worth trying.
    fn counts_for_crash(self) -> bool {
        !matches!(self, Self::Open | Self::Look | Self::List | Self::Read | Self::Lock)
    }

    fn is_sync(self) -> bool {
        matches!(self, Self::SyncData | Self::SyncDir)
    }
}

/// What is to become of a call.
pub(super) enum Verdict {
    Go,
    /// The power is cut during the call: it may be done, and nobody hears of it.
    CutDuring,
    /// Not done; what a sync should have written may be given up for good.
    Fail {
        error: io::Error,
        gives_up_data: bool,
    },
    /// Half done.
    Short,
    /// The lock is refused.
    Held,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) calls: u64,
    pub(super) crash_calls: u64,
    crash_at: Option<u64>,
    fault: Option<(u64, Fault, bool)>,
    held_until: Option<Duration>,
    pub(super) faults_delivered: u64,
    pub(super) crashed_during: Option<String>,
    /// More calls than that are not let through.
    calls_max: Option<u64>,
    /// What was called, if that is to be kept.
    pub(super) kinds: Option<Vec<CallKind>>,
    /// The last call that was failed.
    pub(super) failed_call: Option<String>,
}

/// The error of every call after the power was cut.
pub(super) fn crashed() -> io::Error {
    io::Error::other("simulated power cut")
}

impl Plan {
    pub(super) fn crash_at(call: u64) -> Self {
        Self { crash_at: Some(call.max(1)), ..Self::default() }
    }

    pub(super) fn recording() -> Self {
        Self { kinds: Some(Vec::new()), ..Self::default() }
    }

    pub(super) fn fail_at(call: u64, fault: Fault, lasting: bool) -> Self {
        Self { fault: Some((call.max(1), fault, lasting)), ..Self::default() }
    }

    pub(super) fn with_calls_max(self, calls_max: u64) -> Self {
        Self { calls_max: Some(calls_max), ..self }
    }

    pub(super) fn judge(&mut self, kind: CallKind, op: &str, path: &Path, now: Duration) -> Verdict {
        if self.crashed_during.is_some() {
            return Verdict::Fail { error: crashed(), gives_up_data: false };
        }
        self.calls += 1;
        if let Some(kinds) = &mut self.kinds {
            kinds.push(kind);
        }
        if self.calls_max.is_some_and(|max| self.calls > max) {
            self.crashed_during = Some(format!("{op} {} (too many calls)", path.display()));
            return Verdict::Fail { error: crashed(), gives_up_data: false };
        }
        self.crash_calls += u64::from(kind.counts_for_crash());
        if kind.counts_for_crash() && self.crash_at == Some(self.crash_calls) {
            self.crashed_during = Some(format!("{op} {}", path.display()));
            let lost = Verdict::Fail { error: crashed(), gives_up_data: false };
            // A sync that was cut short promises nothing; what it may have done, the choice of the crash does.
            return if kind.is_sync() { lost } else { Verdict::CutDuring };
        }
        match self.fault_for(kind, now) {
            None => Verdict::Go,
            Some(fault) => {
                self.faults_delivered += 1;
                self.failed_call = Some(format!("{op} {}", path.display()));
                verdict_of(fault, kind)
            }
        }
    }

    fn fault_for(&mut self, kind: CallKind, now: Duration) -> Option<Fault> {
        if kind == CallKind::Lock && self.held_until.is_some_and(|until| now < until) {
            return Some(Fault::LockHeld);
        }
        let (call, fault, lasting) = self.fault?;
        let is_time = if lasting { self.calls >= call } else { self.calls == call };
        let applies = is_time && fault.concerns(kind);
        if applies && fault == Fault::LockHeld {
            self.held_until = Some(now + LOCK_HELD_FOR);
        }
        applies.then_some(fault)
    }
}

fn verdict_of(fault: Fault, kind: CallKind) -> Verdict {
    let errno = match fault {
        Fault::NoSpace => Errno::NOSPC,
        Fault::Io => Errno::IO,
        Fault::TooManyFiles => Errno::MFILE,
        Fault::ShortWrite => return Verdict::Short,
        Fault::LockHeld => return Verdict::Held,
    };
    Verdict::Fail { error: errno.into(), gives_up_data: fault == Fault::Io && kind == CallKind::SyncData }
}
