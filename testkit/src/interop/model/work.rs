//! Random work, drawn from a seed: what clients do to a mailbox, and what each may expect of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::ensure;
use fastrand::Rng;

use super::{
    Ledger, OTHER,
    belief::{Flags, set},
    client::Client,
    text,
};

/// Messages above which appending gives way to other work.
const MESSAGES_MAX: usize = 60;

/// Flags that may be stored, `\Deleted` apart.
const FLAGS: [&str; 6] = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Label", "work"];

/// A client at work.
pub(super) struct Worker<'l> {
    pub(super) client: Client,
    ledger: &'l Mutex<Ledger>,
    rng: Rng,
    pub(super) resynchronized: u64,
}

/// What a client remembers of a mailbox that it left.
struct Memory {
    highest: u64,
    messages: BTreeMap<u32, Flags>,
    /// A place and the UID there.
    sample: Option<(usize, u32)>,
}

impl<'l> Worker<'l> {
    pub(super) fn new(client: Client, ledger: &'l Mutex<Ledger>, rng: Rng) -> Self {
        Self { client, ledger, rng, resynchronized: 0 }
    }

    fn ledger(&self) -> MutexGuard<'l, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enables what this client knows of, and selects the mailbox.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        match self.rng.u32(0..3) {
            0 => {}
            1 => {
                self.client.command("ENABLE CONDSTORE")?;
                self.client.belief.condstore = true;
            }
            _ => {
                self.client.command("ENABLE QRESYNC")?;
                (self.client.belief.condstore, self.client.belief.qresync) = (true, true);
            }
        }
        self.client.select("")?;
        self.learn()
    }

    /// Asks for what is not known of messages. FETCH may find some of them gone; they will be told.
    pub(super) fn learn(&mut self) -> anyhow::Result<()> {
        let unknown = |known: &super::belief::Known| known.uid.is_none() || known.flags.is_none();
        let Some(first) = self.client.belief.messages.iter().position(unknown) else { return Ok(()) };
        let items = if self.client.belief.condstore { "(UID FLAGS MODSEQ)" } else { "(UID FLAGS)" };
        self.client.command(&format!("FETCH {}:* {items}", first + 1)).map(drop)
    }

    /// One command, or a few that belong together.
    pub(super) fn step(&mut self) -> anyhow::Result<()> {
        self.one()?;
        self.check_texts()
    }

    /// What was read of messages is what was appended.
    fn check_texts(&mut self) -> anyhow::Result<()> {
        let mut ledger = self.ledger();
        for (uid, subject) in self.client.read.drain(..) {
            ensure!(ledger.is(uid, subject), "UID {uid} is {:?}, and {subject} is told", ledger.subject_of.get(&uid));
        }
        Ok(())
    }

    fn one(&mut self) -> anyhow::Result<()> {
        self.learn()?;
        let count = self.client.belief.messages.len();
        if count == 0 || (count < MESSAGES_MAX && self.rng.u32(0..6) == 0) {
            return self.append();
        }
        match self.rng.u32(0..30) {
            0..8 => self.store(),
            8..13 => self.fetch(),
            13..16 => self.search(),
            16 => self.saved_result(),
            17..19 => self.delete(),
            19 => self.expunge(),
            20..22 => self.move_away(),
            22..25 => self.client.command(["NOOP", "CHECK"][self.rng.usize(0..2)]).map(drop),
            25 => self.client.idle(Duration::from_millis(self.rng.u64(1..20))).map(drop),
            26 => self.status(),
            27 => self.close(),
            _ => self.come_back(),
        }
    }

    fn append(&mut self) -> anyhow::Result<()> {
        let subject = {
            let mut ledger = self.ledger();
            ledger.subjects += 1;
            ledger.subjects
        };
        let flags = self.flags().into_iter().collect::<Vec<_>>().join(" ");
        let answer = self.client.append(&flags, text(subject).as_bytes())?;
        let uid: u32 = answer.code("APPENDUID").and_then(|code| code.get(1)?.parse().ok()).unwrap_or_default();
        let mut ledger = self.ledger();
        ensure!(ledger.given.insert(uid), "APPENDUID {uid} was given before");
        ensure!(ledger.is(uid, subject), "APPENDUID {uid} is of subject {subject}, and another was read there");
        Ok(())
    }

    fn flags(&mut self) -> Flags {
        (0..self.rng.usize(0..3)).map(|_| FLAGS[self.rng.usize(0..FLAGS.len())].to_owned()).collect()
    }

    /// Some messages: their places, and how a command names them.
    fn some(&mut self, by_uid: bool) -> (Vec<usize>, String) {
        let count = self.client.belief.messages.len();
        let first = self.rng.usize(0..count);
        let last = (first + self.rng.usize(0..5)).min(count - 1);
        if by_uid {
            let uids: Vec<(usize, u32)> =
                self.client.belief.uids().filter(|(at, _)| (first..=last).contains(at)).collect();
            if let (Some((_, low)), Some((_, high))) = (uids.first(), uids.last()) {
                let named = format!("{low}:{high}");
                return (uids.into_iter().map(|(at, _)| at).collect(), named);
            }
        }
        ((first..=last).collect(), format!("{}:{}", first + 1, last + 1))
    }

    /// By UID only where UIDs are known.
    fn by_uid(&mut self) -> bool {
        self.rng.bool() && self.client.belief.messages.iter().all(|message| message.uid.is_some())
    }

    fn store(&mut self) -> anyhow::Result<()> {
        let by_uid = self.by_uid();
        let (places, named) = self.some(by_uid);
        let flags = self.flags();
        let action = ["+", "-", ""][self.rng.usize(0..3)];
        let silent = if self.rng.bool() { ".SILENT" } else { "" };
        let mut condition = String::new();
        if self.client.belief.condstore && self.rng.u32(0..3) == 0 {
            let known = places.first().and_then(|&at| self.client.belief.messages.get(at)?.mod_seq);
            condition = format!(" (UNCHANGEDSINCE {})", known.unwrap_or(self.client.highest));
        }
        self.expect(&places, action, &flags);
        let flags = flags.into_iter().collect::<Vec<_>>().join(" ");
        let uid = if by_uid { "UID " } else { "" };
        let answer = self.client.command(&format!("{uid}STORE {named}{condition} {action}FLAGS{silent} ({flags})"))?;
        if let Some(modified) = answer.code("MODIFIED") {
            let modified = set(modified.first().map_or(&[][..], |text| text.as_bytes())).map_err(anyhow::Error::msg)?;
            ensure!(!condition.is_empty(), "MODIFIED, and there was no condition");
            ensure!(modified.len() <= places.len() + 5, "MODIFIED names more than was named");
        }
        Ok(())
    }

    /// As clients do: what they change they take for changed, until they are told otherwise.
    fn expect(&mut self, places: &[usize], action: &str, flags: &Flags) {
        for &at in places {
            let Some(message) = self.client.belief.messages.get_mut(at) else { continue };
            let Some(have) = &mut message.flags else { continue };
            match action {
                "+" => have.extend(flags.iter().cloned()),
                "-" => have.retain(|flag| !flags.contains(flag)),
                // `\Deleted` goes as well.
                _ => have.clone_from(flags),
            }
            message.mod_seq = None;
        }
    }

    fn fetch(&mut self) -> anyhow::Result<()> {
        let by_uid = self.by_uid();
        let (_, named) = self.some(by_uid);
        let items = [
            "FLAGS",
            "(FLAGS BODY.PEEK[])",
            "BODY[]",
            "(ENVELOPE BODY[TEXT])",
            "(RFC822.SIZE BODY.PEEK[TEXT] UID)",
            "(UID FLAGS MODSEQ)",
        ];
        let items = items[self.rng.usize(0..items.len())];
        let uid = if by_uid { "UID " } else { "" };
        if items.contains("MODSEQ") {
            // From here on everything comes with its mod-sequence.
            self.client.command(&format!("{uid}FETCH {named} {items}"))?;
            self.client.belief.condstore = true;
            return Ok(());
        }
        self.client.command(&format!("{uid}FETCH {named} {items}")).map(drop)
    }

    fn search(&mut self) -> anyhow::Result<()> {
        let keys = ["ALL", "SEEN", "KEYWORD $Label", "1:3", "NOT DELETED", "SUBJECT 1", "OR FLAGGED 1:2"];
        let key = keys[self.rng.usize(0..keys.len())];
        let by_uid = self.by_uid();
        let uid = if by_uid { "UID " } else { "" };
        let known: BTreeSet<u32> = self.client.belief.uids().map(|(_, uid)| uid).collect();
        let count = self.client.belief.messages.len();
        let answer = self.client.command(&format!("{uid}SEARCH {key}"));
        let answer = match (answer, count) {
            // A sequence number that is not there is an error (`1:3` of two messages).
            (Err(error), 0..3) if error.to_string().contains(": BAD ") => return Ok(()),
            (answer, _) => answer?,
        };
        for found in answer.search() {
            let is_there = if by_uid { known.contains(&found) } else { found as usize <= count };
            ensure!(is_there, "SEARCH finds {found}, which is not there");
        }
        Ok(())
    }

    fn saved_result(&mut self) -> anyhow::Result<()> {
        self.client.command("SEARCH RETURN (SAVE) FLAGGED")?;
        let command = ["FETCH $ FLAGS", "UID FETCH $ FLAGS", "SEARCH $", "FETCH $ BODY[TEXT]"];
        self.client.command(command[self.rng.usize(0..command.len())]).map(drop)
    }

    /// Marks messages as deleted.
    fn delete(&mut self) -> anyhow::Result<()> {
        let (places, _) = self.some(false);
        let uids: Vec<u32> = places.iter().filter_map(|&at| self.client.belief.messages.get(at)?.uid).collect();
        if uids.len() < places.len() {
            return Ok(());
        }
        self.ledger().unwanted.extend(&uids);
        let named: Vec<String> = uids.iter().map(u32::to_string).collect();
        self.expect(&places, "+", &Flags::from(["\\Deleted".to_owned()]));
        self.client.command(&format!("UID STORE {} +FLAGS (\\Deleted)", named.join(","))).map(drop)
    }

    fn expunge(&mut self) -> anyhow::Result<()> {
        if !self.by_uid() {
            return self.client.command("EXPUNGE").map(drop);
        }
        let (_, named) = self.some(true);
        self.client.command(&format!("UID EXPUNGE {named}")).map(drop)
    }

    fn move_away(&mut self) -> anyhow::Result<()> {
        if !self.client.belief.messages.iter().all(|message| message.uid.is_some()) {
            return Ok(());
        }
        let (_, named) = self.some(true);
        let answer = self.client.command(&format!("UID MOVE {named} {OTHER}"))?;
        if let Some((source, _)) = Client::copy_uid(&answer)? {
            for uid in source {
                ensure!(self.ledger().moved.insert(uid), "UID {uid} was moved twice");
            }
        }
        Ok(())
    }

    fn status(&mut self) -> anyhow::Result<()> {
        self.client.command("STATUS INBOX (MESSAGES UIDNEXT UNSEEN RECENT)").map(drop)
    }

    /// CLOSE expunges what is marked, and tells nothing.
    fn close(&mut self) -> anyhow::Result<()> {
        self.client.command("CLOSE")?;
        self.client.select("")?;
        self.learn()
    }

    /// Leaves the mailbox, comes back, and must learn of all that happened meanwhile.
    fn come_back(&mut self) -> anyhow::Result<()> {
        if !self.client.belief.qresync {
            self.client.select("")?;
            return self.learn();
        }
        // Up to here everything is known: what the tagged OK says has been told.
        self.client.command("NOOP")?;
        self.learn()?;
        let known =
            self.client.belief.messages.iter().filter_map(|message| Some((message.uid?, message.flags.clone()?)));
        let uids: Vec<(usize, u32)> = self.client.belief.uids().collect();
        let is_whole = uids.len() == self.client.belief.messages.len();
        let memory = Memory {
            highest: self.client.highest,
            messages: known.collect(),
            sample: uids.get(self.rng.usize(0..uids.len().max(1))).copied().filter(|_| is_whole),
        };
        self.client.command("UNSELECT")?;
        std::thread::sleep(Duration::from_millis(self.rng.u64(0..30)));
        self.resynchronize(memory)
    }

    fn resynchronize(&mut self, memory: Memory) -> anyhow::Result<()> {
        let Memory { highest, mut messages, sample } = memory;
        let (Some(last), true) = (messages.keys().last().copied(), highest > 0) else {
            self.client.select("")?;
            return self.learn();
        };
        let known = match (self.rng.u32(0..3), sample) {
            (0, _) => String::new(),
            (1, Some((at, uid))) => format!(" 1:{last} ({} {uid})", at + 1),
            _ => format!(" 1:{last}"),
        };
        self.client.select(&format!(" (QRESYNC ({} {highest}{known}))", self.client.uid_validity))?;
        let now = self.client.highest;
        messages.retain(|uid, _| !self.client.belief.earlier.contains(uid));
        for message in &self.client.belief.messages {
            if let (Some(uid), Some(flags)) = (message.uid, &message.flags) {
                messages.insert(uid, flags.clone());
            }
        }
        // What the store has. Changes from here on have larger mod-sequences.
        self.client.command("FETCH 1:* (UID FLAGS MODSEQ)").or_else(|error| {
            match self.client.belief.messages.len() {
                0 => Ok(crate::imap::Answer { untagged: Vec::new(), status: String::new(), text: error.to_string() }),
                _ => Err(error),
            }
        })?;
        let mut there = BTreeSet::new();
        for message in &self.client.belief.messages {
            let (Some(uid), Some(flags), Some(mod_seq)) = (message.uid, &message.flags, message.mod_seq) else {
                continue;
            };
            there.insert(uid);
            if mod_seq <= now && uid <= last {
                let believed = messages.get(&uid);
                ensure!(believed == Some(flags), "after QRESYNC, UID {uid} is believed {believed:?} and is {flags:?}");
            }
        }
        let gone: Vec<&u32> = messages.keys().filter(|uid| !there.contains(uid)).collect();
        let unknown = self.client.belief.messages.iter().filter(|message| message.uid.is_none()).count();
        ensure!(gone.len() <= unknown, "after QRESYNC, {gone:?} are believed there and are gone");
        self.resynchronized += 1;
        Ok(())
    }
}
