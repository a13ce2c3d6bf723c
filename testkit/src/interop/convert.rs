//! Conversions, killed at any moment and run again: a Dovecot shows of the result what a Dovecot showed of the source.
//!
//! A Dovecot fills the store; it is converted to sdbox and back, and each time Dovecot is asked for all that IMAP shows, with
//! mod-sequences, and for the GUIDs of mailboxes and messages.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fastrand::Rng;
use sha1::{Digest as _, Sha1};

use super::{StoreFormat, USER};
use crate::{
    dovecot::{Dovecot, PASSWORD, Release, Setup},
    imap::{Imap, quote},
    messages,
    observe::{Depth, Shown},
    place::{MailUser, Place},
};

/// What the runs showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages in the source.
    pub messages: u32,
    /// Kills that hit a conversion under way.
    pub kills: u32,
    /// How long each conversion took that was not killed, by what to what.
    pub seconds: Vec<(String, f64)>,
    /// What Dovecot shows otherwise, or complains of; must be empty.
    pub broken: Vec<String>,
}

/// Longest time until a kill.
const KILL_AFTER_MAX: Duration = Duration::from_millis(900);

/// Mailboxes of the source beside INBOX.
const MAILBOXES: [&str; 4] = ["Work", "Work/Projects", "Entw&APw-rfe", "Empty"];

/// All that a Dovecot tells of a store.
#[derive(Debug, Default, Eq, PartialEq)]
struct Told {
    shown: Shown,
    /// By mailbox: HIGHESTMODSEQ, then each message's mod-sequence.
    modseqs: BTreeMap<String, Vec<String>>,
    /// By mailbox and UID; the mailbox's own without one.
    guids: BTreeMap<(String, String), String>,
}

impl Told {
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = self.shown.differences(&other.shown);
        for (name, ours) in &self.modseqs {
            let theirs = other.modseqs.get(name);
            if theirs != Some(ours) {
                let at = ours.iter().zip(theirs.into_iter().flatten()).find(|(a, b)| a != b);
                lines.push(format!("{name}: mod-sequences differ, first {at:?}"));
            }
        }
        for (what, ours) in &self.guids {
            if other.guids.get(what) != Some(ours) {
                lines.push(format!("{what:?}: GUID {ours} and {:?}", other.guids.get(what)));
            }
        }
        lines.truncate(20);
        lines
    }
}

/// Where a run keeps its stores.
struct Stage<'a> {
    program: &'a Path,
    place: Place,
    owner: MailUser,
    report: Report,
}

/// Fills a store of that format with so many messages, converts it to sdbox and back, each killed `kills` times.
pub fn run(program: &Path, format: StoreFormat, seed: u64, messages: u32, kills: u32) -> anyhow::Result<Report> {
    let mut rng = Rng::with_seed(seed);
    let place = Place::new("convert")?;
    let owner = MailUser::for_tests()?;
    let mut stage = Stage { program, place, owner, report: Report::default() };
    let source = stage.folder("source")?;
    let before = {
        let dovecot = stage.dovecot("filler", format, &source)?;
        stage.report.messages = fill(&dovecot, &mut rng, messages)?;
        told(&dovecot)?
    };
    // The other way round first, where the format itself is the middle one.
    let middle = if format == StoreFormat::Sdbox { StoreFormat::Maildir } else { StoreFormat::Sdbox };
    let there = stage.folder("there")?;
    stage.convert(&mut rng, (format, &source), (middle, &there), kills)?;
    stage.compare("there", middle, &there, &before)?;
    let back = stage.folder("back")?;
    stage.convert(&mut rng, (middle, &there), (format, &back), kills)?;
    stage.compare("back", format, &back, &before)?;
    Ok(stage.report)
}

impl Stage<'_> {
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.place.folder_of(&self.owner, name)?.join("mail"))
    }

    fn dovecot(&self, name: &str, format: StoreFormat, mail: &Path) -> anyhow::Result<Dovecot> {
        let folder = self.place.path().join(format!("dovecot-{name}"));
        std::fs::create_dir_all(&folder)?;
        let extra = format.dovecot_settings(Release::chosen()?);
        let setup = Setup { mail_location: format.mail_location(mail), users: &[USER], extra: &extra };
        Dovecot::start(&folder, &self.owner, &setup)
    }

    fn command(&self, from: (StoreFormat, &Path), to: (StoreFormat, &Path)) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--data").arg(self.place.path().join("data"));
        command.arg("convert").arg(from.0.mail_location(from.1)).arg(to.0.mail_location(to.1));
        command.current_dir(self.place.path()).stdin(Stdio::null());
        self.owner.run_as(&mut command);
        command
    }

    /// Converts, with so many kills before it may end, and has the converter compare.
    fn convert(
        &mut self,
        rng: &mut Rng,
        from: (StoreFormat, &Path),
        to: (StoreFormat, &Path),
        kills: u32,
    ) -> anyhow::Result<()> {
        for _ in 0..kills {
            let mut child = self.command(from, to).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            std::thread::sleep(Duration::from_micros(rng.u64(1_000..KILL_AFTER_MAX.as_micros() as u64)));
            if child.try_wait()?.is_none() {
                self.report.kills += 1;
                child.kill()?;
            }
            child.wait()?;
        }
        let start = Instant::now();
        for arguments in [&[][..], &["--verify"][..]] {
            let output = self.command(from, to).args(arguments).output()?;
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{} to {} failed: {errors}", from.0.name(), to.0.name());
            if arguments.is_empty() {
                let what = format!("{} to {}", from.0.name(), to.0.name());
                self.report.seconds.push((what, start.elapsed().as_secs_f64()));
            }
        }
        Ok(())
    }

    fn compare(&mut self, name: &str, format: StoreFormat, mail: &Path, before: &Told) -> anyhow::Result<()> {
        let dovecot = self.dovecot(name, format, mail)?;
        let now = told(&dovecot).with_context(|| format!("Dovecot on {}", format.name()))?;
        let found = before.differences(&now).into_iter().chain(dovecot.complaints()?);
        self.report.broken.extend(found.map(|line| format!("{name} ({}): {line}", format.name())));
        Ok(())
    }
}

/// Fills the store by IMAP: messages of every kind, flags, keywords, holes between the UIDs and at their end.
fn fill(dovecot: &Dovecot, rng: &mut Rng, messages: u32) -> anyhow::Result<u32> {
    let mut imap = Imap::login(dovecot.imap, USER, PASSWORD)?;
    for mailbox in MAILBOXES {
        imap.ok(&format!("CREATE {}", quote(mailbox)))?;
    }
    imap.ok("SUBSCRIBE Work")?;
    imap.ok("SUBSCRIBE INBOX")?;
    let targets = ["INBOX", "Work", "Work/Projects", "Entw&APw-rfe"];
    let mut number = 0;
    for target in targets {
        imap.ok(&format!("SELECT {} (CONDSTORE)", quote(target)))?;
        let share = messages / targets.len() as u32;
        let mut left = share;
        while left > 0 {
            let count = rng.u32(1..60).min(left);
            left -= count;
            let mut batch = Vec::new();
            for _ in 0..count {
                number += 1;
                let text = match number % 16 == 5 {
                    true => messages::varied(rng, number.into()),
                    false => messages::message(rng, number.into()),
                };
                let flags = ["", "\\Seen", "\\Flagged $Label1", "\\Answered \\Seen", "Work \\Draft"];
                let date = format!("{:02}-Mar-20{:02} 12:00:{:02} +0200", rng.u8(1..29), rng.u8(0..27), rng.u8(0..60));
                batch.push((flags.get(rng.usize(..flags.len())).copied().unwrap_or_default(), date, text));
            }
            let batch: Vec<_> =
                batch.iter().map(|(flags, date, text)| (*flags, Some(date.as_str()), text.as_slice())).collect();
            imap.append_many(target, &batch)?;
        }
        for _ in 0..share / 10 {
            let uid = rng.u32(1..=share);
            let change = ["+FLAGS (\\Flagged)", "-FLAGS (\\Seen)", "+FLAGS ($Later)", "FLAGS (\\Answered)"];
            imap.ok(&format!("UID STORE {uid} {}", change.get(rng.usize(..change.len())).unwrap_or(&"FLAGS ()")))?;
        }
        imap.ok(&format!("UID STORE {},{}:{share} +FLAGS (\\Deleted)", rng.u32(1..=share), share - share / 20))?;
        imap.ok("EXPUNGE")?;
    }
    Ok(number)
}

/// Asks a Dovecot for all there is.
fn told(dovecot: &Dovecot) -> anyhow::Result<Told> {
    let mut imap = Imap::login(dovecot.imap, USER, PASSWORD)?;
    let mut told = Told { shown: Shown::by(&mut imap, Depth::Bodies)?, ..Told::default() };
    for name in told.shown.mailboxes.keys().cloned().collect::<Vec<_>>() {
        let separator = imap.separator()?;
        let on_wire = name.replace('/', &separator.to_string());
        let answer = imap.ok(&format!("EXAMINE {} (CONDSTORE)", quote(&on_wire)))?;
        let mut lines = vec![format!("{:?}", answer.untagged_code("HIGHESTMODSEQ"))];
        let answer = imap.ok("UID FETCH 1:* (UID MODSEQ)")?;
        lines.extend(answer.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
        told.modseqs.insert(name, lines);
    }
    let mailboxes = dovecot.doveadm(&["-f", "tab", "mailbox", "status", "-u", USER, "guid", "*"])?;
    for line in String::from_utf8(mailboxes)?.lines().skip(1) {
        let Some((name, guid)) = line.split_once('\t') else { continue };
        told.guids.insert((name.replace('.', "/"), String::new()), guid.to_owned());
    }
    let messages = dovecot.doveadm(&["-f", "tab", "fetch", "-u", USER, "mailbox uid guid", "all"])?;
    for line in String::from_utf8(messages)?.lines().skip(1) {
        let [name, uid, guid] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        told.guids.insert((name.replace('.', "/"), uid.to_owned()), guid_of_text(guid));
    }
    Ok(told)
}

/// A GUID as stores have it that keep 16 bytes: Dovecot hashes any other, such as the name of a Maildir's file.
fn guid_of_text(text: &str) -> String {
    if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return text.to_owned();
    }
    Sha1::digest(text).iter().skip(4).map(|byte| format!("{byte:02x}")).collect()
}
