//! Literals: announced and never sent, larger than anything, begun by many.

use std::io::Write;

use anyhow::ensure;

use super::{
    Case, Scale, Victim,
    victim::{eve_raw, line, nothing, open, push},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "literals-announced", growth_max_mib: [32, 64], settings: &[], prepare: nothing, attack: announced },
    // At full scale `user_memory_max` is met: 256 MiB, whatever the sessions do.
    Case { name: "literals-begun", growth_max_mib: [192, 384], settings: &[], prepare: nothing, attack: begun },
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

/// Many begin a literal that is allowed, send most of it, and leave it at that: messages of which the body comes, or the
/// header, which is kept while it comes, and texts to search for, which are kept whole.
fn begun(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let most = vec![b'x'; 900_000];
    let header = b"X-Field: 0123456789012345678901234567890123456789012345678901234567890\r\n".repeat(12_500);
    let (mut held, mut ended) = (Vec::new(), 0);
    for _ in 0..scale.of(30, 150) {
        for (before, command, text) in [
            (&[][..], "a APPEND INBOX {40000000+}\r\nSubject: x\r\n\r\n", &most),
            (&["SELECT INBOX"][..], "s SEARCH SUBJECT {1000000+}\r\n", &most),
            (&[][..], "a APPEND INBOX {40000000+}\r\n", &header),
        ] {
            let mut stream = eve_raw(victim.imap(), before)?;
            stream.write_all(command.as_bytes())?;
            // Beyond what the user may hold it is ended instead.
            ended += usize::from(push(&mut stream, text)? < text.len());
            held.push(stream);
        }
    }
    victim.serve_once()?;
    // One with a literal beyond what it may have before login is told at once, though it sends it all.
    let mut stranger = open(victim.imap())?;
    line(&mut stranger)?;
    stranger.write_all(b"a LOGIN {5000+}\r\n")?;
    let said = line(&mut stranger)?;
    ensure!(is_refusal(&said), "before login: {said:?}");
    Ok(format!(
        "{} sessions of one user send 900 kB of a literal: of a body, a header, and a text to search for; {ended} ended by \
         `user_memory_max` before they had",
        held.len()
    ))
}
