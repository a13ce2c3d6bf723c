//! Conversions, killed at any moment and run again: a Dovecot shows of the result what a Dovecot showed of the source.
//!
//! A Dovecot fills the store; it is converted to sdbox and back, and each time Dovecot is asked for all that IMAP shows, with
//! mod-sequences, for the GUIDs of mailboxes and messages, and for POP3 ids.

mod told;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fastrand::Rng;

use self::told::Told;
use super::{StoreFormat, USER};
use crate::{
    dovecot::{Dovecot, PASSWORD, Release, Setup},
    imap::{Imap, quote},
    messages,
    place::{MailUser, Place},
};

/// What the runs showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages in the source when it was converted.
    pub messages: usize,
    /// Kills that hit a conversion under way.
    pub kills: u32,
    /// Conversions that had ended before their kill came, and were begun anew in an empty place.
    pub begun_anew: u32,
    /// How long each conversion took that was not killed, by what to what.
    pub seconds: Vec<(String, f64)>,
    /// Messages of which Dovecot tells another date of saving than before. Stores have that in their caches at best.
    pub other_save_dates: usize,
    /// What the converter says that the destination cannot hold.
    pub losses: Vec<String>,
    /// What Dovecot shows otherwise, or complains of; must be empty.
    pub broken: Vec<String>,
}

/// Part of a conversion's time that all kills together may take, in hundredths: the last of them is to hit one too.
const KILLED_PERCENT: u32 = 140;

/// Shortest time until a kill.
const KILL_AFTER_MIN: Duration = Duration::from_millis(1);

/// A run may start so often from nothing because its conversion ended before it was killed.
const BEGUN_ANEW_MAX: u32 = 50;

/// Where a run keeps its stores.
struct Stage<'a> {
    program: &'a Path,
    place: Place,
    owner: MailUser,
    report: Report,
}

/// A store, and what it is.
type Store<'a> = (StoreFormat, &'a Path);

/// Fills a store of that format with so many messages, converts it to sdbox and back, each killed `kills` times.
pub fn run(program: &Path, format: StoreFormat, seed: u64, messages: u32, kills: u32) -> anyhow::Result<Report> {
    let mut rng = Rng::with_seed(seed);
    let place = Place::new("convert")?;
    let owner = MailUser::for_tests()?;
    let mut stage = Stage { program, place, owner, report: Report::default() };
    let source = stage.folder("source")?;
    let before = {
        let dovecot = stage.dovecot("filler", format, &source)?;
        fill(&dovecot, &mut rng, format, messages)?;
        Told::by(&dovecot)?
    };
    stage.report.messages = before.message_count();
    // The other way round first, where the format itself is the middle one.
    let middle = if format == StoreFormat::Sdbox { StoreFormat::Maildir } else { StoreFormat::Sdbox };
    let there = stage.folder("there")?;
    stage.convert(&mut rng, (format, &source), (middle, &there), kills)?;
    stage.compare("there", middle, &there, &before)?;
    let back = stage.folder("back")?;
    stage.convert(&mut rng, (middle, &there), (format, &back), kills)?;
    stage.compare("back", format, &back, &before)?;
    // The conversions have only read it.
    stage.compare("source", format, &source, &before)?;
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

    fn command(&self, from: Store<'_>, to: Store<'_>) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--data").arg(self.place.path().join("data"));
        // The locations tell the rest.
        let settings = to.0.culver_settings();
        let settings = settings.iter().filter(|setting| setting.contains("compression") || setting.contains("rotate"));
        command.args(settings.flat_map(|setting| ["--set", setting]));
        command.arg("convert").arg(from.0.mail_location(from.1)).arg(to.0.mail_location(to.1));
        command.current_dir(self.place.path()).stdin(Stdio::null());
        self.owner.run_as(&mut command);
        command
    }

    /// Converts, with so many kills before it may end, and has the converter compare.
    fn convert(&mut self, rng: &mut Rng, from: Store<'_>, to: Store<'_>, kills: u32) -> anyhow::Result<()> {
        let what = format!("{} to {}", from.0.name(), to.0.name());
        let scratch = self.folder(&format!("scratch-{}", to.0.name()))?;
        let start = Instant::now();
        let output = self.command(from, (to.0, &scratch)).output()?;
        let time = start.elapsed();
        ensure!(output.status.success(), "{what} failed: {}", String::from_utf8_lossy(&output.stderr));
        self.report.seconds.push((what.clone(), time.as_secs_f64()));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let losses = told.lines().filter(|line| line.starts_with("not kept"));
        self.report.losses.extend(losses.map(|line| format!("{what}: {line}")));
        let mut longest = time * KILLED_PERCENT / 100 / kills.max(1);
        let mut left = kills;
        while left > 0 {
            let mut child = self.command(from, to).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            let (least, most) = (KILL_AFTER_MIN.as_micros() as u64, longest.as_micros() as u64);
            std::thread::sleep(Duration::from_micros(rng.u64(least..=most.max(least))));
            if child.try_wait()?.is_none() {
                child.kill()?;
                child.wait()?;
                self.report.kills += 1;
                left -= 1;
                continue;
            }
            ensure!(self.report.begun_anew < BEGUN_ANEW_MAX, "{what}: no conversion lasts until its kill");
            self.report.begun_anew += 1;
            longest /= 2;
            clear(to.1)?;
        }
        for arguments in [&[][..], &["--verify"][..]] {
            let output = self.command(from, to).args(arguments).output()?;
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{what} failed: {errors}");
        }
        Ok(())
    }

    fn compare(&mut self, name: &str, format: StoreFormat, mail: &Path, before: &Told) -> anyhow::Result<()> {
        let dovecot = self.dovecot(name, format, mail)?;
        let now = Told::by(&dovecot).with_context(|| format!("Dovecot on {}", format.name()))?;
        self.report.other_save_dates += before.other_save_dates(&now);
        let found = before.differences(&now).into_iter().chain(dovecot.complaints()?);
        self.report.broken.extend(found.map(|line| format!("{name} ({}): {line}", format.name())));
        Ok(())
    }
}

/// Takes a store away, its alternate storage too.
fn clear(mail: &Path) -> anyhow::Result<()> {
    for path in [mail.to_owned(), mail.with_extension("alt")] {
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Mailboxes with mail. The files of an mbox have none below them.
fn targets(format: StoreFormat) -> [&'static str; 4] {
    let below = if format == StoreFormat::Mbox { "Lists/Projects" } else { "Work/Projects" };
    ["INBOX", "Work", below, "Entw&APw-rfe"]
}

/// Fills the store by IMAP: messages of every kind, flags, keywords, holes between the UIDs and at their end. A store that has
/// an alternate storage gets some of them there.
fn fill(dovecot: &Dovecot, rng: &mut Rng, format: StoreFormat, messages: u32) -> anyhow::Result<()> {
    let mut imap = Imap::login(dovecot.imap, USER, PASSWORD)?;
    let targets = targets(format);
    for mailbox in targets.into_iter().filter(|name| *name != "INBOX").chain(["Empty"]) {
        imap.ok(&format!("CREATE {}", quote(mailbox)))?;
    }
    imap.ok("SUBSCRIBE Work")?;
    imap.ok("SUBSCRIBE INBOX")?;
    let mut number = 0_u64;
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
                    true => messages::varied(rng, number),
                    false => messages::message(rng, number),
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
    imap.ok("LOGOUT")?;
    if format.has_alt() {
        dovecot.doveadm(&["altmove", "-u", USER, "mailbox", "Work", "answered"])?;
    }
    Ok(())
}
