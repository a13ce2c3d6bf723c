//! Culver and a real Dovecot: on the same files by turns, both at once, and after a kill; on copies, with the same commands.

pub mod both_at_once;
pub mod convert;
pub mod damage;
mod format;
pub mod hostile;
pub mod kill;
mod maintenance;
pub mod model;
pub mod same_answers;
mod third_party;
pub mod turn_about;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub use self::format::StoreFormat;
use crate::{
    culver::Culver,
    dovecot::{Dovecot, Release, Setup},
    place::{MailUser, Place},
};

/// The user whose store is shared.
pub const USER: &str = "ann";

/// One user's store with a place to run servers on it.
#[derive(Debug)]
pub struct SharedStore {
    format: StoreFormat,
    place: Place,
    owner: MailUser,
    data: PathBuf,
}

impl SharedStore {
    /// A new, empty store.
    pub fn new(what: &str, format: StoreFormat) -> anyhow::Result<Self> {
        Self::at(Place::new(what)?, format)
    }

    fn at(place: Place, format: StoreFormat) -> anyhow::Result<Self> {
        let owner = MailUser::for_tests()?;
        let data = place.folder_of(&owner, "data")?;
        Culver::prepare(&data, &owner, &[USER])?;
        Ok(Self { format, place, owner, data })
    }

    /// Starts Culver on it.
    pub fn culver(&self, program: &Path) -> anyhow::Result<Culver> {
        self.culver_set(program, &[])
    }

    /// Starts Culver on it with further settings.
    fn culver_set(&self, program: &Path, more: &[&str]) -> anyhow::Result<Culver> {
        let settings = self.format.culver_settings();
        let settings: Vec<&str> = settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Culver::start_set(program, &self.data, &self.owner, &settings)
    }

    /// Runs one of Culver's commands on it.
    pub fn run_culver(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.args(arguments).arg("--data").arg(&self.data).current_dir(&self.data);
        command.args(self.format.culver_settings().iter().flat_map(|setting| ["--set", setting]));
        self.owner.run_as(&mut command);
        let output = command.output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "culver {arguments:?}: {}: {errors}", output.status);
        Ok(())
    }

    /// Starts Dovecot on it. Its files are kept apart by `name`.
    pub fn dovecot(&self, name: &str) -> anyhow::Result<Dovecot> {
        let folder = self.place.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let mail_location = self.format.mail_location(&Culver::mail_of(&self.data, "%u"));
        let extra = self.format.dovecot_settings(Release::chosen()?);
        Dovecot::start(&folder, &self.owner, &Setup { mail_location, users: &[USER], extra: &extra })
    }

    /// What it is.
    pub fn format(&self) -> StoreFormat {
        self.format
    }

    /// Where the store's own files are.
    pub fn root(&self) -> PathBuf {
        Culver::mail_of(&self.data, USER)
    }

    /// Whose it is.
    pub fn owner(&self) -> &MailUser {
        &self.owner
    }
}

/// The text of a log line that says which kind it is: process, session, numbers and names of files left out.
pub fn kind_of_line(line: &str) -> String {
    let text = line.split_once(": ").map_or(line, |(_, text)| text);
    let mut kind = String::new();
    for word in text.split_whitespace() {
        let word = word.split_once('/').map_or_else(|| word.to_owned(), |(before, _)| format!("{before}PATH"));
        let plain: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let mut last = ' ';
        kind.push(' ');
        for c in plain.chars() {
            if c != '0' || last != '0' {
                kind.push(c);
            }
            last = c;
        }
    }
    kind.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_kind_are_told_apart_from_others() {
        let one = kind_of_line("imap(ann)<12><aF/x>: Error: Mailbox INBOX: UID=15: read(/tmp/x/u.15) failed");
        assert_eq!(one, kind_of_line("imap(ann)<3344><Q>: Error: Mailbox INBOX: UID=7: read(/var/y/u.7) failed"));
        assert_ne!(one, kind_of_line("imap(ann)<12><aF/x>: Error: Mailbox INBOX: UID=15: link(/tmp/x/u.15) failed"));
    }
}
