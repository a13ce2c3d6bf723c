//! A client that has work of its own, and knows what must come of it.

use std::{collections::BTreeMap, fmt, time::Instant};

use anyhow::{Context, ensure};
use fastrand::Rng;

use super::{
    MAILBOXES, Served, USER,
    journal::Journal,
    ledger::{DELIVERED, Ledger, Mine},
};
use crate::{
    dovecot::PASSWORD,
    imap::{Answer, Imap},
    lmtp::Lmtp,
    messages::message,
    observe::sha256,
};

/// A command that was answered NO.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Messages that a worker has, at most, and deliveries that it keeps watch over.
const MESSAGES_MAX: usize = 60;
const DELIVERIES_MAX: usize = 40;

/// What the name of a mailbox that only one worker uses begins with.
pub(super) const OWN: &str = "Own";

/// The mailbox that only this worker uses, after so many renames.
pub(super) fn own_mailbox(worker: u64, renames: u32) -> String {
    format!("{OWN}{worker}-{renames}")
}

pub(super) struct Worker<'j> {
    number: u64,
    journal: &'j Journal,
    rng: Rng,
    imap: Imap,
    lmtp: Option<Lmtp>,
    selected: Option<String>,
    ledger: Ledger,
    served: Served,
    count: u64,
    renames: u32,
    is_renaming: bool,
    /// The highest UID that a mailbox gave this worker, and the highest HIGHESTMODSEQ that it told.
    highest: BTreeMap<String, (u32, u64)>,
    /// The body of the message in hand.
    in_hand: String,
}

impl<'j> Worker<'j> {
    pub(super) fn run(
        number: u64,
        seed: u64,
        served: Served,
        deadline: Instant,
        journal: &'j Journal,
    ) -> anyhow::Result<Ledger> {
        let mut worker = Self {
            number,
            journal,
            rng: Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number)),
            imap: Imap::login(served.imap, USER, PASSWORD)?,
            lmtp: None,
            selected: None,
            ledger: Ledger { is_dovecots: served.is_dovecot, ..Ledger::default() },
            served,
            count: 0,
            renames: 0,
            is_renaming: false,
            highest: BTreeMap::new(),
            in_hand: String::new(),
        };
        while Instant::now() < deadline {
            match worker.step() {
                // Dovecot 2.3.19 dies of signal 11 now and then, with nobody but itself on the store too: how often is
                // compared.
                Err(error) if worker.is_death(&error) => {
                    worker.imap = Imap::login(served.imap, USER, PASSWORD)?;
                    worker.ledger.crashes += 1;
                    worker.after_failure()?;
                }
                // On mbox it refuses commands when its processes wait for each other's locks ("Resource deadlock avoided"),
                // with nobody but itself on the store too: how often is compared.
                Err(error) if served.is_dovecot && served.is_mbox && error.is::<Refused>() => {
                    worker.ledger.refusals += 1;
                    worker.after_failure()?;
                }
                outcome => outcome?,
            }
        }
        match worker.imap.ok("LOGOUT") {
            // It may die here as well.
            Err(error) if worker.is_death(&error) => worker.ledger.crashes += 1,
            outcome => drop(outcome?),
        }
        Ok(worker.ledger)
    }

    /// Whether a Dovecot process died, or left the session in another way.
    fn is_death(&self, error: &anyhow::Error) -> bool {
        self.served.is_dovecot && error.root_cause().is::<std::io::Error>()
    }

    /// For finding out what became of a message: what was asked, and what the server told.
    fn note(&self, began: Instant, what: &str, told: &dyn fmt::Display) {
        let server = if self.served.is_dovecot { "Dovecot" } else { "Culver" };
        let mailbox = self.selected.as_deref().unwrap_or("-");
        self.journal.note(began, &format!("worker {} ({server}) in {mailbox}: {what} -> {told}", self.number));
    }

    fn ok(&mut self, command: &str) -> anyhow::Result<Answer> {
        self.ledger.commands += 1;
        let began = Instant::now();
        let answer = self.imap.command(command);
        match &answer {
            Ok(answer) => self.note(began, command, &format_args!("{} {}", answer.status, answer.text)),
            Err(error) => self.note(began, command, error),
        }
        let answer = answer?;
        if !answer.is_ok() {
            return Err(Refused(format!("{command}: {} {}", answer.status, answer.text)).into());
        }
        Ok(answer)
    }

    fn select(&mut self, mailbox: &str) -> anyhow::Result<()> {
        if self.selected.as_deref() != Some(mailbox) || self.rng.u8(..20) == 0 {
            self.selected = None;
            let answer = self.ok(&format!("SELECT {mailbox} (CONDSTORE)"))?;
            ensure!(answer.number("EXISTS").is_some(), "SELECT without EXISTS");
            let highest = answer.untagged_code("HIGHESTMODSEQ").and_then(|code| code.first()?.parse().ok());
            let known = &mut self.highest.entry(mailbox.to_owned()).or_default().1;
            let highest = highest.unwrap_or(0);
            if highest < *known {
                let who = if self.served.is_dovecot { "Dovecot" } else { "Culver" };
                let text = format!("{mailbox}: HIGHESTMODSEQ went from {known} to {highest}, as {who} tells it");
                // Dovecot 2.3.19 does now and then, with nobody but itself on the store too: how often is compared. One that
                // stays low is told each time.
                let into = if self.served.is_dovecot { &mut self.ledger.went_back } else { &mut self.ledger.broken };
                into.push(text);
            }
            *known = highest.max(*known);
            self.selected = Some(mailbox.to_owned());
        }
        Ok(())
    }

    /// What became of what was in hand is not known.
    fn after_failure(&mut self) -> anyhow::Result<()> {
        self.selected = None;
        self.lmtp = None;
        let body = std::mem::take(&mut self.in_hand);
        self.ledger.messages.retain(|_, mine| mine.body != body);
        self.ledger.delivered.remove(&body);
        self.ledger.uncertain.insert(body);
        if std::mem::take(&mut self.is_renaming) {
            // Which name it has now nobody knows.
            self.renames += 2;
            self.ok(&format!("CREATE {}", own_mailbox(self.number, self.renames)))?;
        }
        Ok(())
    }

    /// A message of mine; only its owner moves, marks or expunges a message, so that a loss is nobody else's doing.
    fn mine(&mut self) -> Option<(String, u32)> {
        let count = self.ledger.messages.len();
        let (key, mine) = (count > 0).then(|| self.ledger.messages.iter().nth(self.rng.usize(..count))).flatten()?;
        self.in_hand.clone_from(&mine.body);
        Some(key.clone())
    }

    fn some_mailbox(&mut self) -> String {
        match MAILBOXES.get(self.rng.usize(..=MAILBOXES.len())) {
            Some(shared) => (*shared).to_owned(),
            None => own_mailbox(self.number, self.renames),
        }
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let dice = if self.ledger.messages.len() < 5 { 0 } else { self.rng.u8(..100) };
        match dice {
            0..22 if self.ledger.messages.len() < MESSAGES_MAX => self.append(),
            22..30 if self.ledger.delivered.len() < DELIVERIES_MAX => self.deliver(),
            30..50 => self.mark(),
            50..60 => self.relocate(false),
            60..72 => self.relocate(true),
            72..88 => self.expunge(),
            88..90 => self.rename(),
            _ => self.noise(),
        }
    }

    fn append(&mut self) -> anyhow::Result<()> {
        let mailbox = self.some_mailbox();
        self.count += 1;
        let mut body = message(&mut self.rng, self.number << 32 | self.count);
        let header_end = body.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if self.served.is_mbox && (!body.ends_with(b"\r\n") || header_end == Some(body.len())) {
            // An mbox has no text without a line end, and no message without a text.
            body.extend_from_slice(b"\r\n");
        }
        self.in_hand = sha256(&body);
        self.ledger.ever.insert(self.in_hand.clone());
        let began = Instant::now();
        let answer = self.imap.append(&mailbox, "", None, &body)?;
        let what = format!("APPEND {} of {} bytes to {mailbox}", self.count, body.len());
        self.note(began, &what, &format_args!("{} {}", answer.status, answer.text));
        if !answer.is_ok() {
            let text = format!("APPEND {} to {mailbox}: {} {}", self.count, answer.status, answer.text);
            return Err(Refused(text).into());
        }
        self.ledger.commands += 1;
        let uid = answer.code("APPENDUID").and_then(|code| code.get(1)?.parse().ok()).context("no APPENDUID")?;
        self.promise(mailbox, uid, Mine { body: sha256(&body), marked: false });
        Ok(())
    }

    /// LMTP tells no UID: what counts is that the message is in INBOX once. Nobody touches it there.
    fn deliver(&mut self) -> anyhow::Result<()> {
        self.count += 1;
        let id = format!("<{}.{}{DELIVERED}", self.number, self.count);
        self.in_hand.clone_from(&id);
        self.ledger.ever.insert(id.clone());
        let text =
            format!("Message-ID: {id}\r\nSubject: delivered\r\n\r\n{}", "a line\r\n".repeat(self.rng.usize(..40)));
        let mut lmtp = match self.lmtp.take() {
            Some(lmtp) => lmtp,
            None => Lmtp::connect(self.served.lmtp)?,
        };
        let began = Instant::now();
        let replies = lmtp.deliver(&[USER], text.as_bytes())?;
        self.note(began, &format!("delivery of {id}"), &format_args!("{replies:?}"));
        if !replies.iter().all(|(code, _)| *code == 250) {
            return Err(Refused(format!("LMTP: {replies:?}")).into());
        }
        self.lmtp = Some(lmtp);
        self.ledger.commands += 1;
        self.ledger.delivered.insert(id);
        Ok(())
    }

    fn promise(&mut self, mailbox: String, uid: u32, mine: Mine) {
        let highest = &mut self.highest.entry(mailbox.clone()).or_default().0;
        if uid <= *highest {
            self.ledger.broken.push(format!("{mailbox}: UID {uid} was given after UID {highest}"));
        }
        *highest = uid;
        self.ledger.told.entry((mailbox.clone(), mine.body.clone())).or_default().push(uid);
        if self.ledger.messages.insert((mailbox.clone(), uid), mine).is_some() {
            self.ledger.broken.push(format!("{mailbox}: UID {uid} was given twice"));
        }
    }

    /// The mailbox that is nobody else's business gets another name, and keeps all else.
    fn rename(&mut self) -> anyhow::Result<()> {
        let (old, new) = (own_mailbox(self.number, self.renames), own_mailbox(self.number, self.renames + 1));
        // Whether a server that dies has renamed it or not, nobody knows.
        let is_there = |(mailbox, _): &(String, u32)| *mailbox == old;
        let there: Vec<_> = self.ledger.messages.extract_if(.., |key, _| is_there(key)).collect();
        self.ledger.uncertain.extend(there.iter().map(|(_, mine)| mine.body.clone()));
        self.is_renaming = true;
        if self.selected.take().is_some() {
            self.ok("UNSELECT")?;
        }
        self.ok(&format!("RENAME {old} {new}"))?;
        self.is_renaming = false;
        self.renames += 1;
        for ((_, uid), mine) in there {
            self.ledger.uncertain.remove(&mine.body);
            self.ledger.messages.insert((new.clone(), uid), mine);
        }
        let told: Vec<_> = self.ledger.told.extract_if(.., |(mailbox, _), _| *mailbox == old).collect();
        self.ledger.told.extend(told.into_iter().map(|((_, body), uids)| ((new.clone(), body), uids)));
        if let Some(highest) = self.highest.remove(&old) {
            self.highest.insert(new, highest);
        }
        Ok(())
    }

    fn keyword(&self) -> String {
        format!("mark{}", self.number)
    }

    fn mark(&mut self) -> anyhow::Result<()> {
        let Some((mailbox, uid)) = self.mine() else { return Ok(()) };
        self.select(&mailbox)?;
        let on = self.rng.bool();
        self.ok(&format!("UID STORE {uid} {}FLAGS.SILENT ({})", if on { "+" } else { "-" }, self.keyword()))?;
        if let Some(mine) = self.ledger.messages.get_mut(&(mailbox, uid)) {
            mine.marked = on;
        }
        Ok(())
    }

    fn relocate(&mut self, moving: bool) -> anyhow::Result<()> {
        let Some((mailbox, uid)) = self.mine() else { return Ok(()) };
        let to = self.some_mailbox();
        if self.served.is_mbox && self.served.is_dovecot && to == mailbox {
            // Dovecot corrupts its index, also with nobody else on the store (`docs/formats/mbox.md`).
            return Ok(());
        }
        self.select(&mailbox)?;
        let answer = self.ok(&format!("UID {} {uid} {to}", if moving { "MOVE" } else { "COPY" }))?;
        let code = answer.code("COPYUID").or_else(|| answer.untagged_code("COPYUID"));
        let Some(copy) = code.and_then(|code| code.get(2)?.parse().ok()) else {
            match self.served.is_dovecot {
                true => self.ledger.unseen += 1,
                false => self.ledger.missed.push((mailbox, uid)),
            }
            return Ok(());
        };
        let began = Instant::now();
        self.note(began, &format!("UID {uid} to {to}"), &format_args!("COPYUID {copy}"));
        let key = (mailbox, uid);
        let Some(mine) = self.ledger.messages.get(&key).cloned() else { return Ok(()) };
        if moving {
            self.ledger.messages.remove(&key);
        }
        self.promise(to, copy, mine);
        Ok(())
    }

    fn expunge(&mut self) -> anyhow::Result<()> {
        let Some((mailbox, uid)) = self.mine() else { return Ok(()) };
        self.select(&mailbox)?;
        self.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))?;
        self.ok(&format!("UID EXPUNGE {uid}"))?;
        self.ledger.messages.remove(&(mailbox, uid));
        Ok(())
    }

    /// What others do to everybody's messages: reading, and flags that no ledger keeps.
    fn noise(&mut self) -> anyhow::Result<()> {
        let mailbox = MAILBOXES[self.rng.usize(..MAILBOXES.len())];
        self.select(mailbox)?;
        match self.rng.u8(..4) {
            0 => drop(self.ok("UID FETCH 1:* (FLAGS)")?),
            1 => drop(self.ok("NOOP")?),
            2 => {
                let sign = if self.rng.bool() { "+" } else { "-" };
                drop(self.ok(&format!("UID STORE 1:* {sign}FLAGS.SILENT (\\Flagged)"))?);
            }
            // Somebody may expunge a message while it is fetched: NO is an honest answer.
            _ => drop(self.imap.command("UID FETCH 1:* (ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?),
        }
        Ok(())
    }
}
