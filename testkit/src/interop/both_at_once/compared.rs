//! What a run of Culver and Dovecot together causes, beside a run of Dovecot alone.

use std::{collections::BTreeSet, fmt};

use super::Report;
use crate::interop::turn_about::COMING_BACK;

/// What Dovecot's master says when one of its processes dies: 2.3.19 does of itself now and then, with nobody but itself on
/// the store, but not in every run.
const DEATH: &str = "Fatal: master: service(";

/// What it says on mbox of itself, likewise: its processes wait for each other's locks, or read what another one moves, or
/// look at a mailbox, for the list's index, while another one renames its file, which Dovecot does not lock for that.
const ON_MBOX: [&str; 4] = [
    "Resource deadlock avoided",
    "Panic: file istream-raw-mbox.c",
    "Error: Raw backtrace:",
    "utime() failed with mbox: No such file or directory",
];

/// What the names of the third party's files have in them.
const OF_THIRD_PARTY: &str = ".third";

/// How often a run has something.
type Count = fn(&Report) -> u32;

/// What it does besides of itself, which is counted likewise.
const TOLD: [(&str, Count); 4] = [
    ("refuses a command", |run| run.refusals as u32),
    ("spoils its own messages", |run| run.dovecots_own.len() as u32),
    ("tells a lower HIGHESTMODSEQ", |run| run.went_back.len() as u32),
    ("gives a message a UID that nobody was told", |run| run.misplaced_by_dovecot.len() as u32),
];

/// How unlikely a number of rare lines must be, if they were as frequent as with Dovecot alone, to count against Culver.
const UNLIKELY: f64 = 0.001;

/// Two runs of one seed.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Four Culver and four Dovecot processes.
    pub ours: Report,
    /// Eight Dovecot processes.
    pub theirs: Report,
}

impl Report {
    /// Whether there is anything that only a run of nothing but Dovecot can excuse.
    pub fn needs_comparison(&self) -> bool {
        !self.complaints.is_empty() || TOLD.iter().any(|(_, count)| count(self) > 0)
    }
}

impl Compared {
    /// What Culver has to answer for: what was lost or doubled beside it, kinds of log lines that Dovecot alone does not
    /// cause, and rare ones that are more frequent than chance allows.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.ours.broken.clone();
        faults.extend(self.ours.misplaced.iter().cloned());
        let (ours, theirs) = (&self.ours.complaints, &self.theirs.complaints);
        let news = ours.keys().filter(|kind| Rare::of(kind).is_none() && !theirs.contains_key(*kind));
        faults.extend(news.map(|kind| format!("only beside Culver Dovecot logs: {kind}")));
        let rare: BTreeSet<Rare> = ours.keys().chain(theirs.keys()).filter_map(|kind| Rare::of(kind)).collect();
        for rare in rare {
            let rates = [&self.ours, &self.theirs].map(|report| rare.rate(report));
            if chance(rates[0], rates[1]) < UNLIKELY {
                faults.push(format!(
                    "more often beside Culver Dovecot logs (lines, of so many occasions): {rare:?}: {rates:?}"
                ));
            }
        }
        for (what, count) in TOLD {
            let rates = [&self.ours, &self.theirs].map(|run| (count(run), run.dovecot_commands));
            if chance(rates[0], rates[1]) < UNLIKELY {
                faults.push(format!("more often beside Culver Dovecot {what} (times, commands): {rates:?}"));
            }
        }
        faults
    }
}

/// What all lines of a rare kind have in common.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rare {
    part: &'static str,
    /// Whether the lines are about files that only the third party moves.
    is_of_third_party: bool,
}

impl Rare {
    fn of(kind: &str) -> Option<Self> {
        let part = [DEATH].into_iter().chain(COMING_BACK).chain(ON_MBOX).find(|part| kind.contains(part))?;
        Some(Self { part, is_of_third_party: kind.contains(OF_THIRD_PARTY) })
    }

    /// Lines of it, and occasions for them: commands, or for files of the third party its changes, each of which every Dovecot
    /// process may come across.
    fn rate(self, report: &Report) -> (u32, u64) {
        let kinds = report.complaints.iter().filter(|(kind, _)| Self::of(kind) == Some(self));
        let occasions = match self.is_of_third_party {
            true => report.foreign * report.dovecots,
            false => report.dovecot_commands,
        };
        (kinds.map(|(_, count)| count).sum(), occasions)
    }
}

/// How likely so many events or more in so many commands are, when in other commands there were those: the upper tail of the
/// binomial distribution, all events being equally likely in every command.
fn chance((ours, our_commands): (u32, u64), (theirs, their_commands): (u32, u64)) -> f64 {
    let total = ours + theirs;
    let commands = (our_commands + their_commands) as f64;
    if total == 0 || our_commands == 0 || their_commands == 0 {
        return 1.0;
    }
    let (log_ours, log_theirs) = ((our_commands as f64 / commands).ln(), (their_commands as f64 / commands).ln());
    let mut log_choose = 0.0;
    let mut tail = 0.0;
    for events in (0..=total).rev() {
        // C(total, events), from C(total, total) = 1 downwards.
        if events < total {
            log_choose += (f64::from(events + 1)).ln() - f64::from(total - events).ln();
        }
        if events < ours {
            break;
        }
        tail += (log_choose + f64::from(events) * log_ours + f64::from(total - events) * log_theirs).exp();
    }
    tail
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, theirs } = self;
        writeln!(f, "| | 4 Culver and 4 Dovecot | 8 Dovecot |")?;
        writeln!(f, "| --- | --- | --- |")?;
        let mut row = |what: &str, ours: u64, theirs: u64| writeln!(f, "| {what} | {ours} | {theirs} |");
        row("commands", ours.commands, theirs.commands)?;
        row("of them to Dovecot", ours.dovecot_commands, theirs.dovecot_commands)?;
        row("changes of a third party", ours.foreign, theirs.foreign)?;
        let kinds: BTreeSet<_> = ours.upkeep.keys().chain(theirs.upkeep.keys()).collect();
        for kind in kinds {
            let count = |report: &Report| report.upkeep.get(kind).copied().unwrap_or(0).into();
            row(kind, count(ours), count(theirs))?;
        }
        row("messages in the end", ours.messages as u64, theirs.messages as u64)?;
        row("lost, doubled or wrong", ours.broken.len() as u64, theirs.broken.len() as u64)?;
        row("messages with a UID that nobody was told", ours.misplaced.len() as u64, theirs.misplaced.len() as u64)?;
        row(
            "the same, by Dovecot's own account",
            ours.misplaced_by_dovecot.len() as u64,
            theirs.misplaced_by_dovecot.len() as u64,
        )?;
        row(
            "its own messages lost, doubled or wrong by Dovecot, on mbox",
            ours.dovecots_own.len() as u64,
            theirs.dovecots_own.len() as u64,
        )?;
        row("sessions that ended by a death of Dovecot's", ours.crashes, theirs.crashes)?;
        row("commands that Dovecot refused", ours.refusals, theirs.refusals)?;
        row("lower HIGHESTMODSEQ told by Dovecot", ours.went_back.len() as u64, theirs.went_back.len() as u64)?;
        row("messages that Dovecot did not find for the moment", ours.unseen, theirs.unseen)?;
        let kinds: BTreeSet<_> = ours.complaints.keys().chain(theirs.complaints.keys()).collect();
        for kind in kinds {
            let count = |report: &Report| report.complaints.get(kind).copied().unwrap_or(0).into();
            row(&format!("log: `{kind}`"), count(ours), count(theirs))?;
        }
        for (kind, count) in &ours.own_complaints {
            writeln!(f, "| Culver's log: `{kind}` | {count} | - |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_tail_of_a_binomial_distribution() {
        assert!((chance((1, 10), (0, 10)) - 0.5).abs() < 1e-9);
        assert!((chance((2, 10), (1, 10)) - 0.5).abs() < 1e-9);
        assert!((chance((10, 10), (0, 10)) - 1.0 / 1024.0).abs() < 1e-9);
        assert!((chance((0, 10), (7, 10)) - 1.0).abs() < 1e-9);
        assert!((chance((1, 10), (0, 30)) - 0.25).abs() < 1e-9);
        assert!(chance((400, 1000), (3, 1000)) < 1e-50);
    }

    #[test]
    fn new_kinds_and_too_many_deaths_are_faults() {
        let report = |deaths: u32, other: Option<&str>| {
            let mut report = Report { dovecot_commands: 1000, ..Report::default() };
            report.complaints.insert(format!("{DEATH}imap): child 0 killed with signal 0"), deaths);
            report.complaints.extend(other.map(|kind| (kind.to_owned(), 1)));
            report
        };
        let faults = |ours, theirs| Compared { ours, theirs }.faults().len();
        assert_eq!(faults(report(3, None), report(1, None)), 0);
        assert_eq!(faults(report(30, None), report(1, None)), 1);
        assert_eq!(faults(report(1, Some("Error: x")), report(1, None)), 1);
        assert_eq!(faults(report(1, Some("Error: x")), report(1, Some("Error: x"))), 0);
        let back = |times| Report { went_back: vec![String::new(); times], ..report(1, None) };
        assert_eq!((faults(back(1), report(1, None)), faults(back(30), back(1))), (0, 1));
        let misplaced = Report { misplaced: vec![String::new()], ..report(1, None) };
        assert_eq!(faults(misplaced.clone(), misplaced), 1);
        let by_dovecot = |times| Report { misplaced_by_dovecot: vec![String::new(); times], ..report(1, None) };
        assert_eq!((faults(by_dovecot(1), report(1, None)), faults(by_dovecot(30), by_dovecot(1))), (0, 1));
    }

    #[test]
    fn lines_about_files_of_the_third_party_count_by_its_changes() {
        let report = |file: &str, lines, foreign, dovecots| {
            let kind = format!("Warning: Maildir PATH {} (old uid=0, file=0.M0P0.{file}:0,)", COMING_BACK[1]);
            let complaints = [(kind, lines)].into();
            Report { complaints, foreign, dovecots, dovecot_commands: 1000, ..Report::default() }
        };
        let faults = |ours, theirs| Compared { ours, theirs }.faults().len();
        assert_eq!(faults(report("third", 90, 2000, 4), report("third", 30, 500, 8)), 0);
        assert_eq!(faults(report("third", 90, 500, 4), report("third", 30, 500, 8)), 1);
        assert_eq!(faults(report("host", 90, 2000, 4), report("host", 30, 500, 8)), 1);
        assert_eq!(faults(report("third", 0, 2000, 4), report("host", 30, 500, 8)), 0);
    }

    #[test]
    fn what_dovecot_does_of_itself_asks_for_a_run_of_nothing_but_dovecot() {
        let quiet = Report { dovecot_commands: 1000, ..Report::default() };
        assert!(!quiet.needs_comparison());
        assert!(Report { refusals: 1, ..quiet.clone() }.needs_comparison());
        assert!(Report { misplaced_by_dovecot: vec![String::new()], ..quiet.clone() }.needs_comparison());
        assert!(Report { complaints: [("Error: x".to_owned(), 1)].into(), ..quiet }.needs_comparison());
    }
}
