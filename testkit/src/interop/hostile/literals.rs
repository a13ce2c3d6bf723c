//! Literals: announced and never sent, larger than anything, begun by many.

use std::io::Write;

use anyhow::ensure;

use super::{
    Case, Scale, Victim,
    victim::{eve_raw, line, nothing, open},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "literals-announced", growth_max_mib: [32, 64], settings: &[], prepare: nothing, attack: announced },
    // A literal of 1 MiB each of sixty or two hundred sessions is what `literal_len_max` and `user_memory_max` allow.
    Case { name: "literals-begun", growth_max_mib: [192, 512], settings: &[], prepare: nothing, attack: begun },
];

const COMMANDS: [&str; 6] = [
    "APPEND INBOX",
    "CREATE",
    "SEARCH SUBJECT",
    "LIST \"\"",
    "STATUS",
    "APPEND INBOX (\\Seen) \"01-Jan-2024 00:00:00 +0000\"",
];
const LITERALS: [&str; 5] =
    ["{2000000000}", "{2000000000+}", "~{2000000000}", "{99999999999999999999}", "{4294967296+}"];

/// Two thousand million bytes are announced, of every kind of literal, in every kind of command.
fn announced(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let mut refused = 0;
    for _ in 0..scale.of(1, 20) {
        for literal in LITERALS {
            let mut stranger = open(victim.imap())?;
            line(&mut stranger)?;
            stranger.write_all(format!("a LOGIN {literal}\r\n").as_bytes())?;
            let answer = line(&mut stranger)?;
            ensure!(is_refusal(&answer), "LOGIN {literal}: {answer:?}");
            refused += 1;
            for command in COMMANDS {
                let mut stream = eve_raw(victim.imap(), &["SELECT INBOX"])?;
                stream.write_all(format!("a {command} {literal}\r\n").as_bytes())?;
                let answer = line(&mut stream)?;
                ensure!(is_refusal(&answer), "{command} {literal}: {answer:?}");
                refused += 1;
            }
        }
    }
    victim.serve_once()?;
    Ok(format!("{refused} literals of 2,000,000,000 bytes and more announced in 7 commands, each refused at once"))
}

fn is_refusal(answer: &str) -> bool {
    ["a NO", "a BAD", "* BYE"].iter().any(|start| answer.starts_with(start))
}

/// Many begin a literal that is allowed, send most of it, and leave it at that.
fn begun(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let most = vec![b'x'; 900_000];
    let mut held = Vec::new();
    for _ in 0..scale.of(30, 150) {
        let mut append = eve_raw(victim.imap(), &[])?;
        append.write_all(b"a APPEND INBOX {40000000+}\r\nSubject: x\r\n\r\n")?;
        append.write_all(&most)?;
        let mut search = eve_raw(victim.imap(), &["SELECT INBOX"])?;
        search.write_all(b"s SEARCH SUBJECT {1000000+}\r\n")?;
        search.write_all(&most)?;
        held.extend([append, search]);
    }
    victim.serve_once()?;
    // One with a literal beyond what it may have before login is told at once, though it sends it all.
    let mut stranger = open(victim.imap())?;
    line(&mut stranger)?;
    stranger.write_all(b"a LOGIN {5000+}\r\n")?;
    let said = line(&mut stranger)?;
    ensure!(is_refusal(&said), "before login: {said:?}");
    Ok(format!("{} sessions of one user with 900 kB of a literal sent, half in APPEND, half in SEARCH", held.len()))
}
