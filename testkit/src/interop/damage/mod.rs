//! Damage of every kind to every kind of file, and what Culver brings back beside what Dovecot does.
//!
//! A store that Dovecot wrote is changed a little, so that there is an older copy of each file. Then one file at a time is
//! damaged in two copies of the store. One goes to `culver check --repair` (by the library), the other to a real Dovecot,
//! which opens it and is told to `force-resync`. What both show afterwards is counted against what was there before.

mod count;
mod harm;
mod seen;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use fastrand::Rng;
use mailstore::{
    Append, Store, StoreOptions,
    mailfs::RealDisk,
    mailindex::engine::{Background, Env, EnvOptions},
    mailtypes,
};
use mailtypes::{Flag, Keyword};

pub use self::count::Count;
use self::{
    harm::{Harm, Target},
    seen::Seen,
};
use super::StoreFormat;
use crate::{
    dovecot::{Dovecot, Setup},
    fixtures,
    place::{MailUser, Place, copy_tree},
};

/// Variants for which a Dovecot has users.
const VARIANTS_MAX: usize = 20_000;

/// What became of the variants of one kind of file and one kind of damage.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// How many were tried.
    pub variants: u32,
    /// What there was to lose: messages of all variants.
    pub before: u64,
    /// What Culver brought back.
    pub culver: Count,
    /// What Dovecot brought back.
    pub dovecot: Count,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By kind of file and kind of damage.
    pub rows: BTreeMap<(String, String), Row>,
    /// Variants in which less is as it was after Culver's repair than after Dovecot's.
    pub worse: Vec<String>,
    /// Files of messages that are nowhere any more after Culver's repair.
    pub deleted: Vec<String>,
    /// Variants in which something could not be repaired.
    pub left: Vec<String>,
}

/// Tries damage on the fixture of this format. `every` takes one variant of so many: 1 for all of them; `only` those of them
/// whose description has it in it.
pub fn run(format: StoreFormat, seed: u64, every: usize, only: &str) -> anyhow::Result<Report> {
    let place = Place::new("damage")?;
    let owner = MailUser::for_tests()?;
    let trees = place.folder_of(&owner, "trees")?;
    let (older, now) = stores(format, place.path(), seed)?;
    let before = Seen::by_culver(&now)?;
    ensure!(before.message_count() > 20, "the store has hardly any messages");

    let names: Vec<String> = (0..VARIANTS_MAX).map(|n| format!("v{n}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let mail_location = format.mail_location(&trees.join("%u"));
    let dovecot = Dovecot::start(place.path(), &owner, &Setup { mail_location, users: &users, extra: "" })?;

    copy_tree(&now, &trees.join("v0"), &owner)?;
    let same = Seen::by_dovecot(&dovecot, "v0")?;
    ensure!(same == before, "Dovecot shows another store before anything is damaged: {:?}", before.differences(&same));

    let mut report = Report::default();
    let mut rng = Rng::with_seed(seed);
    let targets = harm::targets(&now)?;
    let variants: Vec<(Target, Harm)> =
        targets.into_iter().flat_map(|target| harm::harms(&now, &target, &mut rng)).collect();
    let first = rng.usize(..every.max(1));
    for (number, (target, harm)) in variants.into_iter().enumerate().skip(first).step_by(every.max(1)) {
        let name = names.get(number + 1).context("more variants than users")?;
        let what = format!("{}: {harm}", target.path.display());
        let has_none = matches!(harm, Harm::Older) && !older.join(&target.path).exists();
        if has_none || !what.contains(only) {
            continue;
        }
        let run = Variant { now: &now, older: &older, trees: &trees, owner: &owner, dovecot: &dovecot };
        let tried = run.attempt(name, &target, &harm, &before);
        let Tried { culver, theirs, deleted, left } = tried.with_context(|| format!("seed {seed}, {what}"))?;
        if culver.is_less_than(&theirs) {
            report.worse.push(format!("{what}: Culver {culver}, Dovecot {theirs}"));
        }
        report.deleted.extend(deleted.into_iter().map(|file| format!("{what}: {file}")));
        report.left.extend(left.into_iter().map(|finding| format!("{what}: {finding}")));
        let row = report.rows.entry((target.kind, harm.kind().to_owned())).or_default();
        row.variants += 1;
        row.before += before.message_count();
        row.culver.add(&culver);
        row.dovecot.add(&theirs);
    }
    Ok(report)
}

/// The fixture as it is, and after some changes; the same files but for those.
fn stores(format: StoreFormat, folder: &Path, seed: u64) -> anyhow::Result<(PathBuf, PathBuf)> {
    let home = folder.join("fixture");
    fs::create_dir_all(&home)?;
    fixtures::unpack(format.name(), &home)?;
    let (older, now) = (fixtures::store_in(format.name(), &home), folder.join("now"));
    let me = MailUser::for_tests()?;
    copy_tree(&older, &now, &me)?;
    change(&now, seed).context("changing the store")?;
    Ok((older, now))
}

/// Writes a snapshot of each mailbox. The fixtures' logs set and clear the flags of all messages again and again, so that a
/// state that is older may have more of them right by chance; what comes after the snapshot only adds.
fn settle(root: &Path) -> anyhow::Result<()> {
    let options = EnvOptions { snapshot_log_len_min: 1, background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(Arc::new(RealDisk::new()), options);
    let store = Store::open_in(&env, root, &StoreOptions::default())?;
    for info in store.list()?.into_iter().filter(|info| info.selectable) {
        let view = store.mailbox(info.name.as_str())?.view()?;
        let Some(first) = view.messages().next() else { continue };
        view.update_one(first?.uid()).add(Flag::Seen).commit()?;
        env.drain();
    }
    Ok(store.flush()?)
}

/// Messages that come and go, and flags.
fn change(root: &Path, seed: u64) -> anyhow::Result<()> {
    settle(root)?;
    let store = Store::open(root)?;
    let inbox = store.mailbox("INBOX")?;
    for number in 0..6 {
        let text = crate::messages::message(&mut Rng::with_seed(seed + number), number);
        let append = Append::new(&text).flag(Flag::Flagged).keyword(Keyword::new("later")?);
        inbox.append(append)?;
    }
    let view = inbox.view()?;
    let uids: Vec<_> = view.messages().map(|message| Ok(message?.uid())).collect::<anyhow::Result<_>>()?;
    for uid in uids.iter().step_by(3) {
        view.update_one(*uid).add(Flag::Answered).commit()?;
    }
    let gone: mailtypes::UidSet = uids.iter().copied().skip(2).step_by(9).collect();
    view.expunge(&gone)?;
    Ok(store.flush()?)
}

/// What one variant is tried with.
struct Variant<'a> {
    now: &'a Path,
    older: &'a Path,
    trees: &'a Path,
    owner: &'a MailUser,
    dovecot: &'a Dovecot,
}

/// What came of it.
struct Tried {
    culver: Count,
    theirs: Count,
    deleted: Vec<String>,
    left: Vec<String>,
}

impl Variant<'_> {
    fn attempt(&self, name: &str, target: &Target, harm: &Harm, before: &Seen) -> anyhow::Result<Tried> {
        let (ours, theirs) = (self.trees.join(format!("{name}-culver")), self.trees.join(name));
        for tree in [&ours, &theirs] {
            copy_tree(self.now, tree, self.owner)?;
            harm.apply(tree, self.older, &target.path)?;
            self.owner.own(tree)?;
        }
        let bodies = harm::bodies(&ours)?;
        let left = seen::repair(&ours)?;
        let after = Seen::by_culver(&ours)?;
        let still = harm::bodies(&ours)?;
        let deleted = bodies.into_iter().filter(|(hash, _)| !still.contains_key(hash)).map(|(_, name)| name).collect();
        seen::resync(self.dovecot, name)?;
        let shown = Seen::by_dovecot(self.dovecot, name)?;
        for tree in [&ours, &theirs] {
            fs::remove_dir_all(tree)?;
        }
        Ok(Tried { culver: Count::of(before, &after), theirs: Count::of(before, &shown), deleted, left })
    }
}

impl Report {
    /// What came back in all variants: Culver's, Dovecot's.
    pub fn totals(&self) -> (Count, Count) {
        let (mut ours, mut theirs) = (Count::default(), Count::default());
        for row in self.rows.values() {
            ours.add(&row.culver);
            theirs.add(&row.dovecot);
        }
        (ours, theirs)
    }

    /// A table, a row for each kind of file and damage.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| file | damage | variants | messages | bodies | flags | keywords | UIDs | more |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for ((file, damage), row) in &self.rows {
            let both = |of: fn(&Count) -> u64| {
                let (ours, theirs) = (of(&row.culver), of(&row.dovecot));
                if ours == theirs { ours.to_string() } else { format!("{ours} / {theirs}") }
            };
            text += &format!(
                "| {file} | {damage} | {} | {} | {} | {} | {} | {} | {} |\n",
                row.variants,
                row.before,
                both(|c| c.bodies),
                both(|c| c.flags),
                both(|c| c.keywords),
                both(|c| c.uids),
                both(|c| c.more),
            );
        }
        text
    }
}
