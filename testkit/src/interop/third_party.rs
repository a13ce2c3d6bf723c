//! A third program on a Maildir: it delivers, moves, links, re-flags and removes files with `mv`, `ln` and `rm`, and asks
//! nobody.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use fastrand::Rng;

use super::{SharedStore, StoreFormat};
use crate::place::MailUser;

/// Letters of the flags that it sets, in the order in which they must stand.
const LETTERS: [char; 5] = ['D', 'F', 'R', 'S', 'T'];

/// The program.
#[derive(Debug)]
pub(super) struct ThirdParty {
    root: PathBuf,
    owner: MailUser,
    format: StoreFormat,
    deliveries: u32,
}

impl ThirdParty {
    /// One that works on a store; none on a format whose files are nobody else's business.
    pub(super) fn on(store: &SharedStore) -> Option<Self> {
        let format = store.format;
        format.is_maildir().then(|| Self { root: store.root(), owner: store.owner.clone(), format, deliveries: 0 })
    }

    fn folder(&self, mailbox: &str) -> PathBuf {
        self.format.maildir_folder(&self.root, mailbox)
    }

    fn sh(&self, script: &str, arguments: &[&OsStr]) -> anyhow::Result<bool> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        self.owner.run_as(&mut command);
        Ok(command.status()?.success())
    }

    /// The messages that have been seen by a server, oldest first.
    fn names(&self, mailbox: &str) -> anyhow::Result<Vec<String>> {
        let cur = self.folder(mailbox).join("cur");
        let entries = fs::read_dir(&cur).with_context(|| format!("reading {}", cur.display()))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|n| !n.starts_with('.'))
            .collect();
        names.sort();
        Ok(names)
    }

    fn some_name(&self, rng: &mut Rng, mailbox: &str) -> anyhow::Result<Option<String>> {
        let mut names = self.names(mailbox)?;
        Ok((!names.is_empty()).then(|| names.swap_remove(rng.usize(..names.len()))))
    }

    /// Puts a message into a mailbox, with or without flags; tells its base name.
    pub(super) fn deliver(&mut self, rng: &mut Rng, mailbox: &str, message: &[u8]) -> anyhow::Result<String> {
        self.deliveries += 1;
        let base = format!("17000{:05}.M{}P7.third", self.deliveries, rng.u32(..1_000_000));
        let folder = self.folder(mailbox);
        let to = if rng.u8(..3) == 0 { format!("cur/{base}:2,{}", flags(rng)) } else { format!("new/{base}") };
        let temp = folder.join("tmp").join(&base);
        fs::write(&temp, without_cr(message))?;
        self.owner.own(&temp)?;
        let moved = self.sh("mv \"$1\" \"$2\"", &[temp.as_ref(), folder.join(to).as_ref()])?;
        ensure!(moved, "mv of a delivery into {mailbox}");
        Ok(base)
    }

    /// Changes one of the mailboxes at random; tells what was done. A command that fails is told as one: somebody was faster.
    pub(super) fn change(&mut self, rng: &mut Rng, mailboxes: &[String], message: &[u8]) -> anyhow::Result<String> {
        let mailbox = &mailboxes[rng.usize(..mailboxes.len())];
        let dice = rng.u8(..100);
        let Some(name) = self.some_name(rng, mailbox)?.filter(|_| dice >= 25) else {
            let base = self.deliver(rng, mailbox, message)?;
            return Ok(format!("delivers {base} into {mailbox}"));
        };
        let other = &mailboxes[rng.usize(..mailboxes.len())];
        let from = self.folder(mailbox).join("cur").join(&name);
        let (base, info) = name.split_once(":2,").unwrap_or((&name, ""));
        // A copy that a server made bears the same name. Of a file with two names in one mailbox Dovecot shows the flags
        // of whichever it finds first, for the 30 seconds until it removes one.
        let is_taken = (70..85).contains(&dice) && other != mailbox && self.find(other, base)?.is_some();
        let (script, to) = match if is_taken { 25 } else { dice } {
            25..55 => {
                let keywords: String = info.chars().filter(|c| c.is_ascii_lowercase()).collect();
                ("mv \"$1\" \"$2\"", self.folder(mailbox).join(format!("cur/{base}:2,{}{keywords}", flags(rng))))
            }
            55..70 => ("rm \"$1\"", PathBuf::new()),
            // Keywords are letters of a mailbox: elsewhere they mean others.
            70..80 => ("mv \"$1\" \"$2\"", self.folder(other).join(format!("cur/{base}:2,{}", flags(rng)))),
            80..85 => ("mv \"$1\" \"$2\"", self.folder(other).join(format!("new/{base}"))),
            _ => {
                self.deliveries += 1;
                let copy = format!("{}L{}", base.split(',').next().unwrap_or(base), self.deliveries);
                let extras = base.split_once(',').map_or_else(String::new, |(_, extras)| format!(",{extras}"));
                ("ln \"$1\" \"$2\"", self.folder(other).join(format!("new/{copy}{extras}")))
            }
        };
        let is_done = self.sh(script, &[from.as_ref(), to.as_ref()])?;
        let verb = script.split(' ').next().unwrap_or_default();
        let failed = if is_done { "" } else { " (failed)" };
        Ok(format!("{verb} {mailbox}: {name} -> {}{failed}", self.shown(&to)))
    }

    /// The present name of a message in `cur` or `new`.
    fn find(&self, mailbox: &str, base: &str) -> anyhow::Result<Option<PathBuf>> {
        for dir in ["new", "cur"] {
            let dir = self.folder(mailbox).join(dir);
            let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
            let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            // A server may add the sizes to it.
            let is_it = |name: &String| {
                name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ',']))
            };
            if let Some(name) = names.find(is_it) {
                return Ok(Some(dir.join(name)));
            }
        }
        Ok(None)
    }

    /// Removes a message; tells whether it was there to be removed.
    pub(super) fn remove(&self, mailbox: &str, base: &str) -> anyhow::Result<bool> {
        match self.find(mailbox, base)? {
            Some(path) => self.sh("rm \"$1\"", &[path.as_ref()]),
            None => Ok(false),
        }
    }

    /// Moves a message; tells whether it was there to be moved.
    pub(super) fn relocate(&self, mailbox: &str, base: &str, to: &str) -> anyhow::Result<bool> {
        let Some(path) = self.find(mailbox, base)? else { return Ok(false) };
        let new = self.folder(to).join("new").join(base);
        self.sh("mv \"$1\" \"$2\"", &[path.as_ref(), new.as_ref()])
    }

    /// Marks or unmarks any message whose name has this in it.
    pub(super) fn flag_any(&self, rng: &mut Rng, mailbox: &str, whose: &str) -> anyhow::Result<()> {
        let Some(name) = self.some_name(rng, mailbox)?.filter(|name| name.contains(whose)) else { return Ok(()) };
        let cur = self.folder(mailbox).join("cur");
        let (base, info) = name.split_once(":2,").unwrap_or((&name, ""));
        let mut letters: Vec<char> = info.chars().filter(|c| *c != 'F').collect();
        if !info.contains('F') {
            letters.push('F');
        }
        letters.sort_unstable();
        let to = format!("{base}:2,{}", letters.into_iter().collect::<String>());
        // Somebody else may be faster.
        self.sh("mv \"$1\" \"$2\"", &[cur.join(&name).as_ref(), cur.join(to).as_ref()]).map(drop)
    }

    fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

fn flags(rng: &mut Rng) -> String {
    LETTERS.into_iter().filter(|_| rng.u8(..3) == 0).collect()
}

fn without_cr(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len());
    for (at, &byte) in message.iter().enumerate() {
        if byte != b'\r' || message.get(at + 1) != Some(&b'\n') {
            bytes.push(byte);
        }
    }
    bytes
}
