//! Kinds of files, kinds of damage.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use fastrand::Rng;
use mailstore::{mailfs::RealDisk, mbox::MboxReader};

use crate::observe::sha256;

/// A disk loses or writes so much at once.
const SECTOR_LEN: usize = 512;
const BLOCK_LEN: usize = 4096;

/// A file that is to be damaged.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Below the store's folder.
    pub(super) path: PathBuf,
    /// What kind of file it is.
    pub(super) kind: String,
}

/// What is done to a file.
#[derive(Clone, Debug)]
pub(super) enum Harm {
    Deleted,
    Emptied,
    /// Cut to so many bytes; whether at a bound of its structure.
    Cut(usize, bool),
    /// One bit of a byte.
    Flipped(usize, u8),
    /// So many bytes from an offset on.
    Zeroed(usize, usize),
    /// Another file's content.
    Swapped(PathBuf),
    /// What it was some time ago.
    Older,
    /// All index files of its mailbox are gone.
    AllIndexes,
}

impl Harm {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Emptied => "emptied",
            Self::Cut(_, true) => "cut at a bound",
            Self::Cut(_, false) => "cut anywhere",
            Self::Flipped(..) => "a bit flipped",
            Self::Zeroed(..) => "zeroed in part",
            Self::Swapped(_) => "swapped with another",
            Self::Older => "an older copy",
            Self::AllIndexes => "all index files deleted",
        }
    }

    /// Does it to a file of a tree.
    pub(super) fn apply(&self, tree: &Path, older: &Path, path: &Path) -> anyhow::Result<()> {
        let at = tree.join(path);
        let change = |change: &dyn Fn(&mut Vec<u8>)| -> anyhow::Result<()> {
            let mut bytes = fs::read(&at)?;
            change(&mut bytes);
            Ok(fs::write(&at, bytes)?)
        };
        match self {
            Self::Deleted => fs::remove_file(&at)?,
            Self::Emptied => fs::write(&at, "")?,
            Self::Cut(len, _) => change(&|bytes| bytes.truncate(*len))?,
            Self::Flipped(offset, bit) => change(&|bytes| {
                if let Some(byte) = bytes.get_mut(*offset) {
                    *byte ^= 1 << bit;
                }
            })?,
            Self::Zeroed(offset, len) => {
                change(&|bytes| bytes.iter_mut().skip(*offset).take(*len).for_each(|b| *b = 0))?
            }
            Self::Swapped(other) => {
                let (one, two) = (fs::read(&at)?, fs::read(tree.join(other))?);
                fs::write(&at, two)?;
                fs::write(tree.join(other), one)?;
            }
            Self::Older => fs::write(&at, fs::read(older.join(path))?)?,
            Self::AllIndexes => {
                for entry in fs::read_dir(at.parent().context("a folder")?)? {
                    let entry = entry?;
                    if entry.file_name().to_string_lossy().starts_with("dovecot.index") {
                        fs::remove_file(entry.path())?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(len, _) => write!(f, "cut to {len} bytes"),
            Self::Flipped(offset, bit) => write!(f, "bit {bit} of byte {offset} flipped"),
            Self::Zeroed(offset, len) => write!(f, "{len} bytes at {offset} zeroed"),
            Self::Swapped(other) => write!(f, "swapped with {}", other.display()),
            other => f.write_str(other.kind()),
        }
    }
}

/// Every file of a tree, by its path in it.
fn files(tree: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![tree.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(tree)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What kind of file a name stands for; `None`: nothing that is worth damaging.
fn kind_of(tree: &Path, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Some(match name {
        _ if folder == "cur" || folder == "new" => "message".to_owned(),
        _ if name.strip_prefix("u.").is_some_and(is_number) => "u.N".to_owned(),
        _ if name.strip_prefix("m.").is_some_and(is_number) => "m.N".to_owned(),
        _ if name.starts_with("dovecot-uidvalidity") => "dovecot-uidvalidity".to_owned(),
        "maildirfolder" | "dovecot.index.thread" => return None,
        _ if name.starts_with("dovecot") || name.ends_with("subscriptions") => name.to_owned(),
        _ if is_mbox(&tree.join(path)) => "mbox".to_owned(),
        _ => return None,
    })
}

/// Whether messages lie in a file one after the other.
fn is_mbox(path: &Path) -> bool {
    let mut start = [0; 5];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| start == *b"From ")
}

/// Of each kind of file two at most: one of INBOX, where most happens, and one of another mailbox.
pub(super) fn targets(tree: &Path) -> anyhow::Result<Vec<Target>> {
    let mut by_kind: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files(tree)? {
        if let Some(kind) = kind_of(tree, &path) {
            by_kind.entry(kind).or_default().push(path);
        }
    }
    let mut targets = Vec::new();
    for (kind, mut paths) in by_kind {
        // INBOX of a Maildir is the root.
        let is_inbox = |path: &PathBuf| {
            let text = path.to_string_lossy();
            text.contains("INBOX")
                || text == "inbox"
                || text.starts_with("cur/")
                || text.starts_with("new/")
                || !text.contains('/')
        };
        paths.sort_by_key(|path| (!is_inbox(path), path.clone()));
        let inbox = paths.first().cloned();
        let largest = |path: &PathBuf| fs::metadata(tree.join(path)).map_or(0, |there| there.len());
        let other = paths.iter().skip(1).filter(|path| !is_inbox(path)).max_by_key(|path| largest(path)).cloned();
        for path in inbox.into_iter().chain(other) {
            targets.push(Target { path, kind: kind.clone() });
        }
    }
    Ok(targets)
}

/// What is done to one file, the dice saying where.
pub(super) fn harms(tree: &Path, target: &Target, rng: &mut Rng) -> Vec<(Target, Harm)> {
    let bytes = fs::read(tree.join(&target.path)).unwrap_or_default();
    let len = bytes.len();
    let mut harms = vec![Harm::Deleted, Harm::Older];
    if target.kind == "dovecot.index.log" {
        harms.push(Harm::AllIndexes);
    }
    if len > 0 {
        harms.push(Harm::Emptied);
        harms.extend(bounds(&target.kind, &bytes, rng).into_iter().map(|at| Harm::Cut(at, true)));
        harms.extend((0..3).map(|_| Harm::Cut(rng.usize(..len), false)));
        // Headers are where it hurts.
        harms.extend((0..3).map(|_| Harm::Flipped(rng.usize(..len.min(64)), rng.u8(..8))));
        harms.extend((0..5).map(|_| Harm::Flipped(rng.usize(..len), rng.u8(..8))));
        harms.push(Harm::Zeroed(0, SECTOR_LEN));
        harms.push(Harm::Zeroed(rng.usize(..len) / SECTOR_LEN * SECTOR_LEN, SECTOR_LEN));
        harms.push(Harm::Zeroed((len - 1) / BLOCK_LEN * BLOCK_LEN, BLOCK_LEN));
    }
    let others: Vec<PathBuf> =
        files(tree).unwrap_or_default().into_iter().filter(|path| *path != target.path).collect();
    let alike: Vec<_> = others.iter().filter(|path| kind_of(tree, path).as_deref() == Some(&*target.kind)).collect();
    if !alike.is_empty() {
        harms.push(Harm::Swapped(alike[rng.usize(..alike.len())].clone()));
    }
    harms.into_iter().map(|harm| (target.clone(), harm)).collect()
}

/// Where the structure of a file has joints.
fn bounds(kind: &str, bytes: &[u8], rng: &mut Rng) -> Vec<usize> {
    let number = |at: usize| {
        let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        four.map_or(0, |four| u32::from_le_bytes(*four) as usize)
    };
    let len = bytes.len();
    let mut bounds = match kind {
        "u.N" | "m.N" => {
            let post = bytes.windows(4).position(|window| window == b"\n\x01\x03\n").unwrap_or(len);
            vec![16, 46, post, post + 4, len - 1]
        }
        "mbox" => {
            let starts: Vec<_> =
                bytes.windows(6).enumerate().filter(|(_, w)| w == b"\nFrom ").map(|(at, _)| at + 1).collect();
            let some = if starts.is_empty() { 0 } else { starts[rng.usize(..starts.len())] };
            let body = bytes.windows(2).position(|window| window == b"\n\n").unwrap_or(len / 2);
            vec![starts.first().copied().unwrap_or_default(), some, body + 1, len - 1]
        }
        "message" => {
            let body = bytes.windows(2).position(|window| window == b"\n\n").unwrap_or(len / 2);
            vec![body + 1, len - 1]
        }
        _ if kind.ends_with(".cache") => vec![32, len - len % 4 - 4],
        _ if kind.contains(".log") => {
            let mut at = 40;
            let mut records = vec![24, 40];
            // Sizes are in Dovecot's offset encoding: seven bits a byte, the first byte highest.
            while let Some([a, b, c, d]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
                let part = |byte: &u8| usize::from(byte & 0x7f);
                let size = (part(a) << 23) | (part(b) << 16) | (part(c) << 9) | (part(d) << 2);
                if size == 0 || at + size > len {
                    break;
                }
                at += size;
                records.push(at);
            }
            let last = records.pop().unwrap_or_default();
            let mut some = vec![24, 40, records.last().copied().unwrap_or(last)];
            some.push(records[rng.usize(..records.len())]);
            some
        }
        _ if kind.contains("dovecot.index") || kind.contains(".index") => {
            let (header, record) = (number(4), number(8).max(1));
            vec![120, header, header + record, len.saturating_sub(record)]
        }
        // Lines.
        _ => {
            let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
            let some = |rng: &mut Rng| if ends.is_empty() { 0 } else { ends[rng.usize(..ends.len())] };
            vec![ends.first().copied().unwrap_or_default(), some(rng), some(rng)]
        }
    };
    bounds.retain(|at| *at > 0 && *at < len);
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// The bodies in an mbox, as they lie there.
fn mbox_bodies(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path)?;
    let mut reader = match MboxReader::open(&RealDisk::new(), path) {
        // Without its first separator it is no mbox: nobody can do more than leave it as it is.
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Ok(vec![bytes]),
        other => other?,
    };
    let mut bodies = Vec::new();
    while let Some(message) = reader.next_message()? {
        let (start, end) = (message.body.start as usize, message.body.end as usize);
        bodies.extend(bytes.get(start..end).filter(|body| !body.is_empty()).map(<[u8]>::to_vec));
    }
    Ok(bodies)
}

/// The content of every file of messages that is not empty, wherever it lies and whatever it is called, by its hash. A
/// file counts as one if it was one, or was kept of one.
pub(super) fn bodies(tree: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut bodies = BTreeMap::new();
    for path in files(tree)? {
        let kept = path.to_string_lossy().contains("culver.damaged.");
        let kind = kind_of(tree, &path).unwrap_or_default();
        if kind == "mbox" {
            // What a program keeps in its messages' headers changes.
            for body in mbox_bodies(&tree.join(&path))? {
                bodies.insert(sha256(&body), path.display().to_string());
            }
        } else if kept || ["u.N", "m.N", "message"].contains(&&*kind) {
            let bytes = fs::read(tree.join(&path))?;
            if !bytes.is_empty() {
                bodies.insert(sha256(&bytes), path.display().to_string());
            }
        }
    }
    Ok(bodies)
}
