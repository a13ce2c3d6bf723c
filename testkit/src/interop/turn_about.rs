//! Random changes of one store, each made by Culver or by a real Dovecot, or on a Maildir by `mv`, `ln` and `rm`, as the
//! dice say, both asked after each for all that IMAP shows.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use fastrand::Rng;

use super::{SharedStore, StoreFormat, USER, maintenance::Maintenance, third_party::ThirdParty};
use crate::{
    culver::Culver,
    dovecot::{Dovecot, PASSWORD},
    imap::{Imap, quote},
    messages::message,
    observe::{Depth, Shown},
};

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Changes made, by server and kind.
    pub changes: BTreeMap<String, u32>,
    /// Messages in the store at the end.
    pub messages: usize,
    /// How often all that both show was compared.
    pub comparisons: u32,
    /// What Dovecot logged when all was over and `doveadm force-resync` looked for something to mend.
    pub resync: Vec<String>,
}

/// All that IMAP shows.
const DEPTH: Depth = Depth::ModSeqs;

/// The mailboxes that may come and go.
const NAMES: [&str; 6] = ["Work", "Work/Deep", "Sent", "Entw&APw-rfe", "A &- B", "Old stuff/x"];
const KEYWORDS: [&str; 5] = ["$Forwarded", "Junk", "NonJunk", "custom1", "project-x"];
const FLAGS: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

/// What Dovecot says of a file that left a mailbox and came back under its old name, as files do that are moved by `mv`:
/// it says so with nobody but itself on the store.
pub(super) const COMING_BACK: [&str; 2] = ["Duplicate file entry at line", REAPPEARED];

/// What it says then of a message that it gives another UID.
pub(super) const REAPPEARED: &str = "Expunged message reappeared, giving a new UID";

/// Makes `changes` random changes and compares after each; the first difference is an error that names the seed.
pub fn run(program: &Path, format: StoreFormat, seed: u64, changes: u32) -> anyhow::Result<Report> {
    let store = SharedStore::new("turn-about", format)?;
    let culver = store.culver(program)?;
    let dovecot = store.dovecot("peer")?;
    let mut run = Run::new(&store, program, &culver, &dovecot, seed)?;
    for number in 0..changes {
        let what = run.change().with_context(|| format!("seed {seed}, change {number}, after {:?}", run.history()))?;
        let compared = run.compare(number);
        compared.with_context(|| format!("seed {seed}, change {number} ({what}), after {:?}", run.history()))?;
    }
    let mut complaints = dovecot.complaints()?;
    let before = complaints.len();
    if run.third_party.is_some() {
        complaints.retain(|line| !COMING_BACK.iter().any(|allowed| line.contains(allowed)));
    }
    ensure!(complaints.is_empty(), "seed {seed}: Dovecot complains:\n{}", complaints.join("\n"));
    run.resync(changes).with_context(|| format!("seed {seed}: doveadm force-resync finds something to mend"))?;
    run.report.resync = dovecot.complaints()?.split_off(before);
    let found = run.report.resync.iter().filter(|line| !REBUILDING.iter().any(|own| line.contains(own)));
    let found: Vec<_> = found.cloned().collect();
    ensure!(found.is_empty(), "seed {seed}: doveadm force-resync finds something to mend:\n{}", found.join("\n"));
    Ok(run.report)
}

/// What `doveadm force-resync` says of a store that is sound: that it looks.
const REBUILDING: [&str; 2] = ["rebuilding indexes", "Rebuilding index"];

struct Server {
    name: &'static str,
    address: std::net::SocketAddr,
    actor: Imap,
    watcher: Imap,
    separator: char,
}

struct Run<'d> {
    rng: Rng,
    store: &'d SharedStore,
    program: &'d Path,
    dovecot: &'d Dovecot,
    servers: [Server; 2],
    third_party: Option<ThirdParty>,
    maintenance: &'static [Maintenance],
    shown: Shown,
    report: Report,
    recent: Vec<String>,
    number: u64,
}

impl<'d> Run<'d> {
    fn new(
        store: &'d SharedStore,
        program: &'d Path,
        culver: &Culver,
        dovecot: &'d Dovecot,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let server = |name, address| -> anyhow::Result<Server> {
            let login = || Imap::login(address, USER, PASSWORD);
            let (actor, mut watcher) = (login()?, login()?);
            let separator = watcher.separator()?;
            Ok(Server { name, address, actor, watcher, separator })
        };
        let mut servers = [server("culver", culver.imap)?, server("dovecot", dovecot.imap)?];
        let shown = Shown::by(&mut servers[0].watcher, DEPTH)?;
        Ok(Self {
            rng: Rng::with_seed(seed),
            store,
            program,
            dovecot,
            servers,
            third_party: ThirdParty::on(store),
            maintenance: Maintenance::of(store.format()),
            shown,
            report: Report::default(),
            recent: Vec::new(),
            number: 0,
        })
    }

    fn history(&self) -> &[String] {
        &self.recent
    }

    fn change(&mut self) -> anyhow::Result<String> {
        if self.third_party.is_some() && self.rng.u8(..4) == 0 {
            return self.foreign_change();
        }
        if !self.maintenance.is_empty() && self.rng.u8(..16) == 0 {
            let what = self.maintenance[self.rng.usize(..self.maintenance.len())];
            let what = what.perform(&mut self.rng, self.store, Some(self.program), self.dovecot)?;
            self.remember(what.to_owned());
            *self.report.changes.entry(what.to_owned()).or_default() += 1;
            return Ok(what.to_owned());
        }
        let dice = self.rng.usize(..2);
        let command = self.command();
        // A Dovecot that copies within one mbox where flags are put off corrupts its index, also with nobody else on the
        // store (`docs/formats/mbox.md`).
        let server = if self.store.format() == StoreFormat::Mbox && command.stays() { 0 } else { dice };
        let name = self.servers[server].name;
        let what = format!("{name}: {}", command.shown());
        self.remember(what.clone());
        // A session whose selected mailbox somebody deleted or renamed is ended by the server, at its next command or
        // after it.
        let is_ended = (0..2).any(|_| self.servers[server].actor.command("NOOP").is_err());
        if self.rng.u8(..40) == 0 || is_ended {
            let address = self.servers[server].address;
            self.servers[server].actor = Imap::login(address, USER, PASSWORD)?;
        }
        if matches!(command, Command::Create { .. } | Command::Delete { .. } | Command::Rename { .. }) {
            // A Dovecot session that has a mailbox selected while it is renamed and its name is taken again takes the new
            // mailbox's log for its own and marks it corrupted; two Dovecots do that to each other too.
            for server in &mut self.servers {
                server.actor.command("UNSELECT")?;
            }
            // And one that renamed a mailbox does not tell others of what it creates next, unless it looks at the list
            // in between (seen with nothing but Dovecot on the store): a new session does.
            self.servers[server].actor = Imap::login(self.servers[server].address, USER, PASSWORD)?;
            // A Dovecot session that has looked at a mailbox keeps its index for some seconds, also where the mailbox is
            // deleted while others lie below it: if it is made anew then, in the same folder, the session finds nothing.
            if self.store.format() == StoreFormat::MaildirFs {
                for server in &mut self.servers {
                    server.watcher = Imap::login(server.address, USER, PASSWORD)?;
                }
            }
        }
        let Server { actor, separator, .. } = &mut self.servers[server];
        command.perform(actor, *separator).with_context(|| what.clone())?;
        *self.report.changes.entry(format!("{name} {}", command.kind())).or_default() += 1;
        Ok(what)
    }

    fn remember(&mut self, what: String) {
        self.recent.push(what);
        if self.recent.len() > 12 {
            self.recent.remove(0);
        }
    }

    fn foreign_change(&mut self) -> anyhow::Result<String> {
        let Some(third) = &mut self.third_party else { return Ok(String::new()) };
        let mailboxes: Vec<String> = self.shown.mailboxes.keys().cloned().collect();
        self.number += 1;
        let message = message(&mut self.rng, self.number);
        let what = third.change(&mut self.rng, &mailboxes, &message)?;
        self.remember(format!("third: {what}"));
        let kind = what.split(' ').next().unwrap_or_default();
        *self.report.changes.entry(format!("third {kind}")).or_default() += 1;
        Ok(what)
    }

    /// Dovecot looks through everything: both must show afterwards what they showed before. It writes the state of each
    /// message anew, so these get new mod-sequences.
    fn resync(&mut self, number: u32) -> anyhow::Result<()> {
        let before = self.shown.clone().without_mod_seqs();
        // By its name each: of `*` Dovecot would try to open what it lists of a Maildir and has not.
        for mailbox in self.shown.mailboxes.keys() {
            self.dovecot.doveadm(&["force-resync", "-u", USER, mailbox])?;
        }
        for server in &mut self.servers {
            server.watcher = Imap::login(server.address, USER, PASSWORD)?;
        }
        self.compare(number)?;
        let differences = before.differences(&self.shown.clone().without_mod_seqs());
        ensure!(differences.is_empty(), "one = before, other = after\n{}", differences.join("\n"));
        Ok(())
    }

    fn compare(&mut self, number: u32) -> anyhow::Result<()> {
        // Which of the two looks first must not matter either.
        let first = (number % 2) as usize;
        let one = Shown::by(&mut self.servers[first].watcher, DEPTH)?;
        let other = Shown::by(&mut self.servers[1 - first].watcher, DEPTH)?;
        let differences = one.differences(&other);
        let (one_name, other_name) = (self.servers[first].name, self.servers[1 - first].name);
        ensure!(differences.is_empty(), "one = {one_name}, other = {other_name}\n{}", differences.join("\n"));
        self.report.comparisons += 1;
        self.report.messages = one.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum();
        self.shown = one;
        Ok(())
    }

    fn command(&mut self) -> Command {
        let total: usize = self.shown.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum();
        let mailboxes: Vec<String> = self.shown.mailboxes.keys().cloned().collect();
        let filled: Vec<String> =
            self.shown.mailboxes.iter().filter(|(_, m)| !m.messages.is_empty()).map(|(name, _)| name.clone()).collect();
        let mailbox = mailboxes[self.rng.usize(..mailboxes.len())].clone();
        let dice = self.rng.u8(..100);
        if filled.is_empty() || dice < 22 && total < 60 {
            return self.append(mailbox);
        }
        let source = filled[self.rng.usize(..filled.len())].clone();
        match dice {
            22..50 => self.store(source),
            50..62 if total < 60 => {
                Command::Copy { to: mailbox, uids: self.some_uids(&source), from: source, moving: false }
            }
            62..70 => Command::Copy { to: mailbox, uids: self.some_uids(&source), from: source, moving: true },
            70..76 => Command::Create { name: self.name() },
            76..80 => match mailboxes.iter().filter(|name| *name != "INBOX").nth(self.rng.usize(..mailboxes.len())) {
                Some(name) => Command::Delete { name: name.clone() },
                None => self.store(source),
            },
            80..85 => match mailboxes.iter().filter(|name| *name != "INBOX").nth(self.rng.usize(..mailboxes.len())) {
                Some(from) => Command::Rename { from: from.clone(), to: self.name() },
                None => self.store(source),
            },
            85..90 => Command::Subscribe { name: self.name(), on: self.rng.bool() },
            _ => Command::Expunge { uids: self.some_uids(&source), mailbox: source, by_uid: self.rng.bool() },
        }
    }

    fn name(&mut self) -> String {
        NAMES[self.rng.usize(..NAMES.len())].to_owned()
    }

    fn append(&mut self, mailbox: String) -> Command {
        let count = if self.rng.u8(..6) == 0 { self.rng.usize(2..5) } else { 1 };
        let messages = (0..count).map(|_| {
            self.number += 1;
            (self.flags(), message(&mut self.rng, self.number))
        });
        Command::Append { messages: messages.collect(), mailbox }
    }

    fn flags(&mut self) -> String {
        let mut flags: Vec<&str> = FLAGS.iter().chain(&KEYWORDS).copied().collect();
        self.rng.shuffle(&mut flags);
        flags.truncate(self.rng.usize(..4));
        flags.join(" ")
    }

    fn store(&mut self, mailbox: String) -> Command {
        let action = ["FLAGS", "+FLAGS", "-FLAGS", "+FLAGS.SILENT", "FLAGS.SILENT"][self.rng.usize(..5)];
        Command::Store { uids: self.some_uids(&mailbox), mailbox, action, flags: self.flags() }
    }

    fn some_uids(&mut self, mailbox: &str) -> String {
        let uids: Vec<u32> = self.shown.mailboxes[mailbox].messages.keys().copied().collect();
        match self.rng.u8(..4) {
            0 => "1:*".to_owned(),
            1 => {
                let chosen: Vec<_> = uids.iter().filter(|_| self.rng.bool()).map(u32::to_string).collect();
                if chosen.is_empty() { uids[0].to_string() } else { chosen.join(",") }
            }
            _ => uids[self.rng.usize(..uids.len())].to_string(),
        }
    }
}

enum Command {
    Append { mailbox: String, messages: Vec<(String, Vec<u8>)> },
    Store { mailbox: String, uids: String, action: &'static str, flags: String },
    Copy { from: String, to: String, uids: String, moving: bool },
    Expunge { mailbox: String, uids: String, by_uid: bool },
    Create { name: String },
    Delete { name: String },
    Rename { from: String, to: String },
    Subscribe { name: String, on: bool },
}

impl Command {
    fn kind(&self) -> &'static str {
        match self {
            Self::Append { messages, .. } if messages.len() > 1 => "multiappend",
            Self::Append { .. } => "append",
            Self::Store { .. } => "store",
            Self::Copy { moving: true, .. } => "move",
            Self::Copy { .. } => "copy",
            Self::Expunge { .. } => "expunge",
            Self::Create { .. } => "create",
            Self::Delete { .. } => "delete",
            Self::Rename { .. } => "rename",
            Self::Subscribe { .. } => "subscribe",
        }
    }

    /// Whether it copies to where it copies from.
    fn stays(&self) -> bool {
        matches!(self, Self::Copy { from, to, .. } if from == to)
    }

    fn shown(&self) -> String {
        match self {
            Self::Append { mailbox, messages } => format!("APPEND {} messages to {mailbox}", messages.len()),
            Self::Store { mailbox, uids, action, flags } => format!("{mailbox}: UID STORE {uids} {action} ({flags})"),
            Self::Copy { from, to, uids, moving } => {
                format!("{from}: {} {uids} to {to}", if *moving { "MOVE" } else { "COPY" })
            }
            Self::Expunge { mailbox, uids, by_uid } => {
                format!("{mailbox}: {} {uids}", if *by_uid { "UID EXPUNGE" } else { "EXPUNGE" })
            }
            Self::Create { name } => format!("CREATE {name}"),
            Self::Delete { name } => format!("DELETE {name}"),
            Self::Rename { from, to } => format!("RENAME {from} to {to}"),
            Self::Subscribe { name, on } => format!("{}SUBSCRIBE {name}", if *on { "" } else { "UN" }),
        }
    }

    /// Names that exist, or do not, are answered NO: what counts is that both servers show the same afterwards.
    fn perform(&self, imap: &mut Imap, separator: char) -> anyhow::Result<()> {
        let named = |name: &str| name.replace('/', separator.encode_utf8(&mut [0; 4]));
        let quote = |name: &str| quote(&named(name));
        match self {
            Self::Append { mailbox, messages } => {
                let messages: Vec<_> =
                    messages.iter().map(|(flags, message)| (flags.as_str(), None, message.as_slice())).collect();
                let answer = imap.append_many(&named(mailbox), &messages)?;
                ensure!(answer.is_ok(), "{} {}", answer.status, answer.text);
            }
            Self::Store { mailbox, uids, action, flags } => {
                imap.ok(&format!("SELECT {}", quote(mailbox)))?;
                imap.ok(&format!("UID STORE {uids} {action} ({flags})"))?;
            }
            Self::Copy { from, to, uids, moving } => {
                imap.ok(&format!("SELECT {}", quote(from)))?;
                imap.ok(&format!("UID {} {uids} {}", if *moving { "MOVE" } else { "COPY" }, quote(to)))?;
            }
            Self::Expunge { mailbox, uids, by_uid } => {
                imap.ok(&format!("SELECT {}", quote(mailbox)))?;
                imap.ok(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)"))?;
                imap.ok(&if *by_uid { format!("UID EXPUNGE {uids}") } else { "EXPUNGE".to_owned() })?;
            }
            Self::Create { name } => drop(imap.command(&format!("CREATE {}", quote(name)))?),
            Self::Delete { name } => drop(imap.command(&format!("DELETE {}", quote(name)))?),
            Self::Rename { from, to } => drop(imap.command(&format!("RENAME {} {}", quote(from), quote(to)))?),
            Self::Subscribe { name, on: true } => drop(imap.command(&format!("SUBSCRIBE {}", quote(name)))?),
            Self::Subscribe { name, on: false } => drop(imap.command(&format!("UNSUBSCRIBE {}", quote(name)))?),
        }
        Ok(())
    }
}
