//! What a store promises, kept through a power cut during every call and through the failure of every call, for append,
//! copy, flags, expunge, rotation, snapshot, create, rename, delete.
//!
//! Each scenario is a list of steps that runs the same way each time. A clean run tells what the store shows after
//! each step. After a cut or a failure it must show what it did after the last step that was acknowledged, or after the
//! one that was under way: nothing between, nothing else. Then it must take another message.
//!
//! Of the states of power cuts a sample is laid out on the real disk, too: a real Dovecot must show what Culver shows after
//! its recovery; and what a Dovecot that comes first loses of what was promised is told.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{cell::RefCell, collections::BTreeMap, path::Path};

use mailfs::{
    FileSystem,
    sim::{Acks, BoxError, CrashChoice, CrashRunner, Fault, FaultRunner, SimDisk},
};

use mailstore::dbox::MoveTo;

use super::{Format, Message, Opened, Setting, Shown, Step, by_dovecot, by_dovecot::Reads, open, run_step, show};

const ROOT: &str = "/mail";

struct Scenario {
    name: &'static str,
    setting: Setting,
    /// Done before anything can go wrong.
    setup: Vec<Step>,
    steps: Vec<Step>,
}

fn append(mailbox: &'static str, first: u32, count: u32) -> Step {
    Step::Append { mailbox, first, count }
}

fn altmove(mailbox: &'static str, first: u32, last: u32, to: MoveTo) -> Step {
    Step::Altmove { mailbox, first, last, to }
}

/// Messages in alternate storage.
fn alternate() -> Vec<Scenario> {
    let setting = Setting { alt: true, ..Setting::default() };
    let moved = || altmove("INBOX", 2, 3, MoveTo::Alternate);
    vec![
        Scenario {
            name: "altmove",
            setting,
            setup: vec![append("INBOX", 1, 4)],
            steps: vec![moved(), append("INBOX", 5, 1), altmove("INBOX", 1, 2, MoveTo::Primary), moved()],
        },
        Scenario {
            name: "copy and expunge in alternate storage",
            setting,
            setup: vec![append("INBOX", 1, 4), moved(), Step::Create("Copies")],
            steps: vec![
                Step::Copy { from: "INBOX", to: "Copies" },
                Step::Expunge { mailbox: "INBOX", first: 3, last: 4 },
                Step::Copy { from: "INBOX", to: "INBOX" },
            ],
        },
        Scenario {
            name: "rename and delete with alternate storage",
            setting,
            setup: vec![
                Step::Create("a/b"),
                append("a/b", 1, 3),
                altmove("a/b", 2, 3, MoveTo::Alternate),
                Step::Create("a"),
            ],
            steps: vec![Step::Rename("a", "x/y"), Step::Delete("x/y/b"), Step::Create("x/y/b"), append("x/y/b", 4, 1)],
        },
    ]
}

/// Messages of an mdbox that are purged, and moved between storages.
fn purging() -> Vec<Scenario> {
    let setting = Setting { format: Format::Mdbox, file_len: 800, alt: true, ..Setting::default() };
    let expunged = |first, last| Step::Expunge { mailbox: "INBOX", first, last };
    vec![
        Scenario {
            name: "purge",
            setting,
            setup: vec![append("INBOX", 1, 9), expunged(2, 4), expunged(8, 8)],
            steps: vec![Step::Purge, append("INBOX", 10, 2), expunged(1, 7), Step::Purge, append("INBOX", 12, 1)],
        },
        Scenario {
            name: "altmove of an mdbox",
            setting,
            setup: vec![append("INBOX", 1, 7), expunged(6, 6)],
            steps: vec![
                altmove("INBOX", 2, 4, MoveTo::Alternate),
                append("INBOX", 8, 1),
                Step::Copy { from: "INBOX", to: "INBOX" },
                altmove("INBOX", 1, 3, MoveTo::Primary),
                Step::Purge,
            ],
        },
    ]
}

fn scenarios(format: Format) -> Vec<Scenario> {
    // About every fourth message of an mdbox begins another file.
    let plain = Setting { format, file_len: if format == Format::Mdbox { 800 } else { 0 }, ..Setting::default() };
    let further = match format {
        Format::Sdbox => alternate(),
        Format::Mdbox => purging(),
        Format::Maildir | Format::Mbox => Vec::new(),
    };
    // A name of mbox is a folder or a file.
    let is_mbox = format == Format::Mbox;
    let (second, above) = if is_mbox { ("b/d", "c") } else { ("b", "a") };
    let (below, below_b) = if is_mbox { ("w/y", "w/y/b") } else { ("x/y", "x/y/b") };
    let many_flags = || (0..12).map(|n| Step::Flags { mailbox: "INBOX", uid: n % 4 + 1, seen: n % 8 < 4 });
    vec![
        Scenario {
            name: "append",
            setting: plain,
            setup: vec![append("INBOX", 1, 1)],
            steps: vec![append("INBOX", 2, 1), append("INBOX", 3, 3), Step::Flush, append("INBOX", 6, 1)],
        },
        Scenario {
            name: "copy",
            setting: plain,
            setup: vec![append("INBOX", 1, 3), Step::Create("Copies")],
            steps: vec![
                Step::Copy { from: "INBOX", to: "Copies" },
                Step::Copy { from: "INBOX", to: "INBOX" },
                Step::Copy { from: "Copies", to: "INBOX" },
            ],
        },
        Scenario {
            name: "flags",
            setting: Setting { always: true, ..plain },
            setup: vec![append("INBOX", 1, 4)],
            steps: many_flags().take(5).chain([Step::Keyword { mailbox: "INBOX", uid: 2 }]).collect(),
        },
        Scenario {
            name: "expunge",
            setting: plain,
            setup: vec![append("INBOX", 1, 5)],
            steps: vec![
                Step::Expunge { mailbox: "INBOX", first: 2, last: 3 },
                append("INBOX", 6, 1),
                Step::Expunge { mailbox: "INBOX", first: 1, last: 6 },
                append("INBOX", 7, 1),
            ],
        },
        Scenario {
            name: "rotation",
            setting: Setting { always: true, rotate_len: 900, ..plain },
            setup: vec![append("INBOX", 1, 4)],
            steps: many_flags().chain([append("INBOX", 5, 1)]).chain(many_flags().take(3)).collect(),
        },
        Scenario {
            name: "snapshot",
            setting: Setting { always: true, snapshot_len: 300, ..plain },
            setup: vec![append("INBOX", 1, 4)],
            steps: many_flags()
                .take(5)
                .chain([append("INBOX", 5, 1), Step::Drain, append("INBOX", 6, 1), Step::Drain])
                .collect(),
        },
        Scenario {
            name: "create",
            setting: plain,
            setup: vec![append("INBOX", 1, 1)],
            steps: vec![Step::Create("a"), Step::Create("b/c"), append("b/c", 2, 1), Step::Create(second)],
        },
        Scenario {
            name: "rename",
            setting: plain,
            setup: vec![Step::Create("a/b"), append("a/b", 1, 2), Step::Create("x")],
            steps: vec![Step::Rename("a", below), append(below_b, 3, 1), Step::Rename(below_b, "z")],
        },
        Scenario {
            name: "rename inbox",
            setting: plain,
            setup: vec![append("INBOX", 1, 2)],
            steps: vec![Step::RenameInbox("old")],
        },
        Scenario {
            name: "delete",
            setting: plain,
            setup: vec![Step::Create("a/b"), append("a/b", 1, 2), Step::Create(above), append(above, 3, 2)],
            steps: vec![Step::Delete(above), Step::Delete("a/b"), Step::Create(above), append(above, 5, 1)],
        },
        Scenario {
            name: "subscribe",
            setting: plain,
            setup: vec![],
            steps: vec![Step::Subscribe("a"), Step::Subscribe("b"), Step::Unsubscribe("a")],
        },
    ]
    .into_iter()
    .chain(further)
    .collect()
}

impl Scenario {
    fn prepare(&self, disk: &SimDisk) {
        let storage = open(&disk.as_file_system(), Path::new(ROOT), self.setting, true).unwrap();
        for step in &self.setup {
            run_step(&storage, step).unwrap();
        }
    }

    fn work(&self, fs: &std::sync::Arc<dyn FileSystem>, acks: &Acks<usize>) -> Result<(), BoxError> {
        let storage = open(fs, Path::new(ROOT), self.setting, false)?;
        for (number, step) in self.steps.iter().enumerate() {
            run_step(&storage, step)?;
            acks.push(number + 1);
        }
        Ok(())
    }

    /// What is shown after each number of steps.
    fn expected(&self) -> Vec<Shown> {
        let disk = SimDisk::new();
        self.prepare(&disk);
        disk.sync_all();
        let storage = open(&disk.as_file_system(), Path::new(ROOT), self.setting, false).unwrap();
        let mut shown = vec![show(&storage).unwrap().without_empty_levels()];
        for step in &self.steps {
            run_step(&storage, step).unwrap();
            shown.push(show(&storage).unwrap().without_empty_levels());
        }
        shown
    }

    fn check(
        &self,
        disk: &SimDisk,
        acks: &[usize],
        expected: &[Shown],
        sample: Option<&Sample>,
    ) -> Result<(), BoxError> {
        let sample = sample.filter(|sample| sample.takes_this());
        if let Some(sample) = sample {
            sample.dovecot_comes_first(self, disk, acks.last().copied().unwrap_or(0), expected);
        }
        let storage = open(&disk.as_file_system(), Path::new(ROOT), self.setting, false)?;
        let recovered = storage.recover()?;
        if let Some(failed) = recovered.repaired.iter().find(|mailbox| mailbox.failed.is_some()) {
            return Err(format!("not recovered: {failed:?}").into());
        }
        let shown = show(&storage)?.without_empty_levels();
        let done = acks.last().copied().unwrap_or(0);
        let allowed = expected.get(done..).unwrap_or_default().iter().take(2);
        if !allowed.clone().any(|allowed| self.matches(done, &shown, allowed)) {
            let allowed: Vec<_> = allowed.collect();
            let before = expected.get(done).filter(|_| self.setting.format == Format::Maildir);
            if !before.is_some_and(|before| self.matches_maildir(done, &shown, before)) {
                return Err(format!("after step {done}: {shown:?}, not one of {allowed:?}").into());
            }
        }
        if sample.is_some() {
            self.dovecot_shows_the_same(&storage, disk)?;
        }
        // Whatever happened, the mailbox goes on, and nothing that was there goes.
        run_step(&storage, &append("INBOX", 99, 1)).map_err(|e| format!("takes no message: {e}"))?;
        let after = show(&storage)?;
        let inbox = |shown: &Shown| shown.messages("INBOX");
        let missing = inbox(&shown).into_iter().find(|message| !inbox(&after).contains(message));
        if let Some(missing) = missing {
            return Err(format!("{missing:?} went when a message came").into());
        }
        let new = inbox(&after).into_iter().filter(|message| message.number == 99).count();
        if new == 1 { Ok(()) } else { Err(format!("message 99 is there {new} times").into()) }
    }

    fn dovecot_shows_the_same(&self, storage: &Opened, disk: &SimDisk) -> Result<(), BoxError> {
        run_step(storage, &Step::Flush)?;
        let (ours, theirs) = (show(storage)?, by_dovecot::shown(disk, self.setting, Reads::Mail)?);
        let difference = (by_dovecot::losses(&ours, &theirs), by_dovecot::losses(&theirs, &ours));
        match difference.0.is_empty() && difference.1.is_empty() {
            true => Ok(()),
            false => Err(format!("after recovery {ours:?}, to Dovecot {theirs:?}: {difference:?}").into()),
        }
    }

    /// A message that is in place of its name but not in the log is a message of Maildir, one by one.
    fn matches_maildir(&self, done: usize, shown: &Shown, before: &Shown) -> bool {
        let mailbox = match self.steps.get(done) {
            Some(Step::Append { mailbox, .. }) => mailbox,
            Some(Step::Copy { to, .. }) => to,
            _ => return false,
        };
        let known: Vec<u32> = before.messages(mailbox).iter().map(|message| message.uid).collect();
        shown.clone().without(mailbox, |message| !known.contains(&message.uid)) == *before
    }

    /// Renaming INBOX is two commits; in between its messages are in both places. A message that was not acknowledged may
    /// be found by a rebuild as a file that no log knows: then it is there, without the flags that nobody was promised.
    fn matches(&self, done: usize, shown: &Shown, allowed: &Shown) -> bool {
        match self.steps.get(done) {
            Some(Step::Append { mailbox, first, count }) => {
                let found = |m: &Message| {
                    (*first..first + count).contains(&m.number) && m.flags.is_empty() && m.keywords.is_empty()
                };
                shown == allowed || shown.clone().without(mailbox, found) == *allowed
            }
            Some(Step::RenameInbox(to)) => {
                let both = shown.messages("INBOX").len() + shown.messages(to).len();
                shown == allowed || both >= allowed.messages("INBOX").len() + allowed.messages(to).len()
            }
            _ => shown == allowed,
        }
    }
}

/// One state of so many is shown to Dovecot, of each scenario; `CULVER_CRASH_SAMPLE` is another number.
const SAMPLED_OF: usize = 200;

/// Which states are shown to Dovecot, and what it lost where it came first.
struct Sample {
    of: usize,
    seen: RefCell<usize>,
    taken: RefCell<usize>,
    lost: RefCell<BTreeMap<String, usize>>,
}

impl Sample {
    fn new() -> Self {
        let of = std::env::var("CULVER_CRASH_SAMPLE").map_or(SAMPLED_OF, |of| of.parse().unwrap());
        Self { of, seen: RefCell::default(), taken: RefCell::default(), lost: RefCell::default() }
    }

    fn takes_this(&self) -> bool {
        *self.seen.borrow_mut() += 1;
        *self.seen.borrow() % self.of == 1 % self.of
    }

    /// What was promised and would be there after Culver's recovery.
    fn dovecot_comes_first(&self, scenario: &Scenario, disk: &SimDisk, done: usize, expected: &[Shown]) {
        *self.taken.borrow_mut() += 1;
        let after = by_dovecot::shown(&disk.fork(), scenario.setting, Reads::Caches);
        let allowed = expected.get(done..).unwrap_or_default().iter().take(2);
        let lost = match &after {
            Err(said) => said.lines().next().unwrap_or_default().to_owned(),
            Ok(after) => {
                let of = |allowed| by_dovecot::losses(allowed, after);
                let lost = allowed.map(of).min_by_key(|lost| lost.values().sum::<usize>()).unwrap_or_default();
                if lost.is_empty() { "nothing".to_owned() } else { format!("{lost:?}") }
            }
        };
        *self.lost.borrow_mut().entry(lost).or_default() += 1;
    }
}

/// Cuts the power during every call.
pub fn every_power_cut(format: Format) {
    let mut broken = Vec::new();
    let with_dovecot = by_dovecot::is_installed();
    for scenario in scenarios(format) {
        let expected = scenario.expected();
        let sample = Sample::new();
        let runner = CrashRunner { choices: CrashChoice::list(6), ..CrashRunner::default() };
        let report = runner.run(
            |disk| scenario.prepare(disk),
            |fs, acks: &Acks<usize>| scenario.work(&fs, acks),
            |disk, acks| scenario.check(disk, acks, &expected, with_dovecot.then_some(&sample)),
        );
        println!("crash run, {}: {report}", scenario.name);
        println!(
            "a Dovecot first, {}: {} states, lost: {:?}",
            scenario.name,
            sample.taken.borrow(),
            sample.lost.borrow()
        );
        if !report.is_sound() {
            broken.push(format!("{}: {report}", scenario.name));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Fails every call.
pub fn every_failing_call(format: Format) {
    let mut broken = Vec::new();
    for scenario in scenarios(format) {
        let expected = scenario.expected();
        let runner = FaultRunner { faults: Fault::ALL.to_vec(), ..FaultRunner::default() };
        let report = runner.run(
            |disk| scenario.prepare(disk),
            |fs, acks: &Acks<usize>| scenario.work(&fs, acks),
            |disk, acks| scenario.check(disk, acks, &expected, None),
        );
        println!("fault run, {}: {report}", scenario.name);
        if !report.is_sound() {
            broken.push(format!("{}: {report}", scenario.name));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
