//! FETCH, STORE and SEARCH.

use super::grammar::Grammar;

const ITEMS: [&str; 17] = [
    "FLAGS",
    "UID",
    "INTERNALDATE",
    "RFC822.SIZE",
    "ENVELOPE",
    "BODY",
    "BODYSTRUCTURE",
    "RFC822",
    "RFC822.HEADER",
    "RFC822.TEXT",
    "BODY[]",
    "BODY.PEEK[]",
    "body.peek[header]",
    "MODSEQ",
    "SAVEDATE",
    "PREVIEW",
    "preview",
];
const PARTS: [&str; 16] =
    ["1", "2", "3", "1.1", "2.1", "2.2", "1.2", "2.1.1", "1.1.1", "2.2.1", "4", "5", "9", "1.1.1.1", "3.1", "2.3"];
const TEXTS: [&str; 4] = ["HEADER", "TEXT", "MIME", "header"];
const FIELDS: [&str; 20] = [
    "Subject",
    "TO",
    "from",
    "Date",
    "Message-ID",
    "received",
    "Cc",
    "X-Odd",
    "x-empty",
    "X-Spaces",
    "Content-Type",
    "MIME-Version",
    "Reply-To",
    "References",
    "nonsense",
    "Bcc",
    "X-8bit",
    "In-Reply-To",
    "sender",
    "\"Subject\"",
];
const FLAGS: [&str; 15] = [
    "\\Seen",
    "\\Seen",
    "\\Answered",
    "\\Flagged",
    "\\Deleted",
    "\\Deleted",
    "\\Draft",
    "\\seen",
    "$Forwarded",
    "Junk",
    "NonJunk",
    "custom1",
    "project-x",
    "brandnew",
    "later",
];
const DATES: [&str; 10] = [
    "1-Feb-2021",
    "01-Feb-2021",
    "28-Feb-2021",
    "3-Mar-2022",
    "1-Jan-2020",
    "31-Dec-2020",
    "1-Mar-2010",
    "15-Mar-2022",
    "1-Jan-2000",
    "22-Apr-2019",
];
const WORDS: [&str; 34] = [
    "body",
    "BODY",
    "line",
    "\"line 1\"",
    "inner",
    "outer",
    "example",
    "a",
    "\"\"",
    "koeln",
    "forwarded",
    "\"aus K\"",
    "bold",
    "\"<b>\"",
    "visible",
    "hidden",
    "color",
    "third",
    "message",
    "\"From the beginning\"",
    "transparent",
    "\"long line\"",
    "undisclosed",
    "test.example",
    "user",
    "quoted",
    "\"gr=C3\"",
    "R3LDvMOf",
    "JVBER",
    "epilogue",
    "preamble",
    "\"folded and\"",
    "\"is folded\"",
    "xxxxxxxxxxxx",
];
/// Sent as literals.
const WORDS_IN_UTF_8: [&str; 6] = ["Grüße", "GRÜSSE", "köln", "Jürgen", "Straße", "Über"];
const FLAG_KEYS: [&str; 14] = [
    "ALL",
    "ANSWERED",
    "DELETED",
    "DRAFT",
    "FLAGGED",
    "SEEN",
    "UNANSWERED",
    "UNDELETED",
    "UNDRAFT",
    "UNFLAGGED",
    "UNSEEN",
    "RECENT",
    "OLD",
    "NEW",
];

/// A sequence set, or one of UIDs.
pub(super) fn set(g: &mut Grammar, uid: bool) -> String {
    let largest = if uid { g.uid_next + 3 } else { g.exists.max(1) };
    let number = |g: &mut Grammar| match g.rng.u8(..60) {
        0..3 => "*".to_owned(),
        3 => (largest + 1 + g.rng.u32(..5)).to_string(),
        _ => g.rng.u32(1..=largest).to_string(),
    };
    let mut ranges = Vec::new();
    for _ in 0..if g.rarely(3) { g.rng.u8(1..5) } else { 1 } {
        let first = number(g);
        ranges.push(if g.rarely(3) { format!("{first}:{}", number(g)) } else { first });
    }
    match g.rng.u8(..36) {
        0..3 => "1:*".to_owned(),
        3 | 4 => "$".to_owned(),
        5 => g.one(&["$,1", "1,$", "$:1"]).to_owned(),
        _ => ranges.join(","),
    }
}

pub(super) fn flags(g: &mut Grammar) -> String {
    let mut flags: Vec<&str> = (0..g.rng.u8(..4)).map(|_| g.one(&FLAGS)).collect();
    // A keyword named twice makes Dovecot forget another one.
    flags.sort_unstable_by_key(|flag| flag.to_lowercase());
    flags.dedup_by_key(|flag| flag.to_lowercase());
    flags.join(" ")
}

pub(super) fn fetch(g: &mut Grammar) -> String {
    let command = g.one(&["FETCH", "UID FETCH"]);
    let set = set(g, command.starts_with("UID"));
    let what = match g.rng.u8(..10) {
        0 => g.one(&["ALL", "FULL", "FAST", "all"]).to_owned(),
        1..6 => item(g),
        _ => {
            let items: Vec<String> = (0..g.rng.u8(1..5)).map(|_| item(g)).collect();
            format!("({})", items.join(" "))
        }
    };
    // Dovecot does not find the end of a lone section that a modifier follows.
    let modifier = match g.rng.u8(..30) {
        _ if what.ends_with(['>', ']']) => "",
        // Every message has at least 1, and none so many.
        0 => " (CHANGEDSINCE 9000000000000)",
        1 => " (changedsince 9000000000000)",
        2 => g.one(&[" (CHANGEDSINCE)", " (NONSENSE 1)", " (CHANGEDSINCE x)", " ()"]),
        _ => "",
    };
    format!("{command} {set} {what}{modifier}")
}

fn item(g: &mut Grammar) -> String {
    if g.rng.u8(..5) < 2 {
        return g.one(&ITEMS).to_owned();
    }
    let path = match g.rng.u8(..3) {
        0 => String::new(),
        _ => g.one(&PARTS).to_owned(),
    };
    let text = match g.rng.u8(..6) {
        0 => String::new(),
        1 | 2 => g.one(&TEXTS).to_owned(),
        _ => {
            let names: Vec<&str> = (0..g.rng.u8(1..5)).map(|_| g.one(&FIELDS)).collect();
            format!(
                "{} ({})",
                g.one(&["HEADER.FIELDS", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "header.fields"]),
                names.join(" ")
            )
        }
    };
    let is_binary = g.rarely(6);
    let text = if is_binary { String::new() } else { text };
    let dot = if path.is_empty() || text.is_empty() { "" } else { "." };
    let text = if path.is_empty() && text == "MIME" { "TEXT".to_owned() } else { text };
    let partial = match g.rng.u8(..5) {
        0 => format!(
            "<{}.{}>",
            g.one(&["0", "0", "1", "10", "57", "200", "1000", "100000", "4294967296"]),
            g.one(&["1", "5", "40", "300", "65536", "4294967295"])
        ),
        _ => String::new(),
    };
    let name = match is_binary {
        true if partial.is_empty() => g.one(&["BINARY", "BINARY.PEEK", "BINARY.SIZE", "binary.size"]),
        true => g.one(&["BINARY", "BINARY.PEEK"]),
        false => g.one(&["BODY", "BODY.PEEK", "BODY.PEEK"]),
    };
    format!("{name}[{path}{dot}{text}]{partial}")
}

pub(super) fn store(g: &mut Grammar) -> String {
    let command = g.one(&["STORE", "UID STORE"]);
    let set = set(g, command.starts_with("UID"));
    let action =
        g.one(&["FLAGS", "+FLAGS", "+FLAGS", "-FLAGS", "+FLAGS.SILENT", "-FLAGS.SILENT", "FLAGS.SILENT", "+flags"]);
    // Dovecot makes keywords known even where it stores nothing.
    let flags = if g.is_read_only { "\\Seen \\Deleted".to_owned() } else { flags(g) };
    let bare = !flags.is_empty() && g.rarely(4);
    let set = match g.rng.u8(..24) {
        0 => format!("{set} (UNCHANGEDSINCE 9000000000000)"),
        1 => format!("{set} (UNCHANGEDSINCE 0)"),
        2 if g.rarely(3) => format!("{set} (UNCHANGEDSINCE x)"),
        _ => set,
    };
    if bare { format!("{command} {set} {action} {flags}") } else { format!("{command} {set} {action} ({flags})") }
}

pub(super) fn search(g: &mut Grammar) -> Vec<u8> {
    let command = g.one(&["SEARCH", "UID SEARCH"]);
    let options = match g.rng.u8(..12) {
        0 => format!(" RETURN ({})", g.one(&["", "MIN", "MAX", "COUNT", "ALL", "MIN MAX COUNT", "ALL COUNT", "min"])),
        1 => " CHARSET UTF-8".to_owned(),
        2 => {
            let returns =
                ["SAVE", "SAVE", "SAVE MIN", "SAVE MAX", "MIN SAVE MAX", "ALL SAVE", "COUNT SAVE MIN", "save"];
            format!(" RETURN ({})", g.one(&returns))
        }
        3 if g.rarely(4) => format!(" CHARSET {}", g.one(&["ISO-8859-1", "koi8-r", "KLINGON", "\"utf-8\"", "ASCII"])),
        _ => String::new(),
    };
    let mut line = format!("{command}{options}");
    for _ in 0..if g.rarely(3) { g.rng.u8(2..4) } else { 1 } {
        line.push(' ');
        let key = key(g, 0);
        line += &key;
    }
    line.into_bytes()
}

/// SORT and THREAD (RFC 5256, RFC 5267, RFC 5957).
pub(super) fn sort(g: &mut Grammar) -> Vec<u8> {
    let uid = g.one(&["", "UID "]);
    let how = if g.rarely(3) {
        format!("THREAD {}", g.one(&["REFERENCES", "REFS", "ORDEREDSUBJECT", "references", "NONSENSE"]))
    } else {
        let returns = match g.rng.u8(..6) {
            0 => format!("RETURN ({}) ", g.one(&["", "MIN", "MAX COUNT", "ALL", "COUNT"])),
            _ => String::new(),
        };
        let keys = ["ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", "subject"];
        let mut criteria = Vec::new();
        for _ in 0..g.rng.u8(1..4) {
            criteria.push(format!("{}{}", g.one(&["", "", "REVERSE "]), g.one(&keys)));
        }
        let criteria = if g.rarely(20) { g.one(&["", "REVERSE", "NONSENSE"]).to_owned() } else { criteria.join(" ") };
        format!("SORT {returns}({criteria})")
    };
    let charset = g.one(&["UTF-8", "UTF-8", "US-ASCII", "utf-8"]);
    let key = if g.rarely(2) { "ALL".to_owned() } else { key(g, 2) };
    format!("{uid}{how} {charset} {key}").into_bytes()
}

fn key(g: &mut Grammar, depth: u8) -> String {
    match g.rng.u8(..24) {
        0..3 => g.one(&FLAG_KEYS).to_owned(),
        3..5 if depth < 4 => format!("NOT {}", key(g, depth + 1)),
        5..7 if depth < 4 => {
            let one = key(g, depth + 1);
            format!("OR {one} {}", key(g, depth + 1))
        }
        7 if depth < 4 => {
            let one = key(g, depth + 1);
            format!("({one} {})", key(g, depth + 1))
        }
        8 if g.rarely(4) => format!("MODSEQ {}", g.one(&["1", "9000000000000", "\"/flags/\\\\draft\" all 1"])),
        8 => format!("UID {}", set(g, true)),
        9 => set(g, false),
        10 => format!(
            "{} {}",
            g.one(&["KEYWORD", "UNKEYWORD"]),
            g.one(&["$Forwarded", "Junk", "nonsense", "custom1", "brandnew"])
        ),
        11 if g.rarely(2) => format!(
            "{} {}",
            g.one(&["OLDER", "YOUNGER", "older"]),
            g.one(&["86400", "40000000", "4294967295", "100000000", "0", "x"])
        ),
        12 if g.rarely(3) => format!("{} {}", g.one(&["SAVEDBEFORE", "SAVEDON", "SAVEDSINCE"]), g.one(&DATES)),
        12 if g.rarely(9) => "SAVEDATESUPPORTED".to_owned(),
        11 | 12 => {
            format!("{} {}", g.one(&["BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"]), g.one(&DATES))
        }
        13 => {
            format!("{} {}", g.one(&["LARGER", "SMALLER"]), g.one(&["0", "1", "400", "1000", "100000", "4294967295"]))
        }
        14..18 => format!("{} {}", g.one(&["BCC", "CC", "FROM", "SUBJECT", "TO", "subject"]), word(g)),
        18..20 => {
            let field = g.one(&FIELDS);
            format!("HEADER {field} {}", word(g))
        }
        20..22 => format!("BODY {}", word(g)),
        _ => format!("TEXT {}", word(g)),
    }
}

fn word(g: &mut Grammar) -> String {
    if g.rarely(6) {
        let word = g.one(&WORDS_IN_UTF_8);
        return format!("{{{}+}}\r\n{word}", word.len());
    }
    g.one(&WORDS).to_owned()
}
