//! Random commands: mostly such as clients send, some that name what is not there, some that are wrong.
//!
//! A NUL in a command stands where a client waits for the server's continuation.

use fastrand::Rng;

use super::grammar_of_messages as of_messages;
use crate::{
    dovecot::PASSWORD,
    imap::{Answer, quote},
};

/// Mailboxes of the store, and some that may come and go.
const MAILBOXES: [&str; 19] = [
    "INBOX",
    "INBOX",
    "Kinds",
    "Kinds",
    "Kinds",
    "Sent",
    "Name with spaces",
    "Work/Projects/2024",
    "&ANw-berblick &- Co",
    "New n&AOQ-me",
    "Empty one",
    "Parent only/child",
    "&ZeVnLIqe-/&MNUwqTDrMMA-",
    "new/a",
    "new/a/b",
    "new",
    "Other",
    "Drafts",
    "Trash",
];
/// Names that are not there, cannot be there, or are no names.
const ODD_NAMES: [&str; 23] = [
    "nowhere",
    "Parent only",
    "Work",
    "Work/Projects",
    "Work/nothing",
    "inbox",
    "Inbox/x",
    "INBOX/sub",
    "",
    "/",
    "//",
    "a//b",
    "/a",
    "../x",
    "x/..",
    "./x",
    "..",
    "a*b",
    "a%b",
    "bad&",
    "dbox-Mails",
    "new/dbox-Mails",
    "Kinds/dbox-Mails/x",
];
const PATTERNS: [&str; 24] = [
    "*",
    "%",
    "%/%",
    "*/%",
    "%/*",
    "INBOX",
    "inbox",
    "In%",
    "Work/%",
    "Work*",
    "W*/20%",
    "new/*",
    "new/%",
    "n*",
    "",
    "*a*",
    "%a%",
    "&ZeVnLIqe-/%",
    "Parent only",
    "Parent only/%",
    "**",
    "%%",
    "nothing*",
    "*/*/*",
];
const REFERENCES: [&str; 12] = ["", "", "", "", "", "", "Work", "Work/", "new/", "Work/Pro", "nothing/", "/"];
const STATUS_ITEMS: [&str; 8] =
    ["MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "messages", "SIZE", "HIGHESTMODSEQ"];
/// LIST with options (RFC 5258, RFC 5819, RFC 6154).
const SELECTIONS: [&str; 11] = [
    "",
    "",
    "() ",
    "(SUBSCRIBED) ",
    "(subscribed) ",
    "(SPECIAL-USE) ",
    "(REMOTE) ",
    "(SUBSCRIBED RECURSIVEMATCH) ",
    "(SUBSCRIBED REMOTE RECURSIVEMATCH) ",
    "(RECURSIVEMATCH) ",
    "(NONSENSE) ",
];
const RETURNS: [&str; 13] = [
    "",
    "",
    " RETURN ()",
    " RETURN (CHILDREN)",
    " RETURN (SUBSCRIBED)",
    " RETURN (SPECIAL-USE)",
    " RETURN (CHILDREN SUBSCRIBED)",
    " return (subscribed children special-use)",
    " RETURN (STATUS (MESSAGES))",
    " RETURN (STATUS (UIDNEXT UNSEEN) CHILDREN)",
    " RETURN (NONSENSE)",
    " RETURN (STATUS ())",
    " RETURN",
];
const ENABLES: [&str; 6] =
    ["ENABLE CONDSTORE", "ENABLE QRESYNC", "ENABLE CONDSTORE QRESYNC", "enable qresync", "ENABLE NONSENSE", "ENABLE"];

/// Commands to a server that does not know the user yet.
const BEFORE_LOGIN: [&str; 12] = [
    "LOGIN",
    "LOGIN ann",
    "LOGIN ann secret more",
    "SELECT INBOX",
    "NOOP",
    "CAPABILITY",
    "FETCH 1 FLAGS",
    "AUTHENTICATE",
    "AUTHENTICATE NONE",
    "LIST \"\" *",
    "nonsense",
    "UID",
];

/// What is known of the session, as far as drawing the next command needs it.
pub(super) struct Grammar {
    pub(super) rng: Rng,
    user: String,
    pub(super) is_logged_in: bool,
    pub(super) is_selected: bool,
    /// By EXAMINE.
    pub(super) is_read_only: bool,
    pub(super) exists: u32,
    pub(super) uid_next: u32,
    appended: u64,
}

/// The command's name for counting.
pub(super) fn name_of(command: &[u8]) -> String {
    let text = String::from_utf8_lossy(command).to_uppercase();
    let mut words = text.split([' ', '\r', '\n']);
    let first = words.next().unwrap_or_default();
    let name = match first {
        "UID" => format!("UID {}", words.next().unwrap_or_default()),
        first => first.to_owned(),
    };
    let is_name = !name.is_empty() && name.len() < 16 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b' ');
    if is_name { name } else { "(odd)".to_owned() }
}

/// The keywords, in lower case, that a command names without giving them to a message, perhaps; other words of it too.
pub(super) fn mentioned_keywords(command: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(command).to_lowercase();
    let names_some =
        ["search", "store", "sort", "thread"].iter().any(|name| text.contains(name)) || text.starts_with("append");
    let words = text.split([' ', '(', ')', '\r', '\n']).map(str::to_owned);
    if names_some { words.collect() } else { Vec::new() }
}

/// How many messages a response says are gone.
fn expunged_by(line: &[u8]) -> usize {
    let line = String::from_utf8_lossy(line);
    if line.ends_with(" EXPUNGE") {
        return 1;
    }
    let Some(uids) = line.strip_prefix("VANISHED ").filter(|rest| !rest.starts_with('(')) else { return 0 };
    let count = |range: &str| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        last.parse::<usize>().unwrap_or(0).saturating_sub(first.parse().unwrap_or(0)) + 1
    };
    uids.split(',').map(count).sum()
}

impl Grammar {
    pub(super) fn new(rng: Rng, user: &str) -> Self {
        Self {
            rng,
            user: user.to_owned(),
            is_logged_in: false,
            is_selected: false,
            is_read_only: false,
            exists: 0,
            uid_next: 1,
            appended: 0,
        }
    }

    /// Takes note of what a command did.
    pub(super) fn learn(&mut self, command: &[u8], answer: &Answer) {
        let name = name_of(command);
        match (name.as_str(), answer.is_ok()) {
            ("LOGIN" | "AUTHENTICATE", true) => self.is_logged_in = true,
            ("SELECT" | "EXAMINE", is_ok) => {
                self.is_selected = is_ok;
                self.is_read_only = name == "EXAMINE";
                let uid_next = answer.untagged_code("UIDNEXT").and_then(|words| words.first()?.parse().ok());
                self.uid_next = uid_next.unwrap_or(1);
            }
            ("CLOSE" | "UNSELECT", true) => self.is_selected = false,
            _ => {}
        }
        if let Some(exists) = answer.number("EXISTS") {
            self.exists = exists;
        }
        let expunged: usize = answer.untagged.iter().map(|line| expunged_by(line)).sum();
        self.exists = self.exists.saturating_sub(if answer.number("EXISTS").is_some() { 0 } else { expunged as u32 });
    }

    pub(super) fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.rng.usize(..of.len())]
    }

    /// One time of so many.
    pub(super) fn rarely(&mut self, times: u32) -> bool {
        self.rng.u32(..times) == 0
    }

    /// The first command of a session.
    pub(super) fn before_login(&mut self) -> Vec<u8> {
        let user = self.user.clone();
        let plain = |identity: &str, password: &str| base64(format!("{identity}\0{user}\0{password}").as_bytes());
        match self.rng.u8(..12) {
            0 if self.rarely(5) => format!("LOGIN {user} wrong").into_bytes(),
            1 if self.rarely(5) => format!("LOGIN nobody {}", quote("a b")).into_bytes(),
            2 => self.one(&BEFORE_LOGIN).into(),
            3 => {
                let as_another = plain("somebody", PASSWORD);
                let answers = [
                    plain("", PASSWORD),
                    plain("", "wrong"),
                    plain(&user, PASSWORD),
                    as_another,
                    "=".into(),
                    "!!".into(),
                    base64(b"x"),
                ];
                let mechanism = self.one(&["PLAIN", "plain"]);
                format!("AUTHENTICATE {mechanism} {}", answers[self.rng.usize(..answers.len())]).into_bytes()
            }
            4 => {
                let answers =
                    [plain("", PASSWORD), plain("", "wrong"), "*".into(), String::new(), "?".into(), base64(b"\0a\0")];
                format!("AUTHENTICATE PLAIN\r\n\0{}", answers[self.rng.usize(..answers.len())]).into_bytes()
            }
            5 => format!("LOGIN {{{}}}\r\n\0{user} {{6}}\r\n\0{PASSWORD}", user.len()).into_bytes(),
            6 => format!("LOGIN {{{}+}}\r\n{user} {{6+}}\r\n{PASSWORD}", user.len()).into_bytes(),
            7 => format!("login \"{user}\" \"{PASSWORD}\"").into_bytes(),
            _ => self.login(),
        }
    }

    /// The command that logs in.
    pub(super) fn login(&self) -> Vec<u8> {
        format!("LOGIN {} {PASSWORD}", self.user).into_bytes()
    }

    /// Any command of a session that is logged in.
    pub(super) fn command(&mut self) -> Vec<u8> {
        if !self.is_selected && !self.rarely(3) {
            return self.select();
        }
        match self.rng.u8(..100) {
            0..5 => self.select(),
            5..9 => self.status(),
            9..14 => self.list(),
            14..20 => self.mailbox_command(),
            20..26 => self.append(),
            26..50 => of_messages::fetch(self).into_bytes(),
            50..60 => of_messages::store(self).into_bytes(),
            60..66 => self.copy(),
            66..70 => self.expunge(),
            70..72 => of_messages::sort(self),
            72..94 => of_messages::search(self),
            94..96 => self
                .one(&["NOOP", "NOOP", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "CAPABILITY", "NAMESPACE", "LOGOUT"])
                .into(),
            96 if self.rarely(2) => b"IDLE\r\n\0DONE".to_vec(),
            96 => self.one(&ENABLES).into(),
            _ => self.wrong().into(),
        }
    }

    fn select(&mut self) -> Vec<u8> {
        let command = self.one(&["SELECT", "SELECT", "SELECT", "EXAMINE", "select", "Examine"]);
        let mut line = format!("{command} ").into_bytes();
        let name = self.mailbox(12);
        line.extend(name);
        let parameter = match self.rng.u8(..14) {
            0 => " (CONDSTORE)".to_owned(),
            1 => " (condstore)".to_owned(),
            2 => format!(" (QRESYNC (1 {}))", self.one(&["1", "9", "0"])),
            3 => self.one(&[" ()", " (NONSENSE)", " (QRESYNC)", " (QRESYNC (1))", " (QRESYNC (1 2 *))"]).to_owned(),
            _ => String::new(),
        };
        line.extend_from_slice(parameter.as_bytes());
        line
    }

    fn status(&mut self) -> Vec<u8> {
        let mut line = b"STATUS ".to_vec();
        line.extend(self.mailbox(8));
        let items: Vec<&str> = (0..self.rng.u8(1..5)).map(|_| self.one(&STATUS_ITEMS)).collect();
        let mut items: Vec<&str> = items;
        items.dedup();
        let rare = match self.rng.u8(..20) {
            0 => " ()".to_owned(),
            1 => " MESSAGES".to_owned(),
            2 => " (NONSENSE)".to_owned(),
            3 => " (SIZE)".to_owned(),
            4 => String::new(),
            _ => format!(" ({})", items.join(" ")),
        };
        line.extend_from_slice(rare.as_bytes());
        line
    }

    fn list(&mut self) -> Vec<u8> {
        let command = self.one(&["LIST", "LIST", "LSUB"]);
        let (reference, pattern) = (self.one(&REFERENCES), self.one(&PATTERNS));
        let is_atom = !pattern.is_empty() && !pattern.contains(' ') && self.rng.bool();
        let pattern = if is_atom { pattern.to_owned() } else { quote(pattern) };
        if command == "LSUB" {
            return format!("{command} {} {pattern}", quote(reference)).into_bytes();
        }
        let patterns = match self.rarely(6) {
            true => format!("({pattern} {})", quote(self.one(&PATTERNS))),
            false => pattern,
        };
        let (selection, returns) = match self.rarely(2) {
            true => (self.one(&SELECTIONS), self.one(&RETURNS)),
            false => ("", ""),
        };
        format!("{command} {selection}{} {patterns}{returns}", quote(reference)).into_bytes()
    }

    fn mailbox_command(&mut self) -> Vec<u8> {
        let command = self.one(&["CREATE", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE"]);
        let mut line = format!("{command} ").into_bytes();
        // The store's own mailboxes are not made fewer.
        let name = match command {
            "DELETE" | "RENAME" if !self.rarely(6) => {
                quote(self.one(&["new", "new/a", "new/a/b", "Other", "INBOX/sub", "new/x"])).into_bytes()
            }
            "DELETE" | "RENAME" => {
                quote(self.one(&["nowhere", "Parent only", "Work", "", "/", "a//b", "../x", "bad&", "inbox/"]))
                    .into_bytes()
            }
            _ => self.mailbox(2),
        };
        line.extend(name);
        if command == "RENAME" {
            line.push(b' ');
            let to = match self.rarely(3) {
                true => self.mailbox(1),
                false => quote(self.one(&["new", "new/a", "new/a/b", "Other", "INBOX", "Kinds", "Kinds/x", "new/x"]))
                    .into_bytes(),
            };
            line.extend(to);
        }
        line
    }

    fn append(&mut self) -> Vec<u8> {
        let mut line = b"APPEND ".to_vec();
        line.extend(self.mailbox(12));
        let count = if self.rarely(8) { 2 } else { 1 };
        for _ in 0..count {
            self.appended += 1;
            let mut message = crate::messages::message(&mut self.rng, 1_000_000 + self.appended);
            if self.rarely(10) {
                message = self
                    .one(&["", "x", "\r\n", "Subject: short\r\n\r\nbody", "bare\nline\nfeeds\n\nin\nit\n"])
                    .as_bytes()
                    .to_vec();
            }
            let flags = match self.rng.u8(..10) {
                0 => String::new(),
                1 => format!(
                    " {}",
                    self.one(&["(\\Recent)", "(\\Nonsense)", "(bad])", "(\\*)", "(a%b)", "(\\seen \\SEEN)"])
                ),
                _ => format!(" ({})", of_messages::flags(self)),
            };
            let date = match self.rng.u8(..10) {
                0 => String::new(),
                1 => format!(
                    " {}",
                    self.one(&[
                        "\"yesterday\"",
                        "\"1-Jan-2020 00:00:00 +0000\"",
                        "\" 1-Jan-2020 00:00:00 +0000\"",
                        "\"01-Jan-2020 00:00:00\"",
                    ])
                ),
                _ => format!(
                    " \"{:02}-Mar-2022 2{}:15:09 {}0{}30\"",
                    self.rng.u8(1..29),
                    self.rng.u8(..4),
                    self.one(&["+", "-"]),
                    self.rng.u8(..10)
                ),
            };
            // Dovecot reads a message that it refused as commands, if it does not have to be asked for it.
            let (len, wait) = (message.len(), !self.rarely(4));
            let literal = if wait { format!("{{{len}}}\r\n\0") } else { format!("{{{len}+}}\r\n") };
            line.extend_from_slice(format!("{flags}{date} {literal}").as_bytes());
            line.extend(message);
        }
        line
    }

    fn copy(&mut self) -> Vec<u8> {
        let command = self.one(&["COPY", "COPY", "MOVE", "UID COPY", "UID COPY", "UID MOVE"]);
        // What MOVE does in a mailbox opened by EXAMINE is told in the table of differences; the copies would stay.
        let command = if self.is_read_only { command.replace("MOVE", "COPY") } else { command.to_owned() };
        let set = of_messages::set(self, command.starts_with("UID"));
        let mut line = format!("{command} {set} ").into_bytes();
        line.extend(self.mailbox(10));
        line
    }

    fn expunge(&mut self) -> Vec<u8> {
        match self.rarely(3) {
            true => b"EXPUNGE".to_vec(),
            false => format!("UID EXPUNGE {}", of_messages::set(self, true)).into_bytes(),
        }
    }

    /// An astring that names a mailbox; an odd name one time of so many.
    fn mailbox(&mut self, odd: u32) -> Vec<u8> {
        let name = if self.rarely(odd) { self.one(&ODD_NAMES) } else { self.one(&MAILBOXES) };
        let is_atom = !name.is_empty() && !name.contains([' ', '%', '*', '"', '\\']);
        match self.rng.u8(..8) {
            0 => format!("{{{}+}}\r\n{name}", name.len()).into_bytes(),
            1 => format!("{{{}}}\r\n\0{name}", name.len()).into_bytes(),
            2..5 if is_atom => name.into(),
            _ => quote(name).into_bytes(),
        }
    }

    /// What no grammar has.
    fn wrong(&mut self) -> &'static str {
        self.one(&[
            "",
            " ",
            "FETCH",
            "FETCH 1",
            "FETCH 1 ()",
            "FETCH 1 (FLAGS",
            "FETCH 1 FLAGS UID",
            "FETCH 0 FLAGS",
            "FETCH a FLAGS",
            "FETCH 1: FLAGS",
            "FETCH 1,,2 FLAGS",
            "FETCH 1 NONSENSE",
            "FETCH 1 BODY[",
            "FETCH 1 BODY[HEADER.FIELDS]",
            "FETCH 1 BODY[HEADER.FIELDS ()]",
            "FETCH 1 BODY[MIME]",
            "FETCH 1 BODY[1.]",
            "FETCH 1 (ALL)",
            "FETCH 1 (FLAGS  UID)",
            "FETCH 1  FLAGS",
            "FETCH 1 BODY[NONSENSE]",
            "FETCH 1 BODY[1.NONSENSE]",
            "FETCH 1 BODY[]<-1.5>",
            "FETCH 1 BINARY",
            "FETCH 1 BINARY[1",
            "FETCH 1 PREVIEW (NONSENSE)",
            "FETCH 1 PREVIEW ()",
            "FETCH 4294967296 FLAGS",
            "FETCH 4294967295 FLAGS",
            "UID FETCH 4294967295 FLAGS",
            "UID FETCH 0 FLAGS",
            "UID FETCH 4294967296 FLAGS",
            "STORE",
            "STORE 1",
            "STORE 1 NONSENSE (\\Seen)",
            "STORE 1 FLAGS (\\Recent)",
            "STORE 1 FLAGS (\\Nonsense)",
            "STORE 1 FLAGS \\Seen \\Answered",
            "STORE 1 FLAGS (bad])",
            "STORE 1 FLAGS (\\*)",
            "STORE 1 ++FLAGS (\\Seen)",
            "STORE 1 FLAGS (a \"b\")",
            "STORE 1 FLAGS \"x\"",
            "STORE 1 FLAGS ((\\Seen))",
            "STORE 1 FLAGS ()",
            "STORE 1 -FLAGS ()",
            "STORE 1 FLAGS NIL",
            "SEARCH",
            "SEARCH NONSENSE",
            "SEARCH (",
            "SEARCH ()",
            "SEARCH (ALL",
            "SEARCH NOT",
            "SEARCH OR ALL",
            "SEARCH FROM",
            "SEARCH ON yesterday",
            "SEARCH LARGER x",
            "SEARCH KEYWORD",
            "SEARCH HEADER Subject",
            "SEARCH CHARSET NONSENSE ALL",
            "SEARCH CHARSET UTF-8 ALL",
            "SEARCH CHARSET utf-8",
            "SEARCH ALL ALL)",
            "SEARCH UID",
            "SEARCH UID x",
            "SEARCH 0",
            "SEARCH 1:",
            "SEARCH LARGER -1",
            "SEARCH SMALLER 4294967296",
            "SEARCH ON 1-Foo-2021",
            "SEARCH ON \"1-Feb-2021\"",
            "SEARCH ON 01-feb-2021",
            "SEARCH ALL  SEEN",
            "SEARCH  ALL",
            "SEARCH ALL ",
            "SEARCH HEADER \"\" x",
            "SEARCH HEADER \"\" \"\"",
            "SEARCH RETURN () ALL",
            "SEARCH RETURN (NONSENSE) ALL",
            "COPY",
            "COPY 1",
            "COPY x INBOX",
            "MOVE 1",
            "UID",
            "UID NONSENSE",
            "UID EXPUNGE",
            "UID EXPUNGE x",
            "UID COPY 1",
            "STATUS",
            "STATUS INBOX",
            "LIST",
            "LIST \"\"",
            "LSUB \"\"",
            "CREATE",
            "DELETE",
            "RENAME a",
            "RENAME",
            "SUBSCRIBE",
            "UNSUBSCRIBE",
            "APPEND",
            "APPEND INBOX",
            "APPEND INBOX x",
            "APPEND INBOX ()",
            "NOOP x",
            "CHECK x",
            "LOGIN ann secret",
            "AUTHENTICATE PLAIN",
            "NONSENSE",
            "NONSENSE {3+}\r\nabc",
            "SELECT \"INBOX",
            "SELECT {0+}\r\n",
            "SELECT \"IN\\\"BOX\"",
            "STARTTLS",
            "noop",
            "fetch 1 flags",
            "uid fetch 1 flags",
            "SELECT INBOX ",
            "FETCH 1 FLAGS ",
            "FETCH 1 (FLAGS )",
            "FETCH 1 ( FLAGS)",
            "NOOP ",
            "STATUS INBOX (MESSAGES) ",
            "STATUS INBOX (MESSAGES",
            "STATUS INBOX ( MESSAGES)",
            "CAPABILITY x",
            "CREATE INBOX",
            "CREATE inbox",
            "DELETE INBOX",
            "SUBSCRIBE \"\"",
        ])
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let number = bytes.iter().chain(&[0, 0]).take(3).fold(0, |number, &byte| number << 8 | u32::from(byte));
        let digits = (0..=bytes.len()).map(move |at| char::from(DIGITS[(number >> (18 - 6 * at) & 63) as usize]));
        digits.chain(std::iter::repeat_n('=', 3 - bytes.len())).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
