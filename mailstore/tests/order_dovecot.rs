//! SORT and THREAD beside a real Dovecot 2.3: random mail, the same orders and threads.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod dovecot;

use std::sync::Arc;

use dovecot::{Imap, Shared};
use mailstore::{
    Batch, MailStorage, Mailbox, SaveMeta, ViewAs,
    memory::MemoryStorage,
    sort::sort,
    thread::{ThreadToken, thread},
};
use mailtypes::{
    Flags, InternalDate, MailboxName, SearchKey, SequenceBound, SequenceSet, SortCriterion, SortKey, ThreadAlgorithm,
};

/// Always the same numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A message and its internal date.
struct Mail {
    raw: Vec<u8>,
    date: i64,
}

const SUBJECTS: [&str; 14] = [
    "alpha",
    "beta",
    "Alpha",
    "gamma delta",
    "=?utf-8?q?gr=C3=BC=C3=9Fe?=",
    "Grüße",
    "",
    "[list]",
    "[a] [b]",
    "zeta",
    "\u{1ea7}nh",
    "\u{c2}nh",
    "re",
    "1",
];
const PREFIXES: [&str; 14] = [
    "",
    "",
    "",
    "",
    "Re: ",
    "RE: ",
    "Fwd: ",
    "Re[2]: ",
    "[list] ",
    "[list] Re: ",
    "Re: [list] ",
    "fw: re: ",
    "[fwd: ",
    "re:",
];
const ADDRESSES: [&str; 16] = [
    "ann@example.org",
    "Bob <bob@example.org>",
    "\"Carol, C.\" <c@x>",
    "=?utf-8?q?=C3=84nne?= <ae@x>",
    "Ann@x",
    "grp: a@b, c@d;",
    "undisclosed-recipients:;",
    "<>",
    "",
    "plain",
    "(comment) z@x",
    "\"quoted local\"@x",
    "zoë@x",
    "x <y@z>, a@b",
    "@r:a@b",
    "=?utf-8?q?_sp?= <sp@x>",
];
const DATES: [&str; 6] = ["+0000", "-0500", "+0130", "GMT", "EST", "junk"];

fn header(mail: &mut String, name: &str, value: &str) {
    mail.push_str(&format!("{name}: {value}\r\n"));
}

fn message_id(random: &mut Random, ids: usize) -> String {
    let n = random.below(ids);
    match random.below(24) {
        0 => format!("<\"{n}\"@x>"),
        1 => format!("<{n}@\r\n x>"),
        2 => format!("< {n}@x >"),
        3 => format!("<{n}>"),
        4 => format!("{n}@x"),
        5 => format!("<<{n}@x>>"),
        6 => format!("<{n}@[1.2.3.4]>"),
        7 => format!("<{n} (c)@x>"),
        _ => format!("<{n}@x>"),
    }
}

/// `spread`: no two have the same date. Threads that are equally new stand in no order that could be told from without.
fn random_mail(random: &mut Random, own: usize, ids: usize, spread: bool) -> Mail {
    let mut raw = String::new();
    let subject = format!("{}{}", random.pick(&PREFIXES), random.pick(&SUBJECTS));
    let subject = match (subject.starts_with("[fwd: "), random.below(8)) {
        (true, _) => format!("{subject}]"),
        (_, 0) => format!("{subject} (fwd)"),
        _ => subject,
    };
    if !random.one_in(9) {
        header(&mut raw, "Subject", &subject);
    }
    for name in ["From", "To", "Cc"] {
        if !random.one_in(5) {
            header(&mut raw, name, random.pick(&ADDRESSES));
        }
    }
    let (minute, second) = if spread { (own, 0) } else { (0, random.below(3)) };
    let date = 1_700_000_000 + random.below(20) as i64 * 10_000 + minute as i64;
    if !random.one_in(6) {
        let day = random.below(9) + 1;
        let zone = random.pick(&DATES);
        header(&mut raw, "Date", &format!("{day} Jan 2024 10:{minute:02}:0{second} {zone}"));
    }
    match random.below(12) {
        0 => {}
        1 => header(&mut raw, "Message-ID", &message_id(random, ids)),
        _ => header(&mut raw, "Message-ID", &format!("<{own}@x>")),
    }
    if random.one_in(2) {
        let count = random.below(5);
        let references: Vec<String> = (0..count).map(|_| message_id(random, ids)).collect();
        header(&mut raw, "References", &references.join(random.pick(&[" ", "\r\n ", " junk ", ""])));
    }
    if random.one_in(2) {
        let in_reply_to = message_id(random, ids);
        header(&mut raw, "In-Reply-To", &format!("{}{in_reply_to}", random.pick(&["", "Your mail ", "<x> "])));
    }
    raw.push_str("\r\n");
    raw.push_str(&"body line\r\n".repeat(random.below(4)));
    Mail { raw: raw.into_bytes(), date }
}

fn in_memory(mails: &[Mail]) -> Arc<dyn Mailbox> {
    let inbox = MemoryStorage::default().mailbox(&MailboxName::inbox()).unwrap();
    let batch = mails.iter().fold(Batch::new(), |batch, mail| {
        let meta = SaveMeta { internal_date: Some(InternalDate::utc(mail.date)), ..SaveMeta::default() };
        let mut save = inbox.begin_save(meta, None).unwrap();
        save.write(&mail.raw).unwrap();
        batch.save(save.finish().unwrap(), Flags::NONE, vec![])
    });
    inbox.submit(batch).unwrap().wait().unwrap();
    inbox
}

fn in_dovecot(imap: &mut Imap, name: &str, mails: &[Mail]) {
    imap.run(format!("CREATE {name}"));
    let mut command = format!("APPEND {name}").into_bytes();
    for mail in mails {
        let (year, month, day) = mailtypes::CalendarDate::of_unix(mail.date).ymd();
        let month =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month as usize - 1];
        let second = mail.date.rem_euclid(86_400);
        let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        command.extend_from_slice(
            format!(" \"{day:2}-{month}-{year} {time} +0000\" {{{}+}}\r\n", mail.raw.len()).as_bytes(),
        );
        command.extend_from_slice(&mail.raw);
    }
    imap.run(command);
    imap.run(format!("SELECT {name}"));
}

fn answer(imap: &mut Imap, command: &str) -> String {
    let lines = imap.run(command);
    let word = command.split(' ').next().unwrap();
    let start = format!("* {word}");
    let line =
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).find(|line| line.starts_with(&start));
    line.unwrap_or_else(|| panic!("no answer to {command}"))[start.len()..].trim().to_owned()
}

fn told(tokens: impl Iterator<Item = ThreadToken>) -> String {
    let mut text = String::new();
    for token in tokens {
        let after_number = text.ends_with(|c: char| c.is_ascii_digit());
        match token {
            ThreadToken::Open => text.push_str(if after_number { " (" } else { "(" }),
            ThreadToken::Close => text.push(')'),
            ThreadToken::Message { seq, .. } if after_number => text.push_str(&format!(" {}", seq.value())),
            ThreadToken::Message { seq, .. } => text.push_str(&seq.value().to_string()),
        }
    }
    text
}

fn shown(mails: &[Mail]) -> String {
    let heads = mails
        .iter()
        .zip(1..)
        .map(|(mail, n)| format!("--- {n} ({})\n{}", mail.date, String::from_utf8_lossy(&mail.raw)));
    heads.collect()
}

#[test]
fn sorts_as_dovecot_sorts() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let mut imap = shared.imap();
    let mut random = Random(0x5eed_50f7);
    for round in 0..12 {
        let mails: Vec<Mail> = (0..40).map(|n| random_mail(&mut random, n, 40, false)).collect();
        in_dovecot(&mut imap, &format!("s{round}"), &mails);
        let inbox = in_memory(&mails);
        let view = inbox.view(&ViewAs::default()).unwrap();
        for case in 0..30 {
            let mut keys = Vec::new();
            for _ in 0..=if case < 9 { 0 } else { random.below(4) } {
                let key = if case < 9 { SortKey::ALL[case] } else { SortKey::ALL[random.below(9)] };
                // Dovecot carries the REVERSE of a key that it passes over, as it does one given twice, to the next.
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            let criteria: Vec<SortCriterion> =
                keys.into_iter().map(|key| SortCriterion { key, reverse: case >= 9 && random.one_in(3) }).collect();
            let names: Vec<String> = criteria
                .iter()
                .map(|c| format!("{}{}", if c.reverse { "REVERSE " } else { "" }, c.key.name()))
                .collect();
            let sorted = sort(SearchKey::All, &criteria, &*view).unwrap();
            let ours: Vec<String> = sorted.iter().map(|message| message.seq.value().to_string()).collect();
            let command = format!("SORT ({}) UTF-8 ALL", names.join(" "));
            assert_eq!(ours.join(" "), answer(&mut imap, &command), "round {round}: {command}\n{}", shown(&mails));
        }
    }
    assert_eq!(shared.complaints(), [""; 0]);
}

#[test]
fn threads_as_dovecot_threads() {
    if !dovecot::is_installed() {
        return;
    }
    let shared = Shared::new();
    let mut imap = shared.imap();
    let mut random = Random(0x7eed_7ead);
    for round in 0..60 {
        let count = 3 + random.below(30);
        let ids = count + random.below(8);
        let mails: Vec<Mail> = (0..count).map(|n| random_mail(&mut random, n, ids, true)).collect();
        in_dovecot(&mut imap, &format!("t{round}"), &mails);
        let inbox = in_memory(&mails);
        let view = inbox.view(&ViewAs::default()).unwrap();
        for algorithm in ThreadAlgorithm::ALL {
            for first in [1, 1 + random.below(count)] {
                let from = SequenceSet(vec![(SequenceBound::Number(first as u32), SequenceBound::Star)]);
                let threads = thread(SearchKey::Sequence(from), algorithm, &*view).unwrap();
                let command = format!("THREAD {} UTF-8 {first}:*", algorithm.name());
                assert_eq!(told(threads), answer(&mut imap, &command), "round {round}: {command}\n{}", shown(&mails));
            }
        }
    }
    assert_eq!(shared.complaints(), [""; 0]);
}
