//! Several Culver processes and several Dovecot processes on one store at the same time. Each worker keeps a ledger of
//! what it was promised; afterwards the store must hold exactly that.

mod compared;
mod deeds;
mod foreign;
mod journal;
mod ledger;
mod upkeep;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

pub use self::compared::Compared;
use self::{
    deeds::Deeds,
    foreign::Foreign,
    journal::Journal,
    ledger::{Found, Ledger, check},
    upkeep::Upkeep,
    worker::Worker,
};
use super::{SharedStore, StoreFormat, USER, kind_of_line, third_party::ThirdParty};
use crate::{
    culver::Culver,
    dovecot::{Dovecot, PASSWORD},
    imap::Imap,
    observe::{Depth, Shown},
};

/// Which servers the eight workers talk to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mix {
    /// Four Culver processes, four Dovecot processes.
    Half,
    /// Eight Dovecot processes: what the other mix is measured against.
    AllDovecot,
    /// Eight Culver processes. On a Maildir the third party then renames everybody's files: one reading of a folder may miss
    /// a file that is renamed meanwhile, and a Dovecot takes it for gone and gives it a new UID when it sees it again.
    AllCulver,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Commands answered OK, all workers together.
    pub commands: u64,
    /// Those of them that Dovecot answered.
    pub dovecot_commands: u64,
    /// Workers that Dovecot served.
    pub dovecots: u64,
    /// Messages in the store at the end.
    pub messages: usize,
    /// Dovecot's warnings and errors by kind, with their number.
    pub complaints: BTreeMap<String, u32>,
    /// Culver's warnings and errors, likewise.
    pub own_complaints: BTreeMap<String, u32>,
    /// What a third party did to the files of a Maildir.
    pub foreign: u64,
    /// How often the storage was purged or messages moved to the alternate one and back, by what did it.
    pub upkeep: BTreeMap<&'static str, u32>,
    /// How often a Dovecot process died under a worker. What becomes of the message in hand is not looked at then.
    pub crashes: u64,
    /// How often Dovecot refused a command on an mbox, where its processes wait for each other's locks. Likewise.
    pub refusals: u64,
    /// SELECTs in which Dovecot told a lower HIGHESTMODSEQ than before: eight Dovecot processes do so too, rarely, while a
    /// mailbox gets its first mod-sequences. How often is compared. (From Culver it is `broken`.)
    pub went_back: Vec<String>,
    /// COPY and MOVE of a worker's own message that Dovecot did not find at the time. If it is lost, that is `broken`.
    pub unseen: u64,
    /// Messages that have a UID that nobody was told, and of which Dovecot does not say that it was its deed; must be empty.
    pub misplaced: Vec<String>,
    /// Those of a Maildir of which it says so, as eight Dovecot processes do too. How often is compared.
    pub misplaced_by_dovecot: Vec<String>,
    /// What was lost, doubled or wrong; must be empty.
    pub broken: Vec<String>,
    /// The same of messages of those workers that Dovecot serves, on mbox: eight Dovecot processes lose keywords there and
    /// bring back what was expunged. How often is compared.
    pub dovecots_own: Vec<String>,
}

const MAILBOXES: [&str; 3] = ["INBOX", "Shared", "Archive"];
const WORKERS: u64 = 8;

/// Where a worker's server answers.
#[derive(Clone, Copy, Debug)]
struct Served {
    imap: SocketAddr,
    lmtp: SocketAddr,
    is_dovecot: bool,
    is_mbox: bool,
}

/// The servers of a run.
struct Servers {
    format: StoreFormat,
    dovecot: Dovecot,
    culvers: Vec<Culver>,
}

impl Servers {
    fn start(store: &SharedStore, program: &Path, mix: Mix) -> anyhow::Result<Self> {
        let count = match mix {
            Mix::Half => WORKERS / 2,
            Mix::AllDovecot => 0,
            Mix::AllCulver => WORKERS,
        };
        let dovecot = store.dovecot("peer")?;
        let telling: &[&str] = if store.format().is_maildir() { &[deeds::TELLING] } else { &[] };
        let culvers = (0..count).map(|_| store.culver_set(program, telling)).collect::<anyhow::Result<_>>()?;
        Ok(Self { format: store.format(), dovecot, culvers })
    }

    fn of(&self, worker: u64) -> Served {
        let is_mbox = self.format == StoreFormat::Mbox;
        match self.culvers.get(worker as usize) {
            Some(culver) => Served { imap: culver.imap, lmtp: culver.lmtp, is_dovecot: false, is_mbox },
            None => Served { imap: self.dovecot.imap, lmtp: self.dovecot.lmtp, is_dovecot: true, is_mbox },
        }
    }
}

/// Runs the workers for a time and compares the store with their ledgers.
pub fn run(program: &Path, format: StoreFormat, seed: u64, time: Duration, mix: Mix) -> anyhow::Result<Report> {
    let store = SharedStore::new("both-at-once", format)?;
    let servers = Servers::start(&store, program, mix)?;
    let mut setup = Imap::login(servers.dovecot.imap, USER, PASSWORD)?;
    // That all make INBOX at the same time is no matter of this run.
    setup.ok("SELECT INBOX")?;
    let owned = (0..WORKERS).map(|worker| worker::own_mailbox(worker, 0));
    for name in MAILBOXES[1..].iter().map(|name| (*name).to_owned()).chain(owned) {
        setup.ok(&format!("CREATE {name}"))?;
    }
    let journal = Journal::create(&store.place.path().join("told.log"))?;
    let deadline = Instant::now() + time;
    let (ledgers, foreign, upkeep) = std::thread::scope(|scope| {
        let third = ThirdParty::on(&store).map(|third| {
            let touches_all = mix == Mix::AllCulver;
            scope.spawn(move || Foreign::run(third, seed, deadline, touches_all))
        });
        let upkeep = Upkeep::of(&store, &servers, program);
        let upkeep = upkeep.map(|upkeep| scope.spawn(move || upkeep.run(seed, deadline)));
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (served, journal) = (servers.of(number), &journal);
                (number, scope.spawn(move || Worker::run(number, seed, served, deadline, journal)))
            })
            .collect();
        let joined = workers.into_iter().map(|(number, worker)| match worker.join() {
            Ok(ledger) => ledger.with_context(|| format!("seed {seed}, worker {number}")),
            Err(_) => Err(anyhow::anyhow!("seed {seed}, worker {number} panicked")),
        });
        let ledgers = joined.collect::<anyhow::Result<Vec<Ledger>>>();
        (ledgers, joined_or_default(third, "the third party"), joined_or_default(upkeep, "the upkeep"))
    });
    let complaints = || format!("seed {seed}, Dovecot's complaints: {:#?}", servers.dovecot.complaints());
    let (foreign, upkeep) = (foreign.with_context(complaints)?, upkeep.with_context(complaints)?);
    let ledgers = ledgers.with_context(complaints)?;
    let mut report = Report { foreign: foreign.changes, upkeep, ..Report::default() };
    report.count(&ledgers);
    report.look(&store, &servers, &ledgers, &foreign)?;
    Ok(report)
}

fn joined_or_default<T: Default>(
    thread: Option<std::thread::ScopedJoinHandle<'_, anyhow::Result<T>>>,
    who: &str,
) -> anyhow::Result<T> {
    let Some(thread) = thread else { return Ok(T::default()) };
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("{who} panicked")))
}

impl Report {
    fn count(&mut self, ledgers: &[Ledger]) {
        self.commands = ledgers.iter().map(|ledger| ledger.commands).sum();
        self.dovecot_commands = ledgers.iter().filter(|ledger| ledger.is_dovecots).map(|ledger| ledger.commands).sum();
        self.dovecots = ledgers.iter().filter(|ledger| ledger.is_dovecots).count() as u64;
        self.unseen = ledgers.iter().map(|ledger| ledger.unseen).sum();
        self.crashes = ledgers.iter().map(|ledger| ledger.crashes).sum();
        self.refusals = ledgers.iter().map(|ledger| ledger.refusals).sum();
        self.went_back.extend(ledgers.iter().flat_map(|ledger| ledger.went_back.clone()));
        self.broken.extend(ledgers.iter().flat_map(|ledger| ledger.broken.clone()));
    }

    /// What the servers show in the end, and what they logged.
    fn look(
        &mut self,
        store: &SharedStore,
        servers: &Servers,
        ledgers: &[Ledger],
        foreign: &Foreign,
    ) -> anyhow::Result<()> {
        let mut found = Found::default();
        let mut mailboxes = BTreeSet::new();
        let culver = servers.culvers.first().map(|culver| culver.imap);
        let dovecot = Some(servers.dovecot.imap);
        for (who, address, tries) in [("dovecot", dovecot, SHOW_TRIES_MAX), ("culver", culver, 1)] {
            let Some(address) = address else { continue };
            let shown = shown_by(address, tries).with_context(|| format!("what {who} shows in the end"))?;
            self.messages = shown.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum();
            check(who, &shown, ledgers, foreign, &mut found);
            mailboxes.extend(shown.mailboxes.into_keys());
        }
        // All Culver processes write to the same log.
        let log = servers.culvers.first().map(Culver::log).transpose()?.unwrap_or_default();
        let deeds = match store.format().is_maildir() {
            true => Deeds::of(store, &mailboxes, &servers.dovecot.log()?, &log),
            false => Deeds::default(),
        };
        self.judge(found, &deeds, ledgers, servers.format == StoreFormat::Mbox);
        let of_the_machine = |line: &String| OF_THE_MACHINE.iter().any(|text| line.contains(text));
        for line in servers.dovecot.complaints()?.iter().filter(|line| !of_the_machine(line)) {
            *self.complaints.entry(kind_of_line(line)).or_default() += 1;
        }
        for line in log.lines() {
            let level = [" WARN ", " ERROR "].into_iter().find_map(|level| Some((level, line.split_once(level)?.1)));
            if let Some((level, text)) = level {
                *self.own_complaints.entry(kind_of_line(&format!(": {}: {text}", level.trim()))).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Whose deed it is that something is not as it should be.
    fn judge(&mut self, found: Found, deeds: &Deeds, ledgers: &[Ledger], is_mbox: bool) {
        let Found { misplaced, broken } = found;
        self.broken.extend(broken);
        let is_dovecots = |number: usize| ledgers.get(number).is_some_and(|ledger| ledger.is_dovecots);
        if is_mbox {
            let of = |line: &str, number: usize| line.contains(&format!(" of worker {number}"));
            let is_own = |line: &str| (0..ledgers.len()).any(|number| is_dovecots(number) && of(line, number));
            let own = self.broken.extract_if(.., |line| is_own(line));
            // Once, though both show it.
            let own: BTreeSet<_> =
                own.map(|line| line.split_once(": ").map_or(line.clone(), |(_, what)| what.to_owned())).collect();
            self.dovecots_own = own.into_iter().collect();
        }
        let mut by_dovecot = Vec::new();
        for what in misplaced {
            match deeds.are_dovecots(&what) {
                Ok(()) => by_dovecot.push(what),
                Err(_) if is_mbox && what.is_dovecots => self.dovecots_own.push(what.to_string()),
                Err(known) => self.misplaced.push(format!("{what} ({known})")),
            }
        }
        for (mailbox, uid) in ledgers.iter().flat_map(|ledger| &ledger.missed) {
            if !by_dovecot.iter().any(|what| what.had(mailbox, *uid)) {
                self.broken.push(format!("{mailbox}: Culver did not find UID {uid} for a COPY or MOVE"));
            }
        }
        self.misplaced_by_dovecot = by_dovecot.iter().map(ToString::to_string).collect();
    }
}

/// How often a Dovecot that dies while it shows the store is asked.
const SHOW_TRIES_MAX: usize = 3;

/// What a server shows in the end, asked so often at most.
fn shown_by(address: SocketAddr, tries: usize) -> anyhow::Result<Shown> {
    let show = || Shown::by(&mut Imap::login(address, USER, PASSWORD)?, Depth::Bodies);
    let is_death = |error: &anyhow::Error| error.root_cause().is::<std::io::Error>();
    let mut shown = show();
    for _ in 1..tries {
        if !shown.as_ref().is_err_and(is_death) {
            break;
        }
        shown = show();
    }
    shown
}

/// What Dovecot says of the machine's clock, not of the mail: a machine with more work than processors, or one that stood still.
const OF_THE_MACHINE: [&str; 2] = ["Time moved forwards", "Time moved backwards"];

/// Both runs of a seed, the second of nothing but Dovecot, and what the first has that the second has not.
pub fn compare(program: &Path, format: StoreFormat, seed: u64, time: Duration) -> anyhow::Result<Compared> {
    let ours = run(program, format, seed, time, Mix::Half)?;
    let theirs = run(program, format, seed, time, Mix::AllDovecot)?;
    ensure!(theirs.dovecot_commands > 0, "eight Dovecot processes did nothing");
    Ok(Compared { ours, theirs })
}
