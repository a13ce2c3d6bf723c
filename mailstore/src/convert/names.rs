//! What mailboxes are called in the destination: as in the source, unless its layout cannot hold a name.
//!
//! Level by level: a dot becomes `_` where the layout takes it for the end of a level; a level that has a meaning of its
//! own there (`cur`, `dbox-Mails`, `~x`) gets a `_` in front; a name that is too long is cut. Where a mailbox cannot have
//! messages and others below it, the messages go to `NAME-messages` beside. A name that is taken gets `-2`, `-3`, ….

use std::collections::{BTreeMap, BTreeSet};

use mailtypes::MailboxName;

use crate::traits::{MailStorage, MailboxInfo};

/// What is added to the name of a mailbox whose messages must lie beside its children.
const BESIDE: &str = "-messages";

/// Numbers tried behind a name that is taken.
const NUMBERS_MAX: u32 = 10_000;

/// Characters left of a level that is too long, one number after the other.
const LENGTHS: [usize; 5] = [100, 40, 12, 4, 1];

/// What a mailbox is called for which no other name is left.
const LAST_RESORT: &str = "converted";

/// Names in the destination, by those in the source.
#[derive(Clone, Debug, Default)]
pub struct Names {
    mailboxes: BTreeMap<MailboxName, MailboxName>,
    /// The same for levels, whether or not they are mailboxes.
    levels: BTreeMap<MailboxName, MailboxName>,
}

impl Names {
    /// For these mailboxes and levels of a source. The same whenever the source has the same.
    pub fn of(infos: &[MailboxInfo], destination: &dyn MailStorage) -> Self {
        let mut names = Self::default();
        let mut taken = BTreeSet::new();
        // Those that can keep their names do; ancestors come before what lies below them.
        let mut all: Vec<&MailboxInfo> = infos.iter().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        for info in &all {
            if destination.check_name(&info.name).is_ok() {
                taken.insert(info.name.clone());
            }
        }
        for info in &all {
            names.level(&info.name, destination, &mut taken);
        }
        let children = destination.keeps().children;
        for info in all.into_iter().filter(|info| info.selectable) {
            let level = names.levels.get(&info.name).cloned().unwrap_or_else(|| info.name.clone());
            let apart = !children && info.has_children && !info.name.is_inbox();
            let name = if apart { free(&format!("{level}{BESIDE}"), destination, &mut taken) } else { None };
            names.mailboxes.insert(info.name.clone(), name.unwrap_or(level));
        }
        names
    }

    /// What a mailbox of the source is called; `None` for what is none.
    pub fn get(&self, name: &MailboxName) -> Option<&MailboxName> {
        self.mailboxes.get(name)
    }

    /// All that have another name: source and destination.
    pub fn changed(&self) -> impl Iterator<Item = (&MailboxName, &MailboxName)> {
        self.mailboxes.iter().filter(|(source, destination)| source != destination)
    }

    /// What a name is called to which somebody is subscribed, whether or not it is a mailbox.
    pub(super) fn subscribed(&self, name: &MailboxName, destination: &dyn MailStorage) -> Option<MailboxName> {
        let known = self.mailboxes.get(name).or_else(|| self.levels.get(name)).cloned();
        known.or_else(|| destination.check_name(name).is_ok().then(|| name.clone()))
    }

    fn level(
        &mut self,
        name: &MailboxName,
        destination: &dyn MailStorage,
        taken: &mut BTreeSet<MailboxName>,
    ) -> MailboxName {
        let (mut source, mut mapped) = (String::new(), String::new());
        let mut last = name.clone();
        for level in name.levels() {
            if !source.is_empty() {
                source.push('/');
                mapped.push('/');
            }
            source += level;
            let Ok(here) = MailboxName::new(&source) else { continue };
            let to = match self.levels.get(&here) {
                Some(known) => known.clone(),
                None => {
                    let to = self.new_level(&here, &mapped, level, destination, taken);
                    self.levels.insert(here, to.clone());
                    to
                }
            };
            mapped = to.as_str().to_owned();
            last = to;
        }
        last
    }

    fn new_level(
        &self,
        here: &MailboxName,
        above: &str,
        level: &str,
        destination: &dyn MailStorage,
        taken: &mut BTreeSet<MailboxName>,
    ) -> MailboxName {
        let same = format!("{above}{level}");
        let as_it_is = MailboxName::new(&same).ok().filter(|name| destination.check_name(name).is_ok());
        if let Some(name) = as_it_is.filter(|name| name == here || !taken.contains(name)) {
            taken.insert(name.clone());
            return name;
        }
        let plain = level.replace('.', "_");
        let cut = LENGTHS.iter().map(|len| plain.chars().take(*len).collect::<String>());
        let levels = [plain.clone(), format!("_{plain}"), format!("_{level}")].into_iter().chain(cut);
        let name = levels.into_iter().find_map(|level| free(&format!("{above}{level}"), destination, taken));
        name.or_else(|| free(LAST_RESORT, destination, taken)).unwrap_or_else(|| here.clone())
    }
}

/// A name that can be made and is not taken; taken from now on.
fn free(name: &str, destination: &dyn MailStorage, taken: &mut BTreeSet<MailboxName>) -> Option<MailboxName> {
    let numbered = |number: u32| if number < 2 { name.to_owned() } else { format!("{name}-{number}") };
    for number in 1..NUMBERS_MAX {
        let name = MailboxName::new(&numbered(number)).ok()?;
        destination.check_name(&name).ok()?;
        if taken.insert(name.clone()) {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use mailfs::sim::SimDisk;
    use mailindex::engine::{Background, Env, EnvOptions};

    use super::*;
    use crate::{
        maildir::MaildirLayout,
        store::{Format, StoreOptions, create_storage},
    };

    fn mapped(format: Format, names: &[&str]) -> Vec<String> {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(Arc::new(SimDisk::new()), options);
        let storage = StoreOptions { format: Some(format), ..StoreOptions::default() };
        let destination = create_storage(&env, Path::new("/s"), &storage).unwrap();
        let info = |name: &&str| MailboxInfo {
            name: MailboxName::new(name).unwrap(),
            selectable: true,
            has_children: names.iter().any(|other| other.starts_with(&format!("{name}/"))),
        };
        let infos: Vec<_> = names.iter().map(info).collect();
        let mapped = Names::of(&infos, &*destination);
        infos.iter().map(|info| mapped.get(&info.name).unwrap().to_string()).collect()
    }

    #[test]
    fn names_stay_where_they_can() {
        let names = ["INBOX", "a", "a/b", "a.b", "cur", "x/tmp/y", "~z"];
        assert_eq!(mapped(Format::Sdbox, &names), ["INBOX", "a", "a/b", "a.b", "cur", "x/tmp/y", "_~z"]);
        let flat = Format::Maildir(MaildirLayout::PlusPlus);
        assert_eq!(mapped(flat, &names), ["INBOX", "a", "a/b", "a_b", "cur", "x/tmp/y", "_~z"]);
        let tree = Format::Maildir(MaildirLayout::Fs);
        assert_eq!(mapped(tree, &names), ["INBOX", "a", "a/b", "a.b", "_cur", "x/_tmp/y", "_~z"]);
    }

    #[test]
    fn names_that_become_alike_are_told_apart() {
        let flat = Format::Maildir(MaildirLayout::PlusPlus);
        let names = ["a.b", "a_b", "a.b/c", "a_b/c", "a..b"];
        assert_eq!(mapped(flat, &names), ["a_b-2", "a_b", "a_b-2/c", "a_b/c", "a__b"]);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let flat = Format::Maildir(MaildirLayout::PlusPlus);
        let long = |c: &str| [c.repeat(120), c.repeat(120), c.repeat(120)].join("/");
        let (one, other) = (long("x"), format!("{}y", long("x")));
        let names = mapped(flat, &[&one, &other]);
        assert!(names[0] != names[1] && names.iter().all(|name| name.len() < 255), "{names:?}");
    }
}
