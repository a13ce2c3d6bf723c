//! The differences that are known and left as they are; `docs/dovecot-compat.md` tells them to users.

use std::collections::{BTreeMap, BTreeSet};

/// A kind of difference that is left as it is.
#[derive(Debug)]
pub struct Allowed {
    /// Short, for the report.
    pub name: &'static str,
    /// Why Culver does not do as Dovecot does.
    pub why: &'static str,
    /// Whether the two stores still are the same, so that the run can go on with them.
    pub goes_on: bool,
    applies: fn(&[u8], &[String], &[String]) -> bool,
}

/// All of them.
pub const ALLOWED: &[Allowed] = &[
    Allowed {
        name: "code where Dovecot gives none",
        why: "RFC 5530 has codes that tell a program why it was refused; Dovecot leaves them out for some commands",
        goes_on: true,
        applies: |_, ours, theirs| {
            let (Some((our_last, our_rest)), Some((their_last, their_rest))) = (ours.split_last(), theirs.split_last())
            else {
                return false;
            };
            our_rest == their_rest && their_last == "NO" && CODES.contains(&our_last.as_str())
        },
    },
    Allowed {
        name: "changes of a mailbox opened by EXAMINE",
        why: "Dovecot says OK and does nothing; RFC 3501 says NO, and the client learns that nothing was done",
        goes_on: true,
        applies: |_, ours, theirs| {
            let (ours, theirs) = (last(ours), last(theirs));
            ours == "NO [READ-ONLY ]" && (theirs == "OK" || theirs.starts_with("NO"))
        },
    },
    Allowed {
        name: "code of an unknown mechanism",
        why: "Dovecot has the client show an alert to the user, who cannot do anything about it",
        goes_on: true,
        applies: |_, ours, theirs| last(ours) == "NO [CANNOT ]" && last(theirs) == "NO [ALERT ]",
    },
    Allowed {
        name: "RENAME refused for another reason",
        why: "where two things are wrong, which is looked at first is nobody's business",
        goes_on: true,
        applies: |command, ours, theirs| {
            command.starts_with(b"RENAME") && last(ours).starts_with("NO") && last(theirs).starts_with("NO")
        },
    },
    Allowed {
        name: "APPEND refused for another reason",
        why: "Culver reads all arguments before it looks for the mailbox",
        goes_on: true,
        applies: |command, ours, theirs| {
            command.starts_with(b"APPEND") && last(ours).starts_with("BAD") && last(theirs).starts_with("NO")
        },
    },
    Allowed {
        name: "keyword that cannot be",
        why: "for the grammar it is no keyword, so BAD; Dovecot parses on and says NO",
        goes_on: true,
        applies: |_, ours, theirs| last(ours).starts_with("BAD") && last(theirs) == "NO [CANNOT ]",
    },
    Allowed {
        name: "UNSUBSCRIBE of a name that cannot be",
        why: "nothing is subscribed under it before or after",
        goes_on: true,
        applies: |command, ours, theirs| {
            command.starts_with(b"UNSUBSCRIBE") && last(ours) == "OK" && last(theirs) == "NO [CANNOT ]"
        },
    },
    Allowed {
        name: "levels that lead nowhere",
        why: "Dovecot makes the levels of a new name before it finds that there is nothing to be renamed, and leaves them",
        goes_on: false,
        applies: |command, ours, theirs| {
            let refused = last(ours) == "NO [NONEXISTENT ]" && last(theirs) == "OK";
            if [&b"DELETE"[..], b"RENAME", b"SUBSCRIBE"].iter().any(|name| command.starts_with(name)) {
                return refused;
            }
            let is_list = command.starts_with(b"LIST");
            let is_empty_level = |line: &&String| line.starts_with("LIST (") && line.contains("\\Noselect)");
            is_list
                && theirs
                    .iter()
                    .filter(|line| !is_empty_level(line))
                    .eq(ours.iter().filter(|line| !is_empty_level(line)))
        },
    },
    Allowed {
        name: "root of a reference that is not ASCII",
        why: "names are told in modified UTF-7; Dovecot tells this one in UTF-8",
        goes_on: true,
        applies: |command, ours, theirs| {
            let is_root = |lines: &[String]| lines.iter().any(|line| line.starts_with("LIST (\\Noselect) "));
            let is_other = |byte: &u8| *byte == b'&' || !byte.is_ascii();
            let is_it = command.starts_with(b"LIST") && command.ends_with(b"\"\"") && command.iter().any(is_other);
            is_it && is_root(ours) && is_root(theirs)
        },
    },
    Allowed {
        name: "n:* with n beyond the last, beside others, in SEARCH",
        why: "the range holds the last message (RFC 3501 §9); Dovecot forgets it there",
        goes_on: true,
        applies: |command, ours, theirs| {
            let is_search = command.starts_with(b"SEARCH") || command.starts_with(b"UID SEARCH");
            is_search && command.windows(2).any(|two| two == b":*" || two == b"*:") && last(ours) == last(theirs)
        },
    },
    Allowed {
        name: "fields from the middle of nothing",
        why: "of the empty line that is all there is Dovecot sends CR where LF is asked for",
        goes_on: true,
        applies: |command, ours, theirs| {
            let asked = String::from_utf8_lossy(command).to_uppercase();
            asked.contains("HEADER.FIELDS") && asked.contains("<1.") && last(ours) == "OK" && last(theirs) == "OK"
        },
    },
    Allowed {
        name: "how mod-sequences of changed flags are told",
        why: "RFC 7162 §3.2.4 wants UID and MODSEQ with flags that changed unasked; Dovecot tells them apart, or leaves out one of them",
        goes_on: true,
        applies: |_, ours, theirs| {
            let tells = |lines: &[String]| lines.iter().any(|line| line.contains(MOD_SEQ));
            tells(ours) && by_message(ours) == by_message(theirs)
        },
    },
    Allowed {
        name: "conditional STORE that changes nothing",
        why: "RFC 7162 §3.1.3: every message that passes is told with its mod-sequence; Dovecot tells of those that changed",
        goes_on: true,
        applies: |command, ours, theirs| {
            let is_conditional = command.windows(14).any(|word| word == b"UNCHANGEDSINCE");
            let (ours, theirs) = (by_message(ours), by_message(theirs));
            is_conditional
                && theirs.iter().all(|(message, told)| ours.get(message).is_some_and(|more| told.is_subset(more)))
                && ours.keys().all(|head| theirs.contains_key(head) || head.bytes().all(|b| b.is_ascii_digit()))
        },
    },
    Allowed {
        name: "STORE .SILENT of which Dovecot tells nothing",
        why: "RFC 7162 §3.1.3: the new mod-sequence is told nevertheless, as Dovecot does too but for one time in some hundreds",
        goes_on: true,
        applies: |command, ours, theirs| {
            let is_silent = String::from_utf8_lossy(command).to_uppercase().contains("FLAGS.SILENT ");
            let is_modseq = |line: &String| line.contains(" FETCH MODSEQ some UID ");
            let told = ours.split_last().map_or(&[][..], |(_, told)| told);
            is_silent && theirs == ["OK"] && last(ours) == "OK" && told.iter().all(is_modseq)
        },
    },
    Allowed {
        name: "PREVIEW with an empty list",
        why: "the grammar of RFC 8970 has no list without a modifier",
        goes_on: true,
        applies: |command, ours, theirs| {
            command.ends_with(b"PREVIEW ()") && last(ours) == "BAD" && last(theirs) == "OK"
        },
    },
    Allowed {
        name: "parts that are not encoded as they say",
        why: "Dovecot ends a FETCH of BINARY at the first such message, even if the part in question is sound",
        goes_on: false,
        applies: |command, ours, theirs| {
            let sizeless = |lines: &[String]| {
                let lines: Vec<String> = lines.iter().map(|line| without_binary_sizes(line).0).collect();
                by_message(lines.split_last().map_or(&[], |(_, rest)| rest))
            };
            let (our_messages, their_messages) = (sizeless(ours), sizeless(theirs));
            let is_told = |(message, told): &(&String, &BTreeSet<String>)| {
                our_messages.get(*message).is_some_and(|more| told.is_subset(more))
            };
            asks_binary(command)
                && ["NO [PARSE ]", "NO [UNKNOWN-CTE ]"].contains(&last(theirs))
                && (last(ours) == "OK" || last(ours).starts_with("NO"))
                // One of them is broken off.
                && their_messages.iter().filter(|message| !is_told(message)).count() <= 1
        },
    },
    Allowed {
        name: "size of a message decoded",
        why: "BINARY.SIZE of a part that holds decoded parts is less than BINARY has bytes, in Dovecot",
        goes_on: true,
        applies: |command, ours, theirs| {
            let is_same = |(our_line, their_line): (&String, &String)| {
                let ((ours, our_sizes), (theirs, their_sizes)) =
                    (without_binary_sizes(our_line), without_binary_sizes(their_line));
                ours == theirs && our_sizes.iter().zip(&their_sizes).all(|(ours, theirs)| ours >= theirs)
            };
            asks_binary(command) && ours.len() == theirs.len() && ours.iter().zip(theirs).all(is_same)
        },
    },
    Allowed {
        name: "messages equal to SORT REVERSE",
        why: "RFC 5256 sorts them by their number; Dovecot may keep two values in its index for one text",
        goes_on: true,
        applies: |command, ours, theirs| {
            let sorted = |lines: &[String]| {
                let line = lines.iter().find(|line| line.starts_with("SORT "));
                let mut words: Vec<String> = line.map_or("", |line| line).split(' ').map(str::to_owned).collect();
                words.sort();
                words
            };
            let key = String::from_utf8_lossy(command).to_uppercase();
            key.contains("SORT (") && key.contains("REVERSE ") && sorted(ours) == sorted(theirs)
        },
    },
    Allowed {
        name: "n:* with n beyond the last, beside others",
        why: "Dovecot joins the ranges of a set before it looks whether there are such messages",
        goes_on: false,
        applies: |command, ours, theirs| {
            let is_joined = command.contains(&b',') && command.windows(2).any(|two| two == b":*" || two == b"*:");
            is_joined && last(ours) == "BAD" && last(theirs) == "OK"
        },
    },
    Allowed {
        name: "ENABLE of nothing that is known",
        why: "RFC 5161 wants one capability at least, and an ENABLED even if none was enabled",
        goes_on: true,
        applies: |command, ours, theirs| {
            let told_none = ours.iter().any(|line| line == "ENABLED") && last(ours) == "OK";
            command.to_ascii_uppercase().starts_with(b"ENABLE")
                && (last(ours) == "BAD" || told_none)
                && last(theirs) == "OK"
        },
    },
    Allowed {
        name: "mod-sequences under NOT and OR",
        why: "Dovecot takes MODSEQ for a condition of the whole search wherever it stands",
        goes_on: true,
        applies: |command, ours, theirs| {
            let key = String::from_utf8_lossy(command).to_uppercase();
            key.contains("MODSEQ") && (key.contains("NOT ") || key.contains("OR ")) && last(ours) == last(theirs)
        },
    },
    Allowed {
        name: "unknown charset of a text",
        why: "RFC 3501 §6.4.4 has a code for it; Dovecot says BAD where the text is that of a header field",
        goes_on: true,
        applies: |_, ours, theirs| last(ours) == "NO [BADCHARSET ]" && last(theirs) == "BAD",
    },
    Allowed {
        name: "SELECT with parameters that are wrong",
        why: "what is no command leaves the session as it is; Dovecot has closed the mailbox before by then",
        goes_on: false,
        applies: |command, ours, theirs| {
            let name = command.get(..7).unwrap_or_default().to_ascii_uppercase();
            let selects = name.starts_with(b"SELECT") || name.starts_with(b"EXAMINE");
            selects && last(ours) == "BAD" && ["BAD", "NO [CANNOT ]", "NO [NONEXISTENT ]", "NO"].contains(&last(theirs))
        },
    },
    Allowed {
        name: "QRESYNC of the mod-sequence 0",
        why: "the grammar of RFC 7162 §7 has none; a client that knows nothing has no reason to resynchronize",
        goes_on: false,
        applies: |command, ours, theirs| {
            let key = String::from_utf8_lossy(command).to_ascii_uppercase();
            let mod_seq = key.split_once("(QRESYNC (").and_then(|(_, known)| known.split([' ', ')']).nth(1));
            mod_seq == Some("0") && last(ours) == "BAD" && last(theirs).starts_with("OK")
        },
    },
    Allowed {
        name: "SAVE alone, with mod-sequences",
        why: "RFC 5182 §2.1: SAVE alone is answered by no response",
        goes_on: true,
        applies: |command, ours, theirs| {
            let key = String::from_utf8_lossy(command).to_ascii_uppercase();
            let is_response = |line: &&String| line.starts_with("ESEARCH ");
            let without = theirs.iter().filter(|line| !is_response(line));
            key.contains("RETURN (SAVE)") && key.contains("MODSEQ ") && without.eq(ours)
        },
    },
    Allowed {
        name: "base64 that is none",
        why: "RFC 3501 says BAD",
        goes_on: true,
        applies: |command, ours, theirs| {
            command.starts_with(b"AUTHENTICATE") && last(ours) == "BAD" && last(theirs).starts_with("NO")
        },
    },
    Allowed {
        name: "arguments where there are none",
        why: "Dovecot does not look whether something follows a command without arguments",
        goes_on: true,
        applies: |command, ours, theirs| {
            let names = [&b"NOOP x"[..], b"CHECK x", b"CAPABILITY x"];
            names.contains(&command) && last(ours) == "BAD" && last(theirs) == "OK"
        },
    },
    Allowed {
        name: "literal of a refused APPEND",
        why: "Dovecot reads a message that it did not want, and that came unasked, as commands",
        goes_on: false,
        applies: |_, _, theirs| {
            let is_error = |line: &String| line.contains("BAD Error in IMAP command") || line.starts_with("* BAD");
            last(theirs).starts_with("no answer: neither") || theirs.iter().any(is_error)
        },
    },
    Allowed {
        name: "Dovecot loses what it renamed",
        why: "after RENAME of a mailbox above the one that is selected, Dovecot looks for messages under the old name",
        goes_on: false,
        applies: |_, ours, theirs| last(theirs) == "NO [SERVERBUG ]" && last(ours).starts_with("OK"),
    },
    Allowed {
        name: "Dovecot gives up",
        why: "after many lines that are no commands, and upon assertions that fail in it, Dovecot closes the connection",
        goes_on: false,
        applies: |_, ours, theirs| {
            last(theirs) == "no answer: connection closed" && !last(ours).starts_with("no answer")
        },
    },
];

/// The tagged answer.
fn last(lines: &[String]) -> &str {
    lines.last().map_or("", String::as_str)
}

fn asks_binary(command: &[u8]) -> bool {
    command.to_ascii_uppercase().windows(7).any(|word| word == b"BINARY." || word == b"BINARY[")
}

/// A line without what `BINARY.SIZE` tells, and that.
fn without_binary_sizes(line: &str) -> (String, Vec<u64>) {
    let (mut rest, mut sizes, mut is_size) = (Vec::new(), Vec::new(), false);
    for word in line.split(' ') {
        match word.parse() {
            Ok(size) if is_size => sizes.push(size),
            _ => rest.push(word),
        }
        is_size = word.starts_with("BINARY.SIZE[");
    }
    (rest.join(" "), sizes)
}

/// As a normal line has it.
const MOD_SEQ: &str = " MODSEQ some";

/// FETCH responses put together by message, without UID and MODSEQ; the others as they are.
fn by_message(lines: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut messages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lines {
        let (head, rest) = match line.split_once(" FETCH") {
            Some((seq, rest)) if seq.bytes().all(|b| b.is_ascii_digit()) => (seq.to_owned(), rest.replace(MOD_SEQ, "")),
            _ => (line.clone(), String::new()),
        };
        let told = messages.entry(head).or_default();
        let (flags, rest) = without_flags(&rest);
        let rest = match rest.rsplit_once(" UID ") {
            Some((before, uid)) if uid.bytes().all(|b| b.is_ascii_digit()) => before.to_owned(),
            _ => rest,
        };
        told.extend([flags, rest].into_iter().filter(|part| !part.is_empty()));
    }
    messages
}

/// Takes ` FLAGS (...)` out of a line.
fn without_flags(line: &str) -> (String, String) {
    let Some((before, rest)) = line.split_once(" FLAGS (") else { return (String::new(), line.to_owned()) };
    let Some((flags, behind)) = rest.split_once(')') else { return (String::new(), line.to_owned()) };
    (format!("FLAGS ({flags})"), format!("{before}{behind}"))
}

/// The codes that Culver gives where Dovecot gives none.
const CODES: [&str; 3] = ["NO [NONEXISTENT ]", "NO [CANNOT ]", "NO [ALREADYEXISTS ]"];

/// The rule that lets this command's answers (Culver's, Dovecot's) differ.
pub fn rule(command: &[u8], ours: &[String], theirs: &[String]) -> Option<&'static Allowed> {
    ALLOWED.iter().find(|rule| (rule.applies)(command, ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_decoded_parts() {
        let line = "3 FETCH BINARY.SIZE[1.2] 17 BODY[1] \"5 5\" BINARY.SIZE[] 9 UID 4";
        let rest = "3 FETCH BINARY.SIZE[1.2] BODY[1] \"5 5\" BINARY.SIZE[] UID 4".to_owned();
        assert_eq!(without_binary_sizes(line), (rest, vec![17, 9]));
    }

    #[test]
    fn responses_put_together() {
        let lines = |lines: &[&str]| by_message(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        let ours = lines(&["9 FETCH BODY[1] \"x\" UID 10", "9 FETCH FLAGS (\\Seen a) MODSEQ some UID 10", "OK"]);
        let theirs = lines(&["9 FETCH BODY[1] \"x\" FLAGS (\\Seen a) UID 10", "9 FETCH MODSEQ some", "OK"]);
        assert_eq!(ours, theirs);
        assert_ne!(ours, lines(&["9 FETCH BODY[1] \"x\" FLAGS (a) UID 10", "9 FETCH MODSEQ some", "OK"]));
        assert_ne!(ours, lines(&["9 FETCH BODY[1] \"x\" FLAGS (\\Seen a) UID 10", "9 FETCH MODSEQ some", "NO"]));
    }
}
