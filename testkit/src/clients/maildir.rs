//! Reads a Maildir as its specification has it: `new` and `cur`, flags behind `:2,`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A message in a Maildir.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MaildirMessage {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Its flag letters, sorted.
    pub flags: String,
    /// The file.
    pub path: PathBuf,
}

/// All messages of one folder, by file name.
pub fn read_maildir(folder: &Path) -> anyhow::Result<Vec<MaildirMessage>> {
    let mut messages = Vec::new();
    for part in ["new", "cur"] {
        let part = folder.join(part);
        for entry in fs::read_dir(&part).with_context(|| format!("reading {}", part.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut flags: Vec<char> = name.split_once(":2,").map_or("", |(_, flags)| flags).chars().collect();
            flags.sort_unstable();
            messages.push(MaildirMessage { bytes: fs::read(&path)?, flags: flags.into_iter().collect(), path });
        }
    }
    messages.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
    Ok(messages)
}

/// The folders that are Maildirs below `root`, by their path from it.
pub fn maildir_folders(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        if folder.join("cur").is_dir() {
            found.push(folder.strip_prefix(root)?.to_string_lossy().into_owned());
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_part = path.file_name().is_some_and(|name| ["cur", "new", "tmp"].iter().any(|part| name == *part));
            if path.is_dir() && !is_part {
                waiting.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
