//! A state of the simulated disk, laid out on the real one and shown by a real Dovecot.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Output},
};

use mailfs::sim::SimDisk;
use mailtypes::{Flag, Flags};

use super::{Format, Message, Setting, Shown, message};

const DOVEADM: &str = "/usr/bin/doveadm";

/// Whom files belong to where the tests are root's, whose mail Dovecot does not serve: `nobody`.
const NOBODY: u32 = 65534;

/// A process that there cannot be: one more than the largest number.
const GONE: u32 = (1 << 22) + 1;

/// Says loudly if there is none.
pub fn is_installed() -> bool {
    let there = Path::new(DOVEADM).exists();
    if !there {
        println!("SKIPPED: {DOVEADM} is not installed, no state was shown to a real Dovecot");
    }
    there
}

fn location(setting: Setting, dir: &Path) -> String {
    let (root, alt) = (dir.join("mail").display().to_string(), dir.join("alt").display().to_string());
    let alt = if setting.alt { format!(":ALT={alt}") } else { String::new() };
    match setting.format {
        Format::Sdbox => format!("sdbox:{root}{alt}"),
        Format::Mdbox => format!("mdbox:{root}{alt}"),
        Format::Maildir => format!("maildir:{root}"),
        Format::Mbox => format!("mbox:{root}:INBOX={root}/inbox"),
    }
}

/// What it reads: the mail, or what stands in the caches too, which are not durable and which it believes.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Reads {
    Mail,
    Caches,
}

/// What Dovecot shows, the subscriptions left out; or what it said instead.
pub fn shown(disk: &SimDisk, setting: Setting, reads: Reads) -> Result<Shown, String> {
    let dir = tempfile::Builder::new().prefix("culver-crash").tempdir().unwrap();
    disk.dump_to(dir.path()).unwrap();
    let (run, log) = (dir.path().join("run"), dir.path().join("log"));
    fs::create_dir(&run).unwrap();
    let config = format!(
        "base_dir = {run}\nstate_dir = {run}\nlog_path = {log}\nssl = no\nmail_location = {location}\n\
         first_valid_uid = 1\nstats_writer_socket_path =\nnamespace inbox {{\n  inbox = yes\n  separator = /\n}}\n",
        run = run.display(),
        log = log.display(),
        location = location(setting, dir.path()),
    );
    fs::write(dir.path().join("dovecot.conf"), config).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    settle(dir.path(), is_root, reads);
    let doveadm = |arguments: &[&str]| -> Output {
        let mut command = Command::new(DOVEADM);
        command.arg("-c").arg(dir.path().join("dovecot.conf")).args(arguments);
        command.env_clear().env("HOME", dir.path()).env("USER", "nobody").env("TZ", "UTC");
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().unwrap()
    };
    let text = |arguments: &[&str]| {
        let output = doveadm(arguments);
        let said = || format!("doveadm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(String::from_utf8(output.stdout.clone()).unwrap()) } else { Err(said()) }
    };
    let mut mailboxes = BTreeMap::new();
    for name in text(&["mailbox", "list"])?.lines() {
        // What cannot be selected has no status.
        if doveadm(&["mailbox", "status", "messages", name]).status.success() {
            mailboxes.insert(name.to_owned(), Some(Vec::new()));
        }
    }
    let fields = "mailbox uid flags hdr.subject size.virtual";
    for (name, message) in text(&["-f", "tab", "fetch", fields, "mailbox", "*", "all"])?.lines().skip(1).map(parse) {
        mailboxes.entry(name).or_default().get_or_insert_default().push(message);
    }
    Ok(Shown { mailboxes, subscriptions: Vec::new() })
}

fn parse(line: &str) -> (String, Message) {
    let values: Vec<&str> = line.split('\t').collect();
    let [mailbox, uid, words, subject, size] = values[..] else { panic!("{line}") };
    let number = subject.strip_prefix("message ").and_then(|number| number.parse().ok());
    let number = number.filter(|number| message(*number).len().to_string() == size).unwrap_or(0);
    let (mut flags, mut keywords) = (Flags::NONE, Vec::new());
    for word in words.split(' ').filter(|word| !word.is_empty() && *word != "\\Recent") {
        match [Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Seen, Flag::Draft]
            .into_iter()
            .find(|f| f.name() == word)
        {
            Some(flag) => flags = flags | flag.into(),
            None => keywords.push(word.to_owned()),
        }
    }
    keywords.sort();
    (mailbox.to_owned(), Message { uid: uid.parse().unwrap(), number, flags, keywords })
}

/// Gives everything to whom Dovecot runs as, and dotlocks the owner that they have when a machine is up again: a process
/// of this host that is gone.
fn settle(path: &Path, is_root: bool, reads: Reads) {
    if is_root {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| settle(&entry.unwrap().path(), is_root, reads));
    } else if reads == Reads::Mail && path.ends_with("dovecot.index.cache") {
        fs::remove_file(path).unwrap();
    } else if path.extension().is_some_and(|extension| extension == "lock") {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        fs::write(path, format!("{GONE}:{}", host.trim())).unwrap();
    }
}

/// What the one has that the other has not, by kind: mailboxes, messages, flags or keywords, UIDs; and how many the other has
/// more.
pub fn losses(before: &Shown, after: &Shown) -> BTreeMap<&'static str, usize> {
    let mut losses = BTreeMap::new();
    let mut lose = |what, count: usize| {
        if count > 0 {
            *losses.entry(what).or_default() += count;
        }
    };
    for (name, messages) in &before.mailboxes {
        let Some(messages) = messages else { continue };
        let Some(Some(there)) = after.mailboxes.get(name) else {
            lose("mailboxes", 1);
            lose("messages", messages.len());
            continue;
        };
        let mut there = there.clone();
        for message in messages {
            let same_uid = there.iter().position(|m| (m.uid, m.number) == (message.uid, message.number));
            let Some(at) = same_uid.or_else(|| there.iter().position(|m| m.number == message.number)) else {
                lose("messages", 1);
                continue;
            };
            let found = there.remove(at);
            lose("UIDs", usize::from(found.uid != message.uid));
            lose("flags", usize::from((found.flags, sorted(&found)) != (message.flags, sorted(message))));
        }
        lose("more messages", there.len());
    }
    losses
}

fn sorted(message: &Message) -> Vec<&String> {
    let mut keywords: Vec<&String> = message.keywords.iter().collect();
    keywords.sort();
    keywords
}
