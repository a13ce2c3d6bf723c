//! `culver convert`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use culver_runtime::UserName;
use mailfs::{FileSystem, RealDisk, sim::SimDisk};
use mailindex::engine::Env;
use mailstore::{
    Format, ListPattern, MailStorage, StoreOptions,
    convert::{
        ConvertOptions, ConvertProgress, ConvertSummary, Journal, VerifyProgress, VerifySummary, convert, verify,
    },
    create_storage, detect, open_storage,
};
use serde_json::{Value, json};

use super::{
    output::{Output, OutputArguments, enough, printable},
    progress,
    store::{config, users},
};
use crate::{
    config::{Config, arguments::ConfigArguments, tables, value::Value as _},
    stores::{Place, Stores, env_options, format_of},
};

/// What to convert, and where to.
#[derive(clap::Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of the command")]
pub(crate) struct ConvertArguments {
    /// Whose mail; or where a store is: its folder, or as Dovecot's mail_location, such as maildir:/home/ann/Maildir.
    source: String,
    /// Where it goes: a folder, or as Dovecot's mail_location. Made if it is not there; a run again goes on there, and
    /// brings what is new.
    destination: String,
    /// The format of the destination, where it does not say so itself and nothing is there yet.
    #[arg(long, default_value = "auto")]
    format: String,
    /// Which mailboxes, as IMAP's LIST has patterns: `*` is anything, `%` anything within a level.
    #[arg(long, default_value = "*", value_name = "PATTERN")]
    mailboxes: String,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Compare every message afterwards, byte by byte.
    #[arg(long)]
    verify: bool,
    /// What others changed in the destination gives way to what the source has.
    #[arg(long)]
    overwrite: bool,
    /// Mailboxes that the source has no more stay in the destination.
    #[arg(long)]
    keep_deleted: bool,
    /// Messages keep the names of their files as POP3 ids: for a Maildir whose server has pop3_uidl_format = %f.
    #[arg(long)]
    file_names_as_uidls: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// Converts, and says what came of it. Fails by its code if anything was not converted, or is not as in the source.
pub(super) fn run(config_arguments: &ConfigArguments, arguments: &ConvertArguments) -> anyhow::Result<ExitCode> {
    let config = config(config_arguments)?;
    let env = Env::new(Arc::new(RealDisk::new()), env_options(&config.storage));
    let source = source(&config, &env, &arguments.source)?;
    let mut to = place(&config, &arguments.destination)?;
    to.options.read_only = arguments.dry_run;
    if to.options.format.is_none() {
        to.options.format = format(&arguments.format)?;
    }
    let options = ConvertOptions {
        mailboxes: ListPattern::new(&arguments.mailboxes).context("the pattern is too long")?,
        dry_run: arguments.dry_run,
        overwrite: arguments.overwrite,
        keep_deleted: arguments.keep_deleted,
        file_names_as_uidls: arguments.file_names_as_uidls,
    };
    let (destination, mut journal) = destination(&env, &to, arguments.dry_run)?;
    let summary = converted(&*source, &*destination, &mut journal, &options)?;
    let mut out = arguments.output.open();
    report(&mut out, &summary, arguments.dry_run)?;
    let mut good = summary.progress.failed == 0;
    if arguments.verify && !arguments.dry_run {
        let verified = verified(&*source, &*destination, &options)?;
        report_verified(&mut out, &verified)?;
        good &= verified.progress.different == 0;
    }
    out.finish()?;
    env.flush().context("syncing")?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A user's mail, or a store at a place. It is only read: nothing in it changes.
fn source(config: &Config, env: &Env, text: &str) -> anyhow::Result<Arc<dyn MailStorage>> {
    let mut place = match text.contains(['/', ':']) || Path::new(text).is_dir() {
        true => place(config, text)?,
        false => {
            let user = UserName::new(text).with_context(|| format!("the user name {text:?}"))?;
            let users = Arc::new(users(config));
            if !users.names()?.contains(&user) {
                bail!("there is no user {user} in {}, and no folder of that name", users.path().display());
            }
            Stores::open(config, env.clone(), users)?.place_for(&user)?
        }
    };
    place.options.read_only = true;
    open_storage(env, &place.path, &place.options).with_context(|| format!("opening {text}"))
}

/// Where a location leads to.
fn place(config: &Config, text: &str) -> anyhow::Result<Place> {
    let (format, path) = match text.split_once(':') {
        Some((format, path)) if !format.contains('/') => (Some(format), path),
        _ => (None, text),
    };
    ensure!(!path.is_empty(), "{text:?} is no place of a store");
    let path = std::path::absolute(path).with_context(|| format!("the place {text:?}"))?;
    match format {
        Some(format) => Stores::place_at(config, &format!("{format}:{}", path.display())),
        None => Ok(Place { path, options: Stores::options_at(config) }),
    }
}

fn format(name: &str) -> anyhow::Result<Option<Format>> {
    let parsed = tables::Format::read(&toml::de::DeValue::String(name.into()), 0..0);
    match parsed {
        Ok(format) => Ok(format_of(format)),
        Err(wrong) => bail!("--format: {}; {}", wrong.message, wrong.meant.unwrap_or_default()),
    }
}

/// The destination and the journal beside it. In a dry run of what is not there yet: an empty one that is nowhere.
fn destination(env: &Env, to: &Place, dry_run: bool) -> anyhow::Result<(Arc<dyn MailStorage>, Journal)> {
    let (path, options): (&PathBuf, &StoreOptions) = (&to.path, &to.options);
    let is_there = detect(&**env.fs(), path).is_ok();
    if dry_run && !is_there {
        let nowhere: Arc<dyn FileSystem> = Arc::new(SimDisk::new());
        let env = Env::new(nowhere, env.options().clone());
        let options = StoreOptions { read_only: false, ..options.clone() };
        return Ok((create_storage(&env, path, &options)?, Journal::in_memory()));
    }
    let opened = if dry_run { open_storage(env, path, options) } else { create_storage(env, path, options) };
    let destination = opened.with_context(|| format!("opening {}", path.display()))?;
    let format = options.format.or_else(|| Some(detect(&**env.fs(), path).ok()?.format));
    Ok((destination, Journal::open(env.fs(), Journal::place(path, format.unwrap_or(Format::Sdbox)))?))
}

fn converted(
    source: &dyn MailStorage,
    destination: &dyn MailStorage,
    journal: &mut Journal,
    options: &ConvertOptions,
) -> anyhow::Result<ConvertSummary> {
    let bar = progress::bar();
    let mut tell = |progress: &ConvertProgress| {
        bar.set_length(progress.size);
        bar.set_position(progress.done);
        bar.set_message(counts(progress));
    };
    let outcome = convert(source, destination, journal, options, &mut tell);
    bar.finish_and_clear();
    outcome.context("converting; run it again to go on")
}

fn verified(
    source: &dyn MailStorage,
    destination: &dyn MailStorage,
    options: &ConvertOptions,
) -> anyhow::Result<VerifySummary> {
    let bar = progress::bar();
    let mut tell = |progress: &VerifyProgress| {
        bar.set_length(progress.size);
        bar.set_position(progress.done);
        bar.set_message(format!("compared, {} differences", progress.different));
    };
    let outcome = verify(source, destination, options, &mut tell);
    bar.finish_and_clear();
    outcome.context("verifying")
}

fn counts(progress: &ConvertProgress) -> String {
    let ConvertProgress { mailboxes, added, kept, flags, expunged, failed, .. } = progress;
    format!(
        "{mailboxes} mailboxes: {added} messages converted, {kept} there already, {flags} with other flags, \
         {expunged} expunged, {failed} failed"
    )
}

#[allow(clippy::print_stderr, reason = "a command tells what it did not do")]
fn report(out: &mut Output, summary: &ConvertSummary, dry_run: bool) -> anyhow::Result<()> {
    for failure in &summary.failures {
        eprintln!("culver: not converted: {}", printable(&failure.to_string()));
    }
    for one in summary.mailboxes.iter().filter(|one| dry_run || one.renamed_from.is_some()) {
        let renamed = one.renamed_from.as_ref();
        let text = || {
            let from = renamed.map(|name| format!(", was {name}")).unwrap_or_default();
            let line = format!(
                "{} -> {}{from}: {}, {} messages, {} flags, {} expunged",
                one.source,
                one.destination,
                one.action.name(),
                one.added,
                one.flags,
                one.expunged
            );
            printable(&line)
        };
        let value = || {
            json!({
                "mailbox": one.source.as_str(),
                "destination": one.destination.as_str(),
                "renamed_from": renamed.map(|name| name.as_str()),
                "action": one.action.name(),
                "added": one.added,
                "flags": one.flags,
                "expunged": one.expunged,
            })
        };
        enough(out.item(text, value))?;
    }
    for loss in &summary.losses {
        enough(out.item(|| printable(&format!("not kept: {loss}")), || json!({ "loss": loss.to_string() })))?;
    }
    enough(out.item(|| counts(&summary.progress), || totals(&summary.progress, dry_run)))
}

fn totals(progress: &ConvertProgress, dry_run: bool) -> Value {
    json!({
        "dry_run": dry_run,
        "mailboxes": progress.mailboxes,
        "messages": progress.size,
        "added": progress.added,
        "kept": progress.kept,
        "flags": progress.flags,
        "expunged": progress.expunged,
        "bytes": progress.bytes,
        "failed": progress.failed,
    })
}

#[allow(clippy::print_stderr, reason = "a command tells what is not as it should be")]
fn report_verified(out: &mut Output, summary: &VerifySummary) -> anyhow::Result<()> {
    for difference in &summary.differences {
        eprintln!("culver: differs: {}", printable(&difference.to_string()));
    }
    let VerifyProgress { done, different, .. } = summary.progress;
    let text = || {
        format!(
            "{done} messages compared: {different} differences, {} saved at another time, {} as far as the format holds their \
             bytes",
            summary.other_save_dates, summary.fitted
        )
    };
    let value = || {
        json!({
            "verified": done,
            "different": different,
            "other_save_dates": summary.other_save_dates,
            "fitted": summary.fitted,
        })
    };
    enough(out.item(text, value))
}
