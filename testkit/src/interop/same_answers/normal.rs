//! Answers with what may differ left out: human text, the order of flags and of attributes, quoted or literal,
//! mod-sequences, UIDVALIDITYs and dates that the moment decides.

use std::{collections::BTreeSet, fmt::Write as _, time::SystemTime};

use crate::{
    imap::Answer,
    observe::{moment, sha256},
    wire::{Token, tokens},
};

/// Texts longer than this are shown by their length and hash.
const SHOWN_LEN_MAX: usize = 3000;
/// Dates in the last day are the moment's.
const DAY: i64 = 86_400;

pub(super) struct Normal<'a> {
    uid_validities: &'a BTreeSet<u32>,
    now: i64,
}

impl<'a> Normal<'a> {
    pub(super) fn new(uid_validities: &'a BTreeSet<u32>) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
        Self { uid_validities, now }
    }

    /// The answer, a line a response, the tagged one last.
    pub(super) fn lines(&self, command: &str, answer: &Answer) -> Vec<String> {
        let untagged = answer.untagged.iter().map(|line| self.untagged(line));
        // Dovecot tells it as soon as something has asked for mod-sequences once, Culver always.
        let mut lines: Vec<String> = untagged.filter(|line| !line.is_empty() && !is_of_extension(line)).collect();
        if command.ends_with("MOVE") {
            // Dovecot does not tell that there are fewer recent messages now.
            lines.retain(|line| !line.ends_with(" RECENT"));
        }
        if matches!(command, "LIST" | "LSUB") {
            // The order of names is the file system's.
            lines.sort();
        }
        lines.push(format!("{}{}", answer.status, self.code(&answer.text)));
        lines
    }

    fn untagged(&self, line: &[u8]) -> String {
        let Ok(tokens) = tokens(line) else { return format!("not IMAP: {}", line.escape_ascii()) };
        match &tokens[..] {
            [Token::Atom(seq), Token::Atom(word), Token::List(items)] if word == b"FETCH" => {
                let mut attributes: Vec<String> = items.chunks(2).map(|pair| self.attribute(pair)).collect();
                attributes.sort();
                // What is asked for twice Dovecot may tell twice.
                attributes.dedup();
                format!("{} FETCH {}", seq.escape_ascii(), attributes.join(" "))
            }
            [Token::Atom(word), Token::List(attributes), separator, name] if word == b"LIST" || word == b"LSUB" => {
                let is_known = |token: &&Token| ![&b"\\Marked"[..], b"\\UnMarked"].contains(&token.bytes());
                let attributes: Vec<Token> = attributes.iter().filter(is_known).cloned().collect();
                format!("{} ({}) {} {}", word.escape_ascii(), words(&attributes), shown(separator), text(name))
            }
            [Token::Atom(word), name, Token::List(items)] if word == b"STATUS" => {
                let items: Vec<String> = items.chunks(2).map(|pair| self.status_item(pair)).collect();
                let items: BTreeSet<String> = items.into_iter().collect();
                // Dovecot gives `inbox` back as it was written.
                let name = text(name);
                let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name };
                format!("STATUS {name} {items:?}")
            }
            [Token::Atom(word), Token::List(flags)] if word == b"FLAGS" => format!("FLAGS ({})", words(flags)),
            [Token::Atom(word), ..] if [&b"OK"[..], b"NO", b"BAD", b"BYE"].contains(&&word[..]) => {
                let rest = String::from_utf8_lossy(line.get(word.len() + 1..).unwrap_or_default()).into_owned();
                format!("* {}{}", word.escape_ascii(), self.code(&rest))
            }
            [Token::Atom(word), ..] if word == b"CAPABILITY" => String::new(),
            [Token::Atom(word), found @ .., Token::List(_)] if word == b"SEARCH" => {
                let found: Vec<String> = found.iter().map(shown).collect();
                format!("SEARCH {} (MODSEQ some)", found.join(" "))
            }
            [Token::Atom(word), results @ ..] if word == b"ESEARCH" => {
                // The tag, UID perhaps, then pairs.
                let is_lone = |token: &Token| matches!(token, Token::List(_)) || token.bytes() == b"UID";
                let (lone, pairs): (Vec<&Token>, Vec<&Token>) = results.iter().partition(|token| is_lone(token));
                let pairs: BTreeSet<String> = pairs.chunks(2).map(result).collect();
                format!("ESEARCH {lone:?} {pairs:?}")
            }
            tokens => tokens.iter().map(shown).collect::<Vec<_>>().join(" "),
        }
    }

    /// A response code, ` [LIKE THIS]`, human text left out.
    fn code(&self, text: &str) -> String {
        let Some(Token::Atom(code)) = tokens(text.as_bytes()).ok().and_then(|tokens| tokens.into_iter().next()) else {
            return String::new();
        };
        let code = String::from_utf8_lossy(&code).into_owned();
        let Some(code) = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')) else { return String::new() };
        let (name, arguments) = code.split_once(' ').unwrap_or((code, ""));
        let arguments = match name {
            // Told with a login, or as a response of its own.
            "CAPABILITY" => return String::new(),
            // What Dovecot thinks of a STATUS of the selected mailbox.
            "CLIENTBUG" => return String::new(),
            // Dovecot does not know it.
            "MAILBOXID" => return String::new(),
            // Dovecot tells it whenever it told of something expunged, Culver after EXPUNGE and MOVE.
            "HIGHESTMODSEQ" => return String::new(),
            "BADCHARSET" => String::new(),
            "UIDVALIDITY" => self.uid_validity(arguments),
            "APPENDUID" | "COPYUID" => {
                let (uid_validity, uids) = arguments.split_once(' ').unwrap_or((arguments, ""));
                format!("{} {uids}", self.uid_validity(uid_validity))
            }
            "PERMANENTFLAGS" => {
                // The keywords are those of the FLAGS response.
                let mut flags: Vec<&str> = arguments.trim_matches(['(', ')']).split(' ').collect();
                flags.retain(|flag| flag.starts_with('\\'));
                flags.sort_unstable();
                flags.join(" ")
            }
            _ => arguments.to_owned(),
        };
        format!(" [{name} {arguments}]")
    }

    fn attribute(&self, pair: &[Token]) -> String {
        let [name, value] = pair else { return "an attribute without a value".to_owned() };
        // Dovecot tells the names of fields in capitals.
        let name = name.text().to_uppercase().replace('"', "");
        let value = match name.as_str() {
            "FLAGS" => format!("({})", words(value.items())),
            "INTERNALDATE" | "SAVEDATE" => match moment(&value.text()) {
                Ok(moment) if (moment - self.now).abs() < DAY => "now".to_owned(),
                _ => value.text(),
            },
            "MODSEQ" => "some".to_owned(),
            _ => shown(value),
        };
        format!("{name} {value}")
    }

    fn status_item(&self, pair: &[Token]) -> String {
        let [name, value] = pair else { return "an item without a value".to_owned() };
        let value = match name.text().as_str() {
            "UIDVALIDITY" => self.uid_validity(&value.text()),
            "HIGHESTMODSEQ" => "some".to_owned(),
            _ => value.text(),
        };
        format!("{} {value}", name.text())
    }

    fn uid_validity(&self, text: &str) -> String {
        let is_old = text.parse().is_ok_and(|number: u32| self.uid_validities.contains(&number));
        if is_old { text.to_owned() } else { "new".to_owned() }
    }
}

/// Told by Culver always, and by Dovecot if something asks for mod-sequences, or not at all.
fn is_of_extension(line: &str) -> bool {
    line.starts_with("* OK [HIGHESTMODSEQ") || line == "* OK [MAILBOXID]" || line == "* OK"
}

/// A name and what ESEARCH has for it.
fn result(pair: &[&Token]) -> String {
    match pair {
        [name, _] if name.bytes() == b"MODSEQ" => "MODSEQ some ".to_owned(),
        pair => pair.iter().map(|token| shown(token) + " ").collect(),
    }
}

fn words(tokens: &[Token]) -> String {
    let mut words: Vec<String> = tokens.iter().map(Token::text).collect();
    words.sort();
    words.join(" ")
}

/// Atom, quoted or literal, whichever.
fn text(token: &Token) -> String {
    token.bytes().escape_ascii().to_string()
}

fn shown(token: &Token) -> String {
    match token {
        Token::Atom(bytes) => bytes.escape_ascii().to_string(),
        Token::Text(bytes) if bytes.len() <= SHOWN_LEN_MAX => format!("\"{}\"", bytes.escape_ascii()),
        Token::Text(bytes) => format!("<{} bytes, sha256 {}>", bytes.len(), sha256(bytes)),
        Token::List(items) => {
            let mut list = String::from("(");
            for (number, item) in items.iter().enumerate() {
                let _ = write!(list, "{}{}", if number > 0 { " " } else { "" }, shown(item));
            }
            list + ")"
        }
    }
}
