//! The same random commands to Culver and to a real Dovecot, each on its own copy of one store: every answer must be the
//! same, but for what `normal` leaves out and [`allowed::ALLOWED`] lists.

pub mod allowed;
mod grammar;
mod grammar_of_messages;
mod messages;
mod normal;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;

use self::{grammar::Grammar, normal::Normal};
use super::{StoreFormat, USER};
use crate::{
    culver::Culver,
    dovecot::{Dovecot, PASSWORD, Release, Setup},
    fixtures::{store_in, unpack},
    imap::{Imap, quote},
    place::{MailUser, Place, copy_tree},
};

/// Commands in one session, at most.
const SESSION_COMMANDS_MAX: u32 = 60;
/// Copies of the store, at most.
const USERS_MAX: u32 = 2000;
/// Longer than any answer takes; a server that waits for more input is found out by it.
const PATIENCE: Duration = Duration::from_secs(10);
/// So that failed logins cost no time, and messages given by hand keep their dates.
const EXTRA: &str = "auth_failure_delay = 0
mail_max_keyword_length = 50
namespace inbox {
  mailbox Drafts {
    special_use = \\Drafts
  }
  mailbox Sent {
    special_use = \\Sent
  }
  mailbox Junk {
    special_use = \\Junk
  }
  mailbox Trash {
    special_use = \\Trash
  }
  mailbox Archive {
    special_use = \\Archive
  }
}
";

/// What Dovecot logs of itself, and what says nothing about Culver: assertions that it fails, messages that it looks for
/// under the old name after RENAME of the mailbox that is selected, and limits of the machine.
const ITS_OWN: [&str; 5] =
    ["Panic: ", "Raw backtrace: ", "killed with signal 6", "Unexpectedly lost uid", "Inotify instance limit"];

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Commands sent to both, by name.
    pub commands: BTreeMap<String, u32>,
    /// Answers by their status.
    pub statuses: BTreeMap<String, u32>,
    /// Untagged responses compared.
    pub responses: u64,
    /// Differences that are allowed, by the name of their rule.
    pub allowed: BTreeMap<&'static str, u32>,
    /// Commands upon which Dovecot closed the connection.
    pub closed: Vec<String>,
    /// Kinds of assertions that Dovecot failed.
    pub panics: BTreeSet<String>,
    /// What Dovecot logged and should not.
    pub complaints: Vec<String>,
    /// Differences that are not.
    pub differences: Vec<Difference>,
}

/// A command that the two servers answer differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What changed the list of mailboxes since the two copies were made, in this session and those before it.
    pub list_changes: Vec<String>,
    /// The session's commands, this one last.
    pub commands: Vec<String>,
    /// Lines that only Culver has.
    pub culver: Vec<String>,
    /// Lines that only Dovecot has.
    pub dovecot: Vec<String>,
}

/// Sends `commands` commands, with another user's copies of the store wherever the two may differ by now, and stops after
/// `differences_max` of them.
pub fn run(
    program: &Path,
    format: StoreFormat,
    seed: u64,
    commands: u32,
    differences_max: usize,
) -> anyhow::Result<Report> {
    let place = Place::new("same-answers")?;
    let mut peers = Peers::new(program, format, &place)?;
    let mut rng = Rng::with_seed(seed);
    let mut report = Report::default();
    let mut left = commands;
    while left > 0 && report.differences.len() < differences_max {
        let user = peers.next_user()?;
        let before = report.differences.len();
        let (mut is_same, mut past) = (true, Past::default());
        while left > 0 && is_same && report.differences.len() == before {
            let many = rng.u32(1..=SESSION_COMMANDS_MAX).min(left);
            let mut session = Session::new(&peers, &user, rng.fork(), &mut report);
            session.past = past;
            left -= session.run(many).with_context(|| format!("seed {seed}"))?;
            is_same = session.is_same;
            past = session.past;
        }
    }
    let (panics, others): (Vec<String>, Vec<String>) =
        peers.dovecot.complaints()?.into_iter().partition(|line| ITS_OWN.iter().any(|words| line.contains(words)));
    report.complaints = others;
    report.panics =
        panics.iter().filter(|line| line.contains("Panic: ")).map(|line| super::kind_of_line(line)).collect();
    Ok(report)
}

/// A store filled by a real Dovecot, and the two servers that serve copies of it: each pair of copies is a user's.
struct Peers {
    culver: Culver,
    dovecot: Dovecot,
    folder: PathBuf,
    owner: MailUser,
    store: PathBuf,
    /// The UIDVALIDITYs that are there from the start; those of mailboxes created later differ by the second.
    uid_validities: BTreeSet<u32>,
    users: u32,
}

impl Peers {
    fn new(program: &Path, format: StoreFormat, place: &Place) -> anyhow::Result<Self> {
        let owner = MailUser::for_tests()?;
        let home = place.folder_of(&owner, "filled")?;
        unpack(format.name(), &home)?;
        owner.own(&home)?;
        let store = store_in(format.name(), &home);
        let extra = format!("{EXTRA}{}", format.dovecot_settings(Release::chosen()?));
        let uid_validities = fill(place.path(), &owner, format.mail_location(&store), &extra)?;
        let names: Vec<String> = (0..USERS_MAX).map(user).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let data = place.folder_of(&owner, "data")?;
        Culver::prepare(&data, &owner, &names)?;
        let mail = place.folder_of(&owner, "dovecot-mail")?;
        let mail_location = format.mail_location(&mail.join("%u"));
        let dovecot = Dovecot::start(place.path(), &owner, &Setup { mail_location, users: &names, extra: &extra })?;
        let settings = format.culver_settings();
        let settings: Vec<&str> = settings.iter().map(String::as_str).chain(["storage.separator=/"]).collect();
        let culver = Culver::start_set(program, &data, &owner, &settings)?;
        Ok(Self { culver, dovecot, folder: place.path().to_owned(), owner, store, uid_validities, users: 0 })
    }

    /// The next user, with a copy at each server.
    fn next_user(&mut self) -> anyhow::Result<String> {
        ensure!(self.users < USERS_MAX, "the stores differ too often");
        let user = user(self.users);
        self.users += 1;
        copy_tree(&self.store, &Culver::mail_of(&self.folder.join("data"), &user), &self.owner)?;
        copy_tree(&self.store, &self.folder.join("dovecot-mail").join(&user), &self.owner)?;
        Ok(user)
    }
}

fn user(number: u32) -> String {
    format!("ann{number}")
}

/// Appends messages of every kind to the fixture's store, and reads the UIDVALIDITYs.
fn fill(folder: &Path, owner: &MailUser, mail_location: String, extra: &str) -> anyhow::Result<BTreeSet<u32>> {
    let filler = folder.join("filler");
    std::fs::create_dir_all(&filler)?;
    let dovecot = Dovecot::start(&filler, owner, &Setup { mail_location, users: &[USER], extra })?;
    let mut imap = Imap::login(dovecot.imap, USER, PASSWORD)?;
    for (mailbox, messages) in [("INBOX", 10), ("Kinds", 40), ("Name with spaces", 6)] {
        // It may be there already.
        imap.command(&format!("CREATE {}", quote(mailbox)))?;
        let mut rng = Rng::with_seed(messages);
        for (number, message) in messages::all(&mut rng, messages).into_iter().enumerate() {
            let date = format!("{:02}-Feb-2021 10:{:02}:07 +0{}00", number % 28 + 1, number % 60, number % 10);
            let flags =
                ["", "\\Seen", "\\Flagged $Forwarded", "\\Answered \\Seen Junk", "\\Draft \\Deleted"][number % 5];
            let answer = imap.append(mailbox, flags, Some(&date), &message)?;
            ensure!(answer.is_ok(), "filling {mailbox}: {} {}", answer.status, answer.text);
        }
    }
    let mut uid_validities = BTreeSet::new();
    for line in imap.ok("LIST \"\" * RETURN (STATUS (UIDVALIDITY))")?.untagged {
        let line = String::from_utf8_lossy(&line).into_owned();
        let number = line.strip_prefix("STATUS").and_then(|line| line.rsplit_once(' '));
        uid_validities.extend(number.and_then(|(_, number)| number.trim_end_matches(')').parse::<u32>().ok()));
    }
    Ok(uid_validities)
}

struct Session<'r> {
    peers: &'r Peers,
    normal: Normal<'r>,
    grammar: Grammar,
    report: &'r mut Report,
    history: Vec<String>,
    /// Flags and keywords as Culver told them last, and Dovecot.
    told_flags: [BTreeSet<String>; 2],
    past: Past,
    /// Whether the two stores still are the same, as far as known.
    is_same: bool,
}

/// What was asked for on the two copies of a store, in all sessions so far.
#[derive(Debug, Default)]
struct Past {
    /// Keywords, in lower case, that commands named, perhaps without giving them to a message. Dovecot takes them for known,
    /// and may write them to the index with the next change.
    mentioned: BTreeSet<String>,
    /// Commands that change the list of mailboxes.
    list_changes: Vec<String>,
}

impl<'r> Session<'r> {
    fn new(peers: &'r Peers, user: &str, rng: Rng, report: &'r mut Report) -> Self {
        let normal = Normal::new(&peers.uid_validities);
        Self {
            peers,
            normal,
            grammar: Grammar::new(rng, user),
            report,
            history: Vec::new(),
            told_flags: Default::default(),
            past: Past::default(),
            is_same: true,
        }
    }

    /// Sends up to so many commands; says how many, and whether the stores still are the same.
    fn run(&mut self, commands: u32) -> anyhow::Result<u32> {
        let connect = |address| -> anyhow::Result<Imap> {
            let mut imap = Imap::connect(address)?;
            imap.patience(PATIENCE)?;
            Ok(imap)
        };
        let (mut culver, mut dovecot) = (connect(self.peers.culver.imap)?, connect(self.peers.dovecot.imap)?);
        for number in 0..commands {
            let command = match number {
                0 => self.grammar.before_login(),
                1 if !self.grammar.is_logged_in => self.grammar.login(),
                _ => self.grammar.command(),
            };
            let is_over = !self.both(&command, &mut culver, &mut dovecot)?;
            if is_over {
                return Ok(number + 1);
            }
        }
        Ok(commands)
    }

    /// Sends a command to both. Says whether the session can go on.
    fn both(&mut self, command: &[u8], culver: &mut Imap, dovecot: &mut Imap) -> anyhow::Result<bool> {
        let shown = command.escape_ascii().to_string();
        self.history.push(shown.clone());
        let name = grammar::name_of(command);
        *self.report.commands.entry(name.clone()).or_default() += 1;
        let theirs = send(dovecot, command);
        let ours = send(culver, command);
        self.past.mentioned.extend(grammar::mentioned_keywords(command));
        if ["CREATE", "DELETE", "RENAME"].contains(&&*name) {
            let status =
                |lines: &anyhow::Result<crate::imap::Answer>| lines.as_ref().map_or("-", |a| &a.status).to_owned();
            self.past.list_changes.push(format!("{shown}: {}, {}", status(&ours), status(&theirs)));
        }
        let (mut their_lines, mut our_lines) = (self.lines(&name, &theirs), self.lines(&name, &ours));
        self.take_flags(0, &mut our_lines);
        self.take_flags(1, &mut their_lines);
        self.report.responses += their_lines.len() as u64;
        if let Some(status) = their_lines.last() {
            let status = status.split(' ').next().unwrap_or_default().to_owned();
            *self.report.statuses.entry(status).or_default() += 1;
        }
        if let Ok(answer) = &theirs {
            self.grammar.learn(command, answer);
        }
        if our_lines == their_lines {
            return Ok(theirs.is_ok() && name != "LOGOUT");
        }
        let (ours, theirs) = (only(&our_lines, &their_lines), only(&their_lines, &our_lines));
        if let Some(rule) = allowed::rule(command, &our_lines, &their_lines) {
            *self.report.allowed.entry(rule.name).or_default() += 1;
            if theirs.iter().any(|line| line == "no answer: connection closed") {
                self.report.closed.push(shown);
            }
            self.is_same &= rule.goes_on;
            return Ok(rule.goes_on);
        }
        let commands = std::mem::take(&mut self.history);
        let list_changes = std::mem::take(&mut self.past.list_changes);
        self.report.differences.push(Difference { list_changes, commands, culver: ours, dovecot: theirs });
        Ok(false)
    }

    /// Which flags a mailbox has is compared as last told: Dovecot tells of keywords that were only mentioned too, and
    /// then not again when a message gets them.
    fn take_flags(&mut self, server: usize, lines: &mut Vec<String>) {
        let is_flags = |line: &String| line.starts_with("FLAGS (");
        let told = &mut self.told_flags[server];
        if let Some(flags) = lines.iter().rfind(|line| is_flags(line)) {
            *told = flags["FLAGS (".len()..flags.len() - 1].split(' ').map(str::to_owned).collect();
        }
        let is_selecting = lines.iter().any(|line| line.starts_with("* OK [UIDVALIDITY"));
        lines.retain(|line| !is_flags(line) && (is_selecting || !line.starts_with("* OK [PERMANENTFLAGS")));
        let known: Vec<&str> = told
            .iter()
            .map(String::as_str)
            .filter(|flag| !self.past.mentioned.contains(&flag.to_lowercase()))
            .collect();
        lines.insert(0, format!("flags of the mailbox: {}", known.join(" ")));
    }

    fn lines(&self, name: &str, answer: &anyhow::Result<crate::imap::Answer>) -> Vec<String> {
        match answer {
            Ok(answer) => self.normal.lines(name, answer),
            Err(error) => {
                let error = format!("{error:#}");
                let is_closed = ["Broken pipe", "Connection reset", "unexpected end"].iter().any(|e| error.contains(e));
                vec![format!("no answer: {}", if is_closed { "connection closed" } else { &error })]
            }
        }
    }
}

/// A command that asks for a continuation waits for it, piece by piece.
fn send(imap: &mut Imap, command: &[u8]) -> anyhow::Result<crate::imap::Answer> {
    let pieces: Vec<&[u8]> = split_at_waits(command);
    let Some((last, before)) = pieces.split_last() else { bail!("nothing to send") };
    let tag = imap.tag();
    imap.send(tag.as_bytes())?;
    imap.send(b" ")?;
    let mut untagged = Vec::new();
    for piece in before {
        imap.send(piece)?;
        loop {
            let response = imap.response()?;
            if response.starts_with(b"+") {
                break;
            }
            if let Some(answer) = Imap::answer(&tag, &response) {
                return Ok(crate::imap::Answer { untagged, ..answer });
            }
            untagged.push(response.strip_prefix(b"* ").unwrap_or(&response).to_vec());
        }
    }
    imap.send(last)?;
    imap.send(b"\r\n")?;
    let mut answer = imap.finish(&tag)?;
    untagged.append(&mut answer.untagged);
    Ok(crate::imap::Answer { untagged, ..answer })
}

/// Where a client has to wait, the grammar leaves a NUL, which no command has.
fn split_at_waits(command: &[u8]) -> Vec<&[u8]> {
    command.split(|&byte| byte == 0).collect()
}

fn only(one: &[String], other: &[String]) -> Vec<String> {
    let mut rest: Vec<&String> = other.iter().collect();
    let mut only = Vec::new();
    for line in one {
        match rest.iter().position(|other| *other == line) {
            Some(at) => drop(rest.remove(at)),
            None => only.push(line.clone()),
        }
    }
    if only.is_empty() && one.len() == other.len() { one.to_vec() } else { only }
}
