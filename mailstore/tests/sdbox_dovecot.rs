//! sdbox beside a real Dovecot 2.3: what either writes the other one reads, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod dovecot;

use std::{collections::BTreeMap, sync::Arc};

use dovecot::{Imap, Shared};
use mailstore::{
    Append, Batch, Column, Columns, Cursor, FlagAction, FlagChange, Mailbox, Rows, ScanBudget, Section, Store, ViewAs,
};
use mailtypes::{Flag, Flags, Keyword, MailboxName, Uid, UidSet, mutf7};

const MULTIPART: &[u8] = b"From: Ann <ann@example.org>\r\nTo: bob@example.org, \"C, D\" <c@example.org>\r\n\
    Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"xx\"\r\n\r\n\
    preamble\r\n--xx\r\nContent-Type: text/plain; charset=utf-8\r\n\r\none\r\n--xx\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: inner\r\n\r\ninner body\r\n--xx\r\nContent-Type: application/octet-stream\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\nAAECAw==\r\n--xx--\r\n";

fn messages() -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = vec![
        b"Subject: plain\r\nDate: Mon, 1 Jan 2024 10:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n\r\nbody\r\n"
            .to_vec(),
        b"Subject: LF only\n\nline\nline without end".to_vec(),
        b"Subject: mixed\r\n\r\na\nb\r\nc\r\r\nd\re\r\n\r\n".to_vec(),
        b"no header at all\r\n".to_vec(),
        b"Subject: header only\r\n".to_vec(),
        b"\r\nbody only\r\n".to_vec(),
        b"Subject: 8bit\r\n\r\nn\xe4chste \xff\xfe\r\n".to_vec(),
        MULTIPART.to_vec(),
    ];
    let mut long = b"Subject: long\r\n\r\n".to_vec();
    (0..9000).for_each(|n| long.extend_from_slice(format!("line {n} of a message\r\n").as_bytes()));
    messages.push(long);
    messages
}

/// A message as IMAP shows it.
#[derive(Debug, Eq, PartialEq)]
struct Shown {
    flags: Vec<String>,
    size: u64,
    date: String,
    envelope: Vec<u8>,
    structure: Vec<u8>,
    body: Vec<u8>,
}

type Mailboxes = BTreeMap<String, BTreeMap<u32, Shown>>;

fn shown_by_us(store: &Store) -> Mailboxes {
    let mut mailboxes = BTreeMap::new();
    for info in store.list().unwrap().into_iter().filter(|info| info.selectable) {
        let mailbox = store.storage().mailbox(&info.name).unwrap();
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

fn shown_by_dovecot(imap: &mut Imap) -> Mailboxes {
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

fn contains(line: &[u8], what: &[u8]) -> bool {
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

/// Compares what both show; what we cached meanwhile is Dovecot's to read.
fn compare(shared: &Shared, store: &Store, imap: &mut Imap, when: &str) {
    let ours = shown_by_us(store);
    shared.own();
    assert_same(&ours, &shown_by_dovecot(imap), when);
}

fn assert_same(ours: &Mailboxes, dovecots: &Mailboxes, when: &str) {
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

fn one(uid: Uid) -> UidSet {
    let mut set = UidSet::new();
    set.insert(uid);
    set
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

#[test]
fn dovecot_reads_what_we_write() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let store = Store::create(shared.root()).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    for (n, message) in messages().iter().enumerate() {
        let date = mailtypes::InternalDate::utc(1_600_000_000 + n as i64);
        let append = Append::new(message).internal_date(date).keyword(Keyword::new("$Forwarded").unwrap());
        inbox.append(if n % 2 == 0 { append.flag(Flag::Seen) } else { append }).unwrap();
    }
    for mailbox in ["Work/2024", "Überblick & Co", "日本語", "gone", "before"] {
        store.create_mailbox(mailbox).unwrap();
    }
    let source = store.storage().mailbox(&name("INBOX")).unwrap();
    let uids = source.view(&ViewAs::default()).unwrap().uids();
    let target = store.storage().mailbox(&name("Work/2024")).unwrap();
    target.submit(Batch::new().copy(source, uids)).unwrap().wait().unwrap();
    inbox.view().unwrap().expunge(&one(Uid::new(2).unwrap())).unwrap();
    let answered = inbox.view().unwrap();
    answered
        .update_one(Uid::new(3).unwrap())
        .add(Flag::Answered)
        .add_keyword(Keyword::new("Mine").unwrap())
        .commit()
        .unwrap();
    store.delete_mailbox("gone").unwrap();
    store.rename_mailbox("before", "after/wards").unwrap();
    store.storage().subscribe(&name("Work/2024")).unwrap();
    store.storage().subscribe(&name("日本語")).unwrap();

    let mut imap = shared.imap();
    compare(&shared, &store, &mut imap, "after our changes");
    let subscribed: Vec<_> = imap.run("LSUB \"\" *").into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    assert_eq!(subscribed.len(), 2, "{subscribed:?}");
    for expect in ["Work/2024", "&ZeVnLIqe-"] {
        assert!(subscribed.iter().any(|line| line.ends_with(expect)), "{expect} in {subscribed:?}");
    }
    assert_eq!(shared.complaints(), [""; 0]);
}

#[test]
fn we_read_what_dovecot_writes() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let mut imap = shared.imap();
    for (n, message) in messages().iter().enumerate() {
        imap.append("INBOX", if n % 3 == 0 { "\\Seen $Label1" } else { "" }, message);
    }
    imap.run("CREATE \"Work/2024\"");
    imap.run("CREATE \"&ANw-berblick &- Co\"");
    imap.run("SELECT INBOX");
    imap.run("COPY 1:5 \"Work/2024\"");
    imap.run("STORE 2:3 +FLAGS (\\Deleted custom)");
    imap.run("STORE 4 FLAGS (\\Draft)");
    imap.run("EXPUNGE");
    imap.run("UNSELECT");
    imap.run("CREATE old");
    imap.run("RENAME old new");
    imap.run("CREATE gone");
    imap.run("DELETE gone");
    imap.run("SUBSCRIBE \"Work/2024\"");
    let store = Store::open(shared.root()).unwrap();
    compare(&shared, &store, &mut imap, "after Dovecot's changes");
    assert_eq!(store.storage().subscriptions().unwrap(), [name("Work/2024")]);
    // From what is cached by now, too.
    compare(&shared, &store, &mut imap, "the second time");
    assert_eq!(shared.complaints(), [""; 0]);
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

const CHANGES: usize = 150;

#[test]
fn turn_about() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let store = Store::create(shared.root()).unwrap();
    for mailbox in ["a", "b"] {
        store.create_mailbox(mailbox).unwrap();
    }
    let mut numbers = Numbers(20_240_101);
    let mut imap = shared.imap();
    for n in 0..CHANGES {
        let mailbox = ["INBOX", "a", "b"][numbers.below(3)];
        let what = if numbers.below(2) == 0 {
            shared.own();
            by_dovecot(&mut imap, mailbox, &mut numbers, n)
        } else {
            by_us(&store, mailbox, &mut numbers, n)
        };
        compare(&shared, &store, &mut imap, &format!("after change {n}: {what}"));
        assert_eq!(shared.complaints(), [""; 0], "after change {n}: {what}");
    }
}

fn by_dovecot(imap: &mut Imap, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let all = messages();
    let seq = numbers.below(4) + 1;
    let exists =
        imap.run(format!("SELECT {mailbox}")).iter().any(|line| contains(line, format!("* {seq} EXISTS").as_bytes()));
    let command = match numbers.below(5) {
        0 if exists => format!("STORE {seq} +FLAGS (\\Flagged k{})", n % 7),
        1 if exists => format!("STORE 1:{seq} FLAGS (\\Answered)"),
        2 if exists => format!("COPY {seq} {}", ["INBOX", "a", "b"][numbers.below(3)]),
        3 if exists => {
            imap.run(format!("STORE {seq} +FLAGS (\\Deleted)"));
            "EXPUNGE".to_owned()
        }
        _ => {
            imap.run("UNSELECT");
            imap.append(mailbox, "\\Seen", &all[n % all.len()]);
            return format!("Dovecot appended to {mailbox}");
        }
    };
    imap.run(&command);
    imap.run("UNSELECT");
    format!("Dovecot in {mailbox}: {command}")
}

fn by_us(store: &Store, mailbox: &str, numbers: &mut Numbers, n: usize) -> String {
    let opened: Arc<dyn Mailbox> = store.storage().mailbox(&name(mailbox)).unwrap();
    let view = opened.view(&ViewAs::default()).unwrap();
    let uids = view.uids();
    let pick = numbers.below(4);
    let Some(uid) = uids.iter().nth(pick).filter(|_| numbers.below(5) > 0) else {
        let all = messages();
        let message = &all[(n * 5) % all.len()];
        store.mailbox(mailbox).unwrap().append(Append::new(message).flag(Flag::Flagged)).unwrap();
        return format!("we appended to {mailbox}");
    };
    let change = |action, flags: Flags, keyword: &str| {
        let keywords = vec![Keyword::new(keyword).unwrap()];
        Batch::new().flags(FlagChange { uids: one(uid), action, flags, keywords, unchanged_since: None })
    };
    let (what, batch) = match numbers.below(4) {
        0 => ("added flags", change(FlagAction::Add, Flag::Seen.into(), &format!("k{}", n % 9))),
        1 => ("replaced flags", change(FlagAction::Replace, Flag::Draft.into(), "other")),
        2 => {
            let to = ["INBOX", "a", "b"][numbers.below(3)];
            let target = store.storage().mailbox(&name(to)).unwrap();
            target.submit(Batch::new().copy(opened, one(uid))).unwrap().wait().unwrap();
            return format!("we copied {uid} from {mailbox} to {to}");
        }
        _ => ("expunged", Batch::new().expunge(one(uid))),
    };
    opened.submit(batch).unwrap().wait().unwrap();
    format!("we {what} {uid} in {mailbox}")
}
