//! What a store shows, to us and to Dovecot's clients, to be compared.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "in a test's helper as in the test")]

use std::{collections::BTreeMap, path::PathBuf};

use mailstore::{Column, Columns, Cursor, ListPattern, MailStorage, Mailbox, Rows, ScanBudget, Section, ViewAs};
use mailtypes::{Uid, UidSet, mutf7};

use crate::dovecot::{Imap, Shared};

impl Shared {
    /// Where the store is.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("mail")
    }
}

impl Imap {
    /// Appends a message.
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &[u8]) {
        let mut command = format!("APPEND \"{mailbox}\" ({flags}) {{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(message);
        self.run(command);
    }
}

/// A message as IMAP shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    pub flags: Vec<String>,
    pub size: u64,
    pub date: String,
    pub envelope: Vec<u8>,
    pub structure: Vec<u8>,
    pub body: Vec<u8>,
}

pub type Mailboxes = BTreeMap<String, BTreeMap<u32, Shown>>;

/// What we show.
pub fn shown_by_us(storage: &dyn MailStorage) -> Mailboxes {
    let mut mailboxes = BTreeMap::new();
    for info in storage.list(&ListPattern::all()).unwrap().into_iter().filter(|info| info.selectable) {
        let mailbox = storage.mailbox(&info.name).unwrap();
        mailboxes.insert(info.name.to_string(), mailbox_shown_by_us(&*mailbox));
    }
    mailboxes
}

fn mailbox_shown_by_us(mailbox: &dyn Mailbox) -> BTreeMap<u32, Shown> {
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let columns = Columns::default() | Column::Size | Column::InternalDate | Column::Envelope | Column::BodyStructure;
    let mut rows = Rows::new();
    let mut at = Some(Cursor::START);
    while let Some(cursor) = at {
        at = view.scan(&view.uids(), cursor, &columns, ScanBudget::default(), &mut rows).unwrap();
    }
    let mut shown = BTreeMap::new();
    for row in &rows.rows {
        let flags = row.flags.iter().map(|flag| flag.name().to_owned());
        let mut flags: Vec<_> = flags.chain(rows.keywords(row).iter().map(ToString::to_string)).collect();
        flags.sort();
        let mut body = view.body(row.uid).unwrap();
        let mut bytes = vec![0; body.size() as usize + 1];
        let len = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        bytes.truncate(len);
        let message = Shown {
            flags,
            size: row.size.unwrap(),
            date: date_text(row.internal_date.unwrap().unix),
            envelope: rows.text(row.envelope.unwrap()).to_vec(),
            structure: rows.text(row.body_structure.unwrap()).to_vec(),
            body: bytes,
        };
        shown.insert(row.uid.value(), message);
    }
    view.flush_cache();
    shown
}

fn date_text(unix: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = mailtypes::CalendarDate::of_unix(unix).ymd();
    let second = unix.rem_euclid(86_400);
    let month = MONTHS[month as usize - 1];
    format!("{day:2}-{month}-{year} {:02}:{:02}:{:02} +0000", second / 3600, second / 60 % 60, second % 60)
}

/// What Dovecot shows.
pub fn shown_by_dovecot(imap: &mut Imap) -> Mailboxes {
    let mut mailboxes = BTreeMap::new();
    for line in imap.run("LIST \"\" *") {
        let line = String::from_utf8(line).unwrap();
        if line.contains("\\Noselect") {
            continue;
        }
        let name = line.rsplit_once("\"/\" ").unwrap().1.trim_matches('"').to_owned();
        imap.run(format!("EXAMINE \"{name}\""));
        let items = "(UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE BODY.PEEK[])";
        let fetched = imap.run(format!("UID FETCH 1:* {items}"));
        imap.run("UNSELECT");
        let messages = fetched.iter().filter(|line| contains(line, b" FETCH (")).map(|line| parse_fetch(line));
        mailboxes.insert(mutf7::decode(name.as_bytes()).unwrap(), messages.collect());
    }
    mailboxes
}

pub fn contains(line: &[u8], what: &[u8]) -> bool {
    line.windows(what.len()).any(|window| window == what)
}

/// Takes a FETCH response with exactly those items, in that order, apart.
fn parse_fetch(line: &[u8]) -> (u32, Shown) {
    let after = |line: &[u8], what: &str| {
        let at = line.windows(what.len()).position(|w| w == what.as_bytes());
        at.map(|at| line[at + what.len()..].to_vec())
            .unwrap_or_else(|| panic!("{what} in {}", String::from_utf8_lossy(line)))
    };
    let number = |bytes: &[u8]| {
        let digits: Vec<u8> = bytes.iter().copied().take_while(u8::is_ascii_digit).collect();
        String::from_utf8(digits).unwrap().parse::<u64>().unwrap()
    };
    let uid = number(&after(line, "(UID ")) as u32;
    let flags = after(line, "FLAGS (");
    let flags = String::from_utf8(flags.split(|b| *b == b')').next().unwrap().to_vec()).unwrap();
    let mut flags: Vec<_> = flags.split(' ').filter(|f| !f.is_empty() && *f != "\\Recent").map(str::to_owned).collect();
    flags.sort();
    let date = after(line, "INTERNALDATE \"");
    let envelope = parenthesised(&after(line, "ENVELOPE "));
    let structure = parenthesised(&after(line, "BODYSTRUCTURE "));
    let body = after(line, "BODY[] ");
    let body = match body.strip_prefix(b"{") {
        Some(literal) => {
            let len = number(literal) as usize;
            let start = literal.iter().position(|b| *b == b'\n').unwrap() + 1;
            literal[start..start + len].to_vec()
        }
        None => body.strip_prefix(b"\"").unwrap().split(|b| *b == b'"').next().unwrap().to_vec(),
    };
    let date = String::from_utf8(date.split(|b| *b == b'"').next().unwrap().to_vec()).unwrap();
    let size = number(&after(line, "RFC822.SIZE "));
    (uid, Shown { flags, size, date, envelope, structure, body })
}

/// From an opening parenthesis to the one that closes it; strings and literals are stepped over.
fn parenthesised(bytes: &[u8]) -> Vec<u8> {
    let (mut depth, mut at, mut quoted) = (0, 0, false);
    loop {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'{' if !quoted => {
                let end = at + bytes[at..].iter().position(|b| *b == b'}').unwrap();
                let len: usize = std::str::from_utf8(&bytes[at + 1..end]).unwrap().parse().unwrap();
                at = end + 2 + len;
            }
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return bytes[..at].to_vec();
        }
    }
}

pub fn assert_same(ours: &Mailboxes, dovecots: &Mailboxes, when: &str) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), dovecots.keys().collect::<Vec<_>>(), "mailboxes {when}");
    for (name, messages) in ours {
        let theirs = &dovecots[name];
        let uids = |m: &BTreeMap<u32, Shown>| m.keys().copied().collect::<Vec<_>>();
        assert_eq!(uids(messages), uids(theirs), "UIDs of {name} {when}");
        for (uid, message) in messages {
            let other = &theirs[uid];
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(message.flags, other.flags, "flags of {name} {uid} {when}");
            assert_eq!((message.size, &message.date), (other.size, &other.date), "{name} {uid} {when}");
            assert_eq!(text(&message.envelope), text(&other.envelope), "{name} {uid} {when}");
            assert_eq!(text(&message.structure), text(&other.structure), "{name} {uid} {when}");
            assert_eq!(message.body, other.body, "body of {name} {uid} {when}");
        }
    }
}

pub fn one(uid: Uid) -> UidSet {
    let mut set = UidSet::new();
    set.insert(uid);
    set
}
