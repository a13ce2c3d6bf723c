//! SEARCH beside a real Dovecot 2.3: random queries on one store, the same messages found.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod dovecot;
mod sample_mail;

use mailstore::{Store, View, ViewAs, search::search};
use mailtypes::{CalendarDate, Flag, Keyword, SearchKey, SequenceBound, SequenceSet};
use sample_mail::{Numbers, messages, name};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const QUERIES: usize = 1500;

/// Texts that are in some of the messages, in part of them, or in none.
const TEXTS: [&str; 26] = [
    "body",
    "BODY",
    "plain",
    "line",
    "line 1",
    "grüße",
    "GRÜSSE",
    "ann",
    "bob@example.org",
    "Doe",
    "Doe, Jane",
    "café",
    "CAFE",
    "softbreak",
    "soft",
    "ж",
    "привет",
    "inner",
    "inner body",
    "boundary",
    "text/plain",
    "preamble",
    "xyzzy",
    "AAEC",
    "quoted \\\"x\\\"",
    "",
];

const FIELDS: [&str; 9] =
    ["Subject", "From", "to", "CC", "Message-ID", "X-Odd", "Content-Type", "Received", "References"];

const KEYWORDS: [&str; 3] = ["$Forwarded", "k1", "nobodys"];

/// Mail for searching: what other tests have, and what is decoded, folded or broken.
fn mail() -> Vec<Vec<u8>> {
    let mut all = messages();
    let more: [&[u8]; 16] = [
        b"From: Ann Other <ann@example.org>\r\nTo: \"Doe, Jane\" <jane@x>\r\nCc: a@b\r\nSubject: =?utf-8?q?caf=C3=A9?= au\r\n\
          \x20lait\r\nDate: Tue, 2 Jan 2024 23:30:00 -0500\r\nX-Odd: one\r\n\ttwo\r\n\r\nbody cafe\r\n",
        b"Subject: qp\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe soft=\r\nbreak =\r\nend\r\n",
        b"Subject: qp without MIME\r\nContent-Type: text/plain; charset=utf-8\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 soft=\r\nbreak\r\n",
        b"Subject: encoding alone\r\nContent-Transfer-Encoding: base64\r\n\r\nZ3LDvMOfZSBib2R5\r\n",
        b"Subject: base64\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
          Content-Transfer-Encoding: base64\r\n\r\nPGI+R3LDvMOf\r\nZTwvYj4gYm9keQ==\r\n",
        b"Subject: =?koi8-r?B?8NLJ18XU?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=koi8-r\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\n=F0=D2=C9=D7=C5=D4\r\n",
        b"Subject: latin\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n",
        b"Subject: unknown charset\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=x-none\r\n\r\nplain body\r\n",
        b"Subject: pdf\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf\r\n\r\nplain body\r\n",
        b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\
          Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: bob@example.org\r\n\r\ninner body\r\n--b\r\n\
          Content-Type: text/plain; name=xyzzy\r\nContent-Transfer-Encoding: base64\r\n\r\nY2Fmw6k=\r\n--b--\r\nepilogue\r\n",
        b"Subject: parts without MIME\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
          Content-Transfer-Encoding: base64\r\n\r\nY2Fmw6k=\r\n--b--\r\n",
        b"Subject: report\r\nMIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\nAction: body\r\n",
        b"From: \"quoted \\\"x\\\"\" <q@x>\r\nFrom: second@x\r\nSubject: two\r\nSubject: subjects\r\n\r\n",
        b"Date: 3 Jan 2024 10:00:00 +0000\r\nMessage-ID: <xyzzy@x>\r\nReferences: <1@x> <2@x>\r\n\r\n",
        b"Date: nonsense\r\nTo: undisclosed-recipients:;\r\n\r\nline\r\n",
        b"Subject: inline\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe, \xd0\xb6\r\n",
    ];
    all.extend(more.iter().map(|message| message.to_vec()));
    all
}

/// A search key as IMAP has it, and as we have it.
type Query = (String, SearchKey);

struct Grammar {
    numbers: Numbers,
    messages: usize,
}

impl Grammar {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.numbers.below(of.len())]
    }

    fn day(&mut self) -> (String, CalendarDate) {
        let (month, day) = (self.numbers.below(2), self.numbers.below(6) + 1);
        let (month, year) = ([12, 1][month], [2023, 2024][month]);
        let text = format!("{day}-{}-{year}", MONTHS[month as usize - 1]);
        (text, CalendarDate::from_ymd(year, month, day as u32).unwrap())
    }

    fn set(&mut self) -> (String, SequenceSet) {
        let (a, b) = (self.numbers.below(self.messages) + 1, self.numbers.below(self.messages) + 1);
        let number = |n: usize| SequenceBound::Number(n as u32);
        match self.numbers.below(3) {
            0 => (format!("{a}"), SequenceSet(vec![(number(a), number(a))])),
            1 => (format!("{a}:{b}"), SequenceSet(vec![(number(a), number(b))])),
            _ => (format!("{a},{b}:*"), SequenceSet(vec![(number(a), number(a)), (number(b), SequenceBound::Star)])),
        }
    }

    /// As it is sent, and as it is meant.
    fn text(&mut self) -> (String, String) {
        let text = self.pick(&TEXTS).replace('\\', "");
        (literal(&text), text)
    }

    fn leaf(&mut self) -> Query {
        const FLAGS: [(&str, Flag); 5] = [
            ("SEEN", Flag::Seen),
            ("ANSWERED", Flag::Answered),
            ("FLAGGED", Flag::Flagged),
            ("DRAFT", Flag::Draft),
            ("DELETED", Flag::Deleted),
        ];
        let not = |key| SearchKey::Not(Box::new(key));
        match self.numbers.below(14) {
            0 => ("ALL".to_owned(), SearchKey::All),
            1 => {
                let (word, flag) = self.pick(&FLAGS);
                (word.to_owned(), SearchKey::Flag(flag))
            }
            2 => {
                let (word, flag) = self.pick(&FLAGS);
                (format!("UN{word}"), not(SearchKey::Flag(flag)))
            }
            3 => {
                let keyword = self.pick(&KEYWORDS);
                let key = SearchKey::Keyword(Keyword::new(keyword).unwrap());
                if self.numbers.below(2) == 0 {
                    (format!("KEYWORD {keyword}"), key)
                } else {
                    (format!("UNKEYWORD {keyword}"), not(key))
                }
            }
            4 => {
                let (text, set) = self.set();
                (text, SearchKey::Sequence(set))
            }
            5 => {
                let (text, set) = self.set();
                (format!("UID {text}"), SearchKey::Uid(set))
            }
            6 | 7 => {
                let (text, day) = self.day();
                let (word, key): (_, fn(CalendarDate) -> SearchKey) = self.pick(&[
                    ("BEFORE", SearchKey::Before as fn(CalendarDate) -> SearchKey),
                    ("ON", SearchKey::On),
                    ("SINCE", SearchKey::Since),
                    ("SENTBEFORE", SearchKey::SentBefore),
                    ("SENTON", SearchKey::SentOn),
                    ("SENTSINCE", SearchKey::SentSince),
                ]);
                (format!("{word} {text}"), key(day))
            }
            8 => {
                let size = self.pick(&[0, 40, 60, 100, 200, 300, 100_000]);
                if self.numbers.below(2) == 0 {
                    (format!("LARGER {size}"), SearchKey::Larger(size))
                } else {
                    (format!("SMALLER {size}"), SearchKey::Smaller(size))
                }
            }
            9 => {
                let field = self.pick(&FIELDS);
                let (quoted, text) = self.text();
                (format!("HEADER {field} {quoted}"), SearchKey::Header(field.to_owned(), text))
            }
            10 => {
                let word = self.pick(&["FROM", "TO", "CC", "BCC", "SUBJECT"]);
                let (quoted, text) = self.text();
                let key = match word {
                    "SUBJECT" => SearchKey::Header,
                    _ => SearchKey::Address,
                };
                (format!("{word} {quoted}"), key(word.to_owned(), text))
            }
            11 => {
                let (quoted, text) = self.text();
                (format!("TEXT {quoted}"), SearchKey::Text(text))
            }
            _ => {
                let (quoted, text) = self.text();
                (format!("BODY {quoted}"), SearchKey::Body(text))
            }
        }
    }

    fn query(&mut self, depth: usize) -> Query {
        match self.numbers.below(if depth == 0 { 1 } else { 6 }) {
            3 => {
                let (text, key) = self.query(depth - 1);
                (format!("NOT {text}"), SearchKey::Not(Box::new(key)))
            }
            4 => {
                let ((a, left), (b, right)) = (self.query(depth - 1), self.query(depth - 1));
                (format!("OR {a} {b}"), SearchKey::Or(Box::new(left), Box::new(right)))
            }
            5 => {
                let (texts, keys): (Vec<_>, Vec<_>) =
                    (0..self.numbers.below(3) + 1).map(|_| self.query(depth - 1)).unzip();
                (format!("({})", texts.join(" ")), SearchKey::And(keys))
            }
            _ => self.leaf(),
        }
    }
}

fn literal(text: &str) -> String {
    format!("{{{}+}}\r\n{text}", text.len())
}

fn found_by_us(view: &dyn View, key: SearchKey) -> Vec<u32> {
    search(key, view).unwrap().iter().map(|uid| uid.value()).collect()
}

#[test]
fn finds_what_dovecot_finds() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = dovecot::Shared::new();
    let mut imap = shared.imap();
    let mail = mail();
    for (n, message) in mail.iter().enumerate() {
        let flags = ["", "\\Seen", "\\Seen \\Flagged $Forwarded", "\\Answered k1", "\\Draft \\Deleted"][n % 5];
        let date = format!("{:2}-{}", n % 5 + 1, ["Dec-2023", "Jan-2024"][n % 2]);
        let mut command =
            format!("APPEND INBOX ({flags}) \"{date} 1{}:30:00 +0000\" {{{}+}}\r\n", n % 10, message.len());
        command = command.replace("\"\"", "");
        imap.run([command.as_bytes(), message].concat());
    }
    imap.run("SELECT INBOX");
    let store = Store::open(shared.dir.path().join("mail")).unwrap();
    let view = store.storage().mailbox(&name("INBOX")).unwrap().view(&ViewAs::default()).unwrap();
    let mut grammar = Grammar { numbers: Numbers(20_240_110), messages: mail.len() };
    let mut differing = Vec::new();
    for _ in 0..QUERIES {
        let (text, key) = grammar.query(3);
        // Of two sizes under a NOT, Dovecot keeps the wrong one.
        if text.matches("LARGER ").count() + text.matches("SMALLER ").count() > 1 {
            continue;
        }
        let lines = imap.run(format!("UID SEARCH CHARSET UTF-8 {text}"));
        let line =
            lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).find(|l| l.starts_with("* SEARCH"));
        let theirs: Vec<u32> =
            line.unwrap()["* SEARCH".len()..].split_whitespace().map(|n| n.parse().unwrap()).collect();
        let ours = found_by_us(&*view, key);
        if ours != theirs {
            differing.push(format!("{}\n  ours   {ours:?}\n  theirs {theirs:?}", text.replace("\r\n", "")));
        }
    }
    assert!(differing.is_empty(), "{} of {QUERIES} differ:\n{}", differing.len(), differing.join("\n"));
    assert_eq!(shared.complaints(), [""; 0]);
}
