//! A client that believes what it is told, and looks whether it may be told so.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use anyhow::{bail, ensure};

use super::{
    MAILBOX,
    belief::{Belief, During, Flags, set},
    subject_of,
};
use crate::{
    dovecot::PASSWORD,
    imap::{Answer, Imap},
    interop::USER,
    wire::{Token, tokens},
};

/// Lines of the conversation that are kept for an error's story.
const HISTORY_LEN: usize = 60;

/// A connection with what its client believes.
pub(super) struct Client {
    imap: Imap,
    pub(super) belief: Belief,
    pub(super) uid_validity: u32,
    /// UIDNEXT and HIGHESTMODSEQ, as last told; neither may fall.
    uid_next: u32,
    pub(super) highest: u64,
    pub(super) commands: u64,
    pub(super) responses: u64,
    /// UIDs, and subjects of the messages that were told under them, to be compared with what others know.
    pub(super) read: Vec<(u32, u32)>,
    /// Texts checked.
    pub(super) texts: u64,
    history: VecDeque<String>,
}

impl Client {
    pub(super) fn login(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            imap: Imap::login(address, USER, PASSWORD)?,
            belief: Belief::default(),
            uid_validity: 0,
            uid_next: 0,
            highest: 0,
            commands: 0,
            responses: 0,
            read: Vec::new(),
            texts: 0,
            history: VecDeque::new(),
        })
    }

    /// The end of the conversation.
    pub(super) fn history(&self) -> String {
        let lines: Vec<&str> = self.history.iter().map(String::as_str).collect();
        format!("after\n{}", lines.join("\n"))
    }

    fn note(&mut self, line: String) {
        if self.history.len() >= HISTORY_LEN {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    /// A command without literals.
    pub(super) fn command(&mut self, command: &str) -> anyhow::Result<Answer> {
        let tag = self.imap.tag();
        self.note(format!("C: {command}"));
        self.imap.send(format!("{tag} {command}\r\n").as_bytes())?;
        self.finish(&tag, command)
    }

    /// APPEND of one message.
    pub(super) fn append(&mut self, flags: &str, message: &[u8]) -> anyhow::Result<Answer> {
        let tag = self.imap.tag();
        let command = format!("APPEND {MAILBOX} ({flags}) {{{}+}}", message.len());
        self.note(format!("C: {command}"));
        self.imap.send(&[format!("{tag} {command}\r\n").as_bytes(), message, b"\r\n"].concat())?;
        self.finish(&tag, &command)
    }

    /// IDLE for a moment.
    pub(super) fn idle(&mut self, time: std::time::Duration) -> anyhow::Result<Answer> {
        let tag = self.imap.tag();
        self.note("C: IDLE".to_owned());
        self.imap.send(format!("{tag} IDLE\r\n").as_bytes())?;
        std::thread::sleep(time);
        self.imap.send(b"DONE\r\n")?;
        self.finish(&tag, "IDLE")
    }

    /// Reads to the tagged answer; every response before it is checked.
    fn finish(&mut self, tag: &str, command: &str) -> anyhow::Result<Answer> {
        self.commands += 1;
        let answer = self.imap.finish(tag)?;
        let during = during(command);
        for line in &answer.untagged {
            self.responses += 1;
            self.note(format!("S: * {}", shown(line)));
            if let Err(rule) = self.belief.take(line, during) {
                bail!("{command}: {rule}: {}", shown(line));
            }
            self.read_text(line)?;
            let text = String::from_utf8_lossy(line);
            if let Some((number, _)) = text.strip_prefix("OK [HIGHESTMODSEQ ").and_then(|rest| rest.split_once(']')) {
                self.highest_told(number, during)?;
            }
        }
        self.note(format!("S: {} {}", answer.status, answer.text));
        let may_fail = answer.status == "NO" && answer.text.starts_with("[EXPUNGEISSUED]");
        ensure!(answer.is_ok() || may_fail, "{command}: {} {}", answer.status, answer.text);
        if let Some(code) = answer.code("HIGHESTMODSEQ") {
            self.highest_told(code.first().map_or("", String::as_str), during)?;
        }
        self.counts_told(&answer)?;
        Ok(answer)
    }

    /// A FETCH response's text and size are those of one message, as it was appended.
    fn read_text(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let Ok(words) = tokens(line) else { return Ok(()) };
        let [Token::Atom(n), Token::Atom(word), Token::List(items)] = &words[..] else { return Ok(()) };
        if word != b"FETCH" {
            return Ok(());
        }
        let items: BTreeMap<String, String> =
            items.chunks_exact(2).filter_map(|pair| Some((pair.first()?.text(), pair.get(1)?.text()))).collect();
        let whole = items.get("BODY[]").cloned().or_else(|| {
            // "body of 7": what follows the header of subject 7.
            let body = items.get("BODY[TEXT]")?;
            let subject = body.strip_prefix("body of ").and_then(|rest| rest.split('\r').next()).unwrap_or_default();
            Some(format!("Subject: {subject}\r\n\r\n{body}"))
        });
        let Some(whole) = whole else { return Ok(()) };
        let Some(subject) = subject_of(&whole) else { bail!("no message has this text: {}", shown(line)) };
        if let Some(size) = items.get("RFC822.SIZE") {
            ensure!(*size == whole.len().to_string(), "{subject} has {} bytes: {}", whole.len(), shown(line));
        }
        self.texts += 1;
        let at = String::from_utf8_lossy(n).parse::<usize>()?.wrapping_sub(1);
        let uid = self.belief.messages.get(at).and_then(|message| message.uid);
        self.read.extend(uid.map(|uid| (uid, subject)));
        Ok(())
    }

    fn highest_told(&mut self, number: &str, during: During) -> anyhow::Result<()> {
        let told: u64 = number.parse()?;
        ensure!(told >= self.highest, "HIGHESTMODSEQ falls from {} to {told}", self.highest);
        // While VANISHED is held back it is that of before (RFC 7162 §6).
        let may_be_behind = self.belief.qresync && during.numbers_stay;
        let largest = self.belief.mod_seq_max;
        ensure!(may_be_behind || told >= largest, "HIGHESTMODSEQ {told}, and a message has {largest}");
        self.highest = told;
        Ok(())
    }

    fn counts_told(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let status = answer.untagged.iter().find_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            line.strip_prefix(&format!("STATUS {MAILBOX} (")).map(str::to_owned)
        });
        let mut uid_next = answer.untagged_code("UIDNEXT").and_then(|code| code.first()?.parse().ok());
        if let Some(status) = status {
            let words: Vec<&str> = status.trim_end_matches(')').split(' ').collect();
            for pair in words.chunks_exact(2) {
                match pair {
                    ["UIDNEXT", n] => uid_next = n.parse().ok(),
                    ["HIGHESTMODSEQ", n] => self.highest_told(n, During::default())?,
                    _ => {}
                }
            }
        }
        if let Some(uid_next) = uid_next {
            let last = self.belief.uids().last().map_or(0, |(_, uid)| uid);
            ensure!(uid_next >= self.uid_next, "UIDNEXT falls from {} to {uid_next}", self.uid_next);
            ensure!(uid_next > last, "UIDNEXT is {uid_next}, and there is UID {last}");
            self.uid_next = uid_next;
        }
        Ok(())
    }

    /// Selects the mailbox anew; what was believed of it is forgotten.
    pub(super) fn select(&mut self, parameter: &str) -> anyhow::Result<Answer> {
        let Belief { condstore, qresync, .. } = self.belief;
        self.belief = Belief { condstore, qresync, ..Belief::default() };
        let answer = self.command(&format!("SELECT {MAILBOX}{parameter}"))?;
        let number = |name| -> Option<u32> { answer.untagged_code(name)?.first()?.parse().ok() };
        let (Some(uid_validity), Some(uid_next)) = (number("UIDVALIDITY"), number("UIDNEXT")) else {
            bail!("SELECT without UIDVALIDITY or UIDNEXT");
        };
        ensure!(self.uid_validity == 0 || self.uid_validity == uid_validity, "UIDVALIDITY changed");
        self.uid_validity = uid_validity;
        self.belief.uid_next = uid_next;
        self.belief.at_first = self.belief.messages.len();
        Ok(answer)
    }

    /// What the client sees: UIDs and flags; all must be known.
    pub(super) fn seen(&self) -> anyhow::Result<Vec<(u32, Flags)>> {
        let all = self.belief.messages.iter().map(|message| Some((message.uid?, message.flags.clone()?)));
        let all: Option<Vec<_>> = all.collect();
        all.ok_or_else(|| anyhow::anyhow!("not all is known: {:?}", self.belief.messages))
    }

    /// The UIDs of a COPYUID, source and destination.
    pub(super) fn copy_uid(answer: &Answer) -> anyhow::Result<Option<(BTreeSet<u32>, BTreeSet<u32>)>> {
        let Some(code) = answer.code("COPYUID").or_else(|| answer.untagged_code("COPYUID")) else { return Ok(None) };
        let [_, source, destination] = code.as_slice() else { bail!("COPYUID {code:?}") };
        let parsed = |text: &String| set(text.as_bytes()).map_err(anyhow::Error::msg);
        let (source, destination) = (parsed(source)?, parsed(destination)?);
        ensure!(source.len() == destination.len(), "COPYUID {code:?}: not pairs");
        Ok(Some((source, destination)))
    }
}

/// What may be told in the course of a command.
fn during(command: &str) -> During {
    let is = |name: &str| command.starts_with(name);
    let numbers_in_search = is("UID SEARCH") && command.contains(" 1:");
    During {
        numbers_stay: is("FETCH") || is("STORE") || is("SEARCH") || numbers_in_search,
        fetches: is("FETCH") || is("UID FETCH") || is("SELECT"),
    }
}

fn shown(line: &[u8]) -> String {
    let text = line.escape_ascii().to_string();
    text.chars().take(300).collect()
}
