//! The files beside index and dbox files as text or JSON, whatever state they are in: UID lists, keywords, subscriptions,
//! the journal of mailboxes, UIDVALIDITY, thread indexes, mbox files and what undoes a change of one, names of Maildir files. One thing a line, with its offset; what makes
//! no sense is a `problem` with its place, and is passed over.
//!
//! Index files are [`mailindex::dump`]'s, dbox files [`dbox::dump`](crate::dbox::dump())'s.

mod lines;
mod mailbox_log;
mod mbox;
mod mbox_undo;
mod thread;

use std::{fmt, path::Path};

use mailfs::{FileSystem, FileSystemExt};
use serde_json::{Map, Value};

pub use mailindex::dump::Format;

use crate::{
    maildir::dump::{keywords, name, uidlist},
    traits::Result,
};

/// Largest file of lines that is read.
const LINES_LEN_MAX: u64 = 1 << 30;

/// The kinds of files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FileKind {
    /// `dovecot-uidlist`.
    UidList,
    /// `dovecot-keywords`.
    Keywords,
    /// `subscriptions`.
    Subscriptions,
    /// `dovecot.mailbox.log`.
    MailboxLog,
    /// `dovecot-uidvalidity` and its numbered companion.
    UidValidity,
    /// An mbox file.
    Mbox,
    /// A message of a Maildir, by its name.
    MaildirName,
    /// The journal of a conversion.
    Conversion,
    /// `dovecot.index.thread`.
    Thread,
    /// `culver.mbox.undo`.
    MboxUndo,
}

/// The name of a file that was given another by a repair (`culver.damaged.<name>.<n>`) or as a second one
/// (`culver.kept.<name>`), as it was; that of any other file.
pub fn name_of_kept(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let damaged = name.strip_prefix(mailindex::engine::aside::PREFIX).and_then(|rest| rest.rsplit_once('.'));
    let damaged = damaged.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let kept = damaged.map(|(was, _)| was).or_else(|| name.strip_prefix("culver.kept."));
    kept.map_or_else(|| name.clone(), str::to_owned)
}

/// Tells which of these a file is, by its name where that says it, else by its first bytes.
pub fn detect(path: &Path, start: &[u8]) -> Option<FileKind> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    match name {
        "dovecot-uidlist" => Some(FileKind::UidList),
        "dovecot-keywords" => Some(FileKind::Keywords),
        "subscriptions" | ".subscriptions" => Some(FileKind::Subscriptions),
        "dovecot.mailbox.log" | "dovecot.mailbox.log.2" => Some(FileKind::MailboxLog),
        crate::convert::Journal::FILE_NAME => Some(FileKind::Conversion),
        "dovecot.index.thread" => Some(FileKind::Thread),
        crate::mbox::undo::UNDO_FILE => Some(FileKind::MboxUndo),
        _ if name.starts_with("dovecot-uidvalidity") => Some(FileKind::UidValidity),
        _ if ["cur", "new", "tmp"].contains(&folder) || name.contains(":2,") => Some(FileKind::MaildirName),
        _ if start.starts_with(b"From ") => Some(FileKind::Mbox),
        _ => None,
    }
}

/// Prints a file. Fails if the file system does; what the file holds is never an error.
pub fn dump(
    fs: &dyn FileSystem,
    kind: FileKind,
    path: &Path,
    format: Format,
    out: &mut dyn fmt::Write,
) -> Result<fmt::Result> {
    let mut sink = Sink { format, out };
    let read = || fs.read_all(path, LINES_LEN_MAX);
    Ok(match kind {
        FileKind::UidList => uidlist(&read()?, &mut sink),
        FileKind::Keywords => keywords(&read()?, &mut sink),
        FileKind::Subscriptions => lines::subscriptions(&read()?, &mut sink),
        FileKind::UidValidity => lines::uid_validity(path, &read()?, &mut sink),
        FileKind::Conversion => lines::conversion(&read()?, &mut sink),
        FileKind::MailboxLog => mailbox_log::dump(&read()?, &mut sink),
        FileKind::Thread => thread::dump(&read()?, &mut sink),
        FileKind::Mbox => mbox::dump(fs, path, &mut sink)?,
        FileKind::MboxUndo => mbox_undo::dump(fs, path, &mut sink)?,
        FileKind::MaildirName => name(path, fs.metadata(path)?.map(|there| there.len), &mut sink),
    })
}

/// Where what was found goes.
pub(crate) struct Sink<'a> {
    format: Format,
    out: &'a mut dyn fmt::Write,
}

impl Sink<'_> {
    /// One thing: what, where, and its values in order.
    pub(crate) fn item(&mut self, kind: &str, offset: u64, values: &[(&str, Value)]) -> fmt::Result {
        match self.format {
            Format::Text => {
                write!(self.out, "{offset:>8}  {kind}")?;
                for (name, value) in values {
                    // Nothing from a file may speak to the terminal: JSON quotes what might.
                    match value {
                        Value::String(text) if is_plain(text) => write!(self.out, " {name}={text}")?,
                        other => write!(self.out, " {name}={}", printable(&other.to_string()))?,
                    }
                }
                self.out.write_char('\n')
            }
            Format::Json => {
                let mut object = Map::new();
                object.insert("kind".to_owned(), kind.into());
                object.insert("offset".to_owned(), offset.into());
                object.extend(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                writeln!(self.out, "{}", printable(&Value::Object(object).to_string()))
            }
        }
    }

    /// Something that makes no sense.
    pub(crate) fn problem(&mut self, offset: u64, what: &str) -> fmt::Result {
        self.item("problem", offset, &[("what", what.into())])
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_control() || c == ' ' || c == '"')
}

/// JSON leaves some control characters as they are.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bytes that are most likely text.
pub(crate) fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mailfs::sim::SimDisk;
    use proptest::prelude::*;

    use super::*;

    fn dumped(path: &str, bytes: &[u8], format: Format) -> String {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        let path = Path::new(path);
        fs.create_dir_all(path.parent().unwrap(), 0o700).unwrap();
        fs.write_atomic(path, bytes, 0o600, true).unwrap();
        let mut out = String::new();
        let kind = detect(path, bytes).unwrap();
        dump(&*fs, kind, path, format, &mut out).unwrap().unwrap();
        out
    }

    #[test]
    fn files_are_known_by_their_names() {
        for (name, start, kind) in [
            ("/m/dovecot-uidlist", &b""[..], Some(FileKind::UidList)),
            ("/m/dovecot-uidvalidity.6b027464", b"", Some(FileKind::UidValidity)),
            ("/m/dovecot.mailbox.log", b"", Some(FileKind::MailboxLog)),
            ("/m/cur/1.2.host", b"", Some(FileKind::MaildirName)),
            ("/m/inbox", b"From a@b", Some(FileKind::Mbox)),
            ("/m/u.1", b"2 M1e", None),
            ("/m/.imap/.culver.convert", b"", Some(FileKind::Conversion)),
        ] {
            assert_eq!(detect(Path::new(name), start), kind, "{name}");
        }
    }

    #[test]
    fn what_was_kept_is_what_it_was() {
        for (name, was) in [
            ("culver.damaged.dovecot.index.log.2.13", "dovecot.index.log.2"),
            ("culver.damaged.u.7.1", "u.7"),
            ("culver.kept.dovecot.index", "dovecot.index"),
            ("dovecot.index.log.2", "dovecot.index.log.2"),
            ("culver.damaged.x", "culver.damaged.x"),
        ] {
            assert_eq!(name_of_kept(&Path::new("/m").join(name)), was);
        }
    }

    #[test]
    fn the_journal_of_a_conversion() {
        let journal = b"culver-convert 1\nB\tc9ec6417\tINBOX\nD\tc9ec6417\tINBOX\t1,5,9,4\t1,5,9,4\t-\nX\tc9ec6417\nS\ta\tb&AOQ-\n?\n";
        let text = dumped("/m/.culver.convert", journal, Format::Text);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("version=1"), "{text}");
        assert!(lines[1].contains("begun guid=c9ec6417 name=INBOX"), "{text}");
        assert!(lines[2].contains("done guid=c9ec6417 name=INBOX source=1,5,9,4"), "{text}");
        assert!(lines[3].contains("deleted") && lines[4].contains("subscriptions"), "{text}");
        assert!(lines[5].contains("problem"), "{text}");
    }

    #[test]
    fn lines_with_their_places() {
        let list = b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 W7 :a,S=5\nrubbish\n4 :half";
        let text = dumped("/m/dovecot-uidlist", list, Format::Text);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("uid_validity=5 next_uid=9"), "{text}");
        assert!(lines[1].starts_with("      42  message uid=1 "), "{text}");
        assert!(lines[2].starts_with("      54  problem"), "{text}");
        assert!(lines[3].starts_with("      62  unfinished"), "{text}");
        assert!(dumped("/m/dovecot-keywords", b"0 $Label1\nx\n", Format::Text).contains("10  problem"));
        let json = dumped("/m/subscriptions", b"V\t2\n\nINBOX\na\tb\n", Format::Json);
        assert!(json.contains(r#"{"kind":"name","name":"a/b","offset":11}"#), "{json}");
        assert!(dumped("/m/dovecot-uidvalidity", b"6b027464", Format::Text).contains("uid_validity=1795322980"));
        assert!(dumped("/m/dovecot-uidvalidity.6b027464", b"", Format::Text).contains("uid_validity=1795322980"));
        let name = dumped("/m/cur/17.M1P2.host,S=887,W=906:2,RSab", b"x", Format::Text);
        assert!(name.contains("flags=RS") && name.contains("S=887") && name.contains("len=1"), "{name}");
    }

    #[test]
    fn the_journal_of_mailboxes() {
        let mut log = vec![1, 0, 0, 0];
        log.extend([7; 16]);
        log.extend(1_795_322_980u32.to_be_bytes());
        log.extend([9, 0]);
        let text = dumped("/m/dovecot.mailbox.log", &log, Format::Text);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("type=\"mailbox deleted\"") && lines[0].contains("time=1795322980"), "{text}");
        assert!(lines[1].starts_with("      24  problem"), "{text}");
    }

    #[test]
    fn the_messages_of_an_mbox() {
        let mbox = b"From a@b Mon Jan  1 00:00:00 2024\nStatus: RO\nX-UID: 7\n\nbody\n\nFrom c@d Mon Jan  1 00:00:01 2024\n\nx\n";
        let text = dumped("/m/inbox", mbox, Format::Text);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("       0  message") && lines[0].contains("x_uid=7"), "{text}");
        assert!(lines[1].starts_with("      61  message"), "{text}");
    }

    /// What a change of 5 bytes at 7 left that was to append message 3.
    #[test]
    fn an_unfinished_change_of_an_mbox() {
        let mut undo = b"CulvMbU1".to_vec();
        undo.extend([3u32, 1].map(u32::to_le_bytes).concat());
        undo.extend([77u64, 100, 130, 7, 5].map(u64::to_le_bytes).concat());
        undo.extend(b"saved");
        undo.extend(&<sha2::Sha256 as sha2::Digest>::digest(&undo)[..16]);
        let path = "/m/.imap/inbox/culver.mbox.undo";
        let text = dumped(path, &undo, Format::Text);
        assert!(text.contains("in_force_with_uid=3 ranges=1 inode=77 old_len=100 new_len=130"), "{text}");
        assert!(text.contains("      40  saved mbox_offset=7 len=5") && text.contains("      61  sum"), "{text}");
        for cut in 1..undo.len() {
            assert!(dumped(path, &undo[..cut], Format::Text).contains("problem"), "cut at {cut}");
        }
        assert!(!dumped(path, b"", Format::Text).contains("problem"));
        undo[60] ^= 1;
        assert!(dumped(path, &undo, Format::Text).contains("problem"));
    }

    proptest! {
        #[test]
        fn any_thread_index_is_dumped(blocks in prop::collection::vec(any::<u8>(), 0..120)) {
            let out = dumped("/m/dovecot.index.thread", &[&[2, 1, 0, 0][..], &[7; 12], &blocks].concat(), Format::Json);
            prop_assert!(out.ends_with("\n"));
        }

        #[test]
        fn any_bytes_are_dumped(
            name in prop::sample::select(vec![
                "/m/dovecot-uidlist", "/m/dovecot-keywords", "/m/subscriptions", "/m/dovecot.mailbox.log",
                "/m/dovecot-uidvalidity", "/m/dovecot-uidvalidity.1", "/m/cur/a:2,S", "/m/dovecot.index.thread",
                "/m/culver.mbox.undo",
            ]),
            bytes in prop::collection::vec(prop::sample::select(b"13 VNG:ab\n\t,\x00\x01\xff\x1b".to_vec()), 0..120),
            json in any::<bool>(),
        ) {
            let out = dumped(name, &bytes, if json { Format::Json } else { Format::Text });
            prop_assert!(out.lines().all(|line| !line.chars().any(char::is_control)), "{out:?}");
        }

        #[test]
        fn any_mbox_is_dumped(bytes in prop::collection::vec(prop::sample::select(b"From \n:a0@X-UID\xff".to_vec()), 0..120)) {
            let out = dumped("/m/inbox", &[b"From ", &bytes[..]].concat(), Format::Text);
            prop_assert!(!out.is_empty());
        }
    }
}
