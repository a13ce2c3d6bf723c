//! `culver check`.

use std::{collections::HashMap, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use culver_runtime::UserName;
use mailfs::RealDisk;
use mailindex::engine::Env;
use mailstore::{
    StorageError, StoreOptions,
    check::{CheckOptions, CheckProgress, CheckReport, Outcome, check_storage},
};
use serde_json::json;

use super::{
    output::{Output, OutputArguments, enough, printable},
    progress,
    store::{config, mailbox_name, users},
};
use crate::{
    config::{Config, arguments::ConfigArguments},
    stores::{Place, Stores, env_options},
};

/// What was wrong is not so any more.
const REPAIRED: u8 = 1;
/// Something is wrong still, or nobody knows.
const LEFT: u8 = 2;

/// In a store's folder: leads to its alternate storage.
const ALT_LINK: &str = "dbox-alt-root";

/// What to look over. Exits with 0 if nothing is wrong, 1 if all that was wrong was repaired, 2 if something is left or could
/// not be looked at.
#[derive(clap::Args, Debug)]
pub(crate) struct CheckArguments {
    /// Whose mail; everybody's if nobody is named.
    users: Vec<String>,
    /// This mailbox alone, and nothing that concerns the store as a whole.
    #[arg(long, value_name = "NAME")]
    mailbox: Option<String>,
    /// Look over the store at this path, or at a location in the words of Dovecot's mail_location, such as
    /// sdbox:/srv/ann:ALT=/slow/ann, whoever's it is.
    #[arg(long, value_name = "PLACE", conflicts_with = "users")]
    store: Option<String>,
    /// Repair what is wrong. No message is removed, and what is replaced is kept as culver.damaged.*.
    #[arg(long)]
    repair: bool,
    /// Read every message.
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// Looks over, and says what came of it.
pub(super) fn run(arguments: &ConfigArguments, check: &CheckArguments) -> ExitCode {
    let mut told = Told { out: check.output.open(), worst: 0 };
    let outcome = look_over(arguments, check, &mut told);
    let Told { out, mut worst } = told;
    // What was not looked at may be damaged: the code of a command that failed is not that of one that has repaired.
    for outcome in [outcome, out.finish()] {
        if let Err(error) = outcome {
            crate::report(&error);
            worst = LEFT;
        }
    }
    ExitCode::from(worst)
}

fn look_over(arguments: &ConfigArguments, check: &CheckArguments, told: &mut Told) -> anyhow::Result<()> {
    let mailbox = check.mailbox.as_deref().map(mailbox_name).transpose()?;
    let options = CheckOptions { repair: check.repair, deep: check.deep, mailbox };
    let config = config(arguments)?;
    let env = Env::new(Arc::new(RealDisk::new()), env_options(&config.storage));
    match &check.store {
        Some(location) => {
            let Place { path, options: how } = place(&config, location)?;
            let report = with_bar(|tell| check_storage(&env, &path, &how, &options, tell))?;
            told.report(&path.display().to_string(), &report)?;
        }
        None => of_users(&config, &env, check, &options, told)?,
    }
    env.flush().context("syncing")
}

/// Where a store lies that is to be looked over. Alternate storage that nobody speaks of is where the store has noted it.
fn place(config: &Config, location: &str) -> anyhow::Result<Place> {
    let mut place = match location.contains(':') {
        true => Stores::place_at(config, location)?,
        false => {
            let path = std::path::absolute(location).with_context(|| format!("the place {location:?}"))?;
            Place { path, options: Stores::options_at(config) }
        }
    };
    let noted = place.path.join(ALT_LINK);
    if place.options.list.alt.is_none() && noted.symlink_metadata().is_ok() {
        place.options.list.alt = Some(noted);
    }
    Ok(place)
}

fn of_users(
    config: &Config,
    env: &Env,
    check: &CheckArguments,
    options: &CheckOptions,
    told: &mut Told,
) -> anyhow::Result<()> {
    let users = Arc::new(users(config));
    let known = users.names()?;
    let mut asked = Vec::new();
    for name in &check.users {
        let name = UserName::new(name).with_context(|| format!("the user name {name:?}"))?;
        if !known.contains(&name) {
            bail!("there is no user {name} in {}", users.path().display());
        }
        asked.push(name);
    }
    let stores = Stores::open(config, env.clone(), users)?;
    let mut looked_at = LookedAt::default();
    for user in if asked.is_empty() { known.into_iter().collect() } else { asked } {
        let places = match stores.places_there(&user) {
            Ok(places) => places,
            Err(error) => {
                told.failed(user.as_str(), &error)?;
                continue;
            }
        };
        let mut nowhere = 0;
        let count = places.len();
        for (name, place) in places {
            nowhere += usize::from(!looked_at.look_once(env, place, |place| {
                match with_bar(|tell| check_storage(env, &place.path, &place.options, options, tell)) {
                    Ok(report) => told.report(&name, &report).map(|()| true),
                    // It may be in another namespace.
                    Err(StorageError::NotFound(_)) => Ok(false),
                    Err(error) => told.failed(&name, &error.into()).map(|()| true),
                }
            })?);
        }
        if let Some(mailbox) = options.mailbox.as_ref().filter(|_| count > 0 && nowhere == count) {
            told.failed(user.as_str(), &StorageError::NotFound(mailbox.clone()).into())?;
        }
    }
    Ok(())
}

/// What was looked at: namespaces that users share are looked at with the first of them, but where each has an index of his
/// own.
#[derive(Default)]
struct LookedAt {
    /// By device and inode of the store's folder: how it is opened, and whether what was asked for is there.
    places: HashMap<(u64, u64), Vec<(StoreOptions, bool)>>,
}

impl LookedAt {
    /// Looks at a place, or tells what came of it before: whether what was asked for is there.
    fn look_once(
        &mut self,
        env: &Env,
        place: Place,
        look: impl FnOnce(&Place) -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let Some(there) = env.fs().metadata(&place.path)? else { return look(&place) };
        let places = self.places.entry((there.device, there.inode)).or_default();
        if let Some((_, found)) = places.iter().find(|(options, _)| *options == place.options) {
            return Ok(*found);
        }
        let found = look(&place)?;
        places.push((place.options, found));
        Ok(found)
    }
}

fn with_bar<T>(work: impl FnOnce(&mut dyn FnMut(&CheckProgress)) -> T) -> T {
    let bar = progress::bar();
    let outcome = work(&mut |progress: &CheckProgress| {
        bar.set_length(progress.known);
        bar.set_position(progress.done);
        let mailbox = progress.mailbox.as_ref().map_or_else(String::new, |name| printable(name.as_str()));
        bar.set_message(format!("{} problems, {mailbox}", progress.problems));
    });
    bar.finish_and_clear();
    outcome
}

/// What was said so far.
struct Told {
    out: Output,
    /// The exit code.
    worst: u8,
}

impl Told {
    fn report(&mut self, whose: &str, report: &CheckReport) -> anyhow::Result<()> {
        for finding in &report.findings {
            let json = || {
                let mut value = finding.json();
                if let Some(object) = value.as_object_mut() {
                    object.insert("store".to_owned(), json!(whose));
                }
                value
            };
            enough(self.out.item(|| printable(&format!("{whose}: {finding}")), json))?;
        }
        let CheckReport { mailboxes, messages, body_bytes, untold, .. } = report;
        let (found, left) = (report.count(&Outcome::Found), report.count(&Outcome::Left));
        let (repaired, noted) = (report.count(&Outcome::Repaired), report.count(&Outcome::Noted));
        let text = || {
            let state = match (found + left + untold, repaired) {
                (0, 0) => "nothing wrong".to_owned(),
                (0, repaired) => format!("{repaired} problems, all repaired"),
                (left, 0) => format!("{left} problems"),
                (left, repaired) => format!("{repaired} problems repaired, {left} left"),
            };
            format!("{whose}: {state}; {mailboxes} mailboxes, {messages} messages, {body_bytes} bytes of bodies read")
        };
        let json = || {
            json!({
                "store": whose, "mailboxes": mailboxes, "messages": messages, "body_bytes": body_bytes,
                "found": found, "repaired": repaired, "left": left, "noted": noted, "untold": untold,
            })
        };
        enough(self.out.item(text, json))?;
        let code = if !report.is_whole() { LEFT } else { u8::from(repaired > 0) * REPAIRED };
        self.worst = self.worst.max(code);
        Ok(())
    }

    fn failed(&mut self, whose: &str, error: &anyhow::Error) -> anyhow::Result<()> {
        self.worst = LEFT;
        let text = || printable(&format!("{whose}: cannot be looked over: {error:#}"));
        enough(self.out.item(text, || json!({ "store": whose, "error": format!("{error:#}") })))
    }
}
