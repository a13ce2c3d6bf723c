//! Messages with more parts, deeper nesting and larger headers than anybody writes.

use std::thread;

use anyhow::ensure;

use super::{Case, Scale, Victim, victim::nothing};

pub(super) const CASES: &[Case] = &[
    Case { name: "mime-parts", growth_max_mib: [256, 512], settings: &[], prepare: nothing, attack: parts },
    Case { name: "mime-nesting", growth_max_mib: [384, 512], settings: &[], prepare: nothing, attack: nesting },
    Case { name: "headers", growth_max_mib: [384, 512], settings: &[], prepare: nothing, attack: headers },
];

/// Appends a message, and has several sessions ask for all that is taken apart of it.
fn ask(victim: &Victim, scale: Scale, messages: &[Vec<u8>]) -> anyhow::Result<usize> {
    let mut imap = victim.eve()?;
    for message in messages {
        let answer = imap.append("INBOX", "", None, message)?;
        ensure!(answer.is_ok(), "APPEND: {answer:?}");
    }
    let sessions = scale.of(2, 10);
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..sessions)
            .map(|_| {
                scope.spawn(|| {
                    let mut imap = victim.eve()?;
                    imap.ok("SELECT INBOX")?;
                    for command in [
                        "FETCH 1:* BODYSTRUCTURE",
                        "FETCH 1:* (ENVELOPE BODY)",
                        "FETCH 1:* BODY.PEEK[HEADER.FIELDS (X-1 SUBJECT)]",
                        "FETCH 1:* BODY.PEEK[HEADER]",
                        "FETCH 1:* (BODY.PEEK[9999] BODY.PEEK[1.1.1.1.1.1.1.1.1.1.MIME] PREVIEW)",
                        "SEARCH TEXT zzzz",
                        "SEARCH HEADER X-1 zzzz",
                        "SORT (SUBJECT) UTF-8 ALL",
                    ] {
                        imap.ok(command)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        sessions
            .into_iter()
            .try_for_each(|session| session.join().map_err(|_| anyhow::anyhow!("a session panicked"))?)
    })?;
    victim.serve_once()?;
    Ok(sessions)
}

fn parts(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let flat = |count: usize| {
        let mut message =
            b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        message.extend(b"--b\r\nContent-Type: text/plain; name=x\r\n\r\nx\r\n".repeat(count));
        message.extend(b"--b--\r\n");
        message
    };
    let sessions = ask(victim, scale, &[flat(10_000), flat(scale.of(20_000, 200_000))])?;
    Ok(format!("{sessions} sessions ask for all of a message of 10,000 parts and one of {}", scale.of(20_000, 200_000)))
}

fn nesting(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let mut multiparts = b"Subject: nested\r\nMIME-Version: 1.0\r\n".to_vec();
    for level in 0..1000 {
        multiparts.extend(format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").bytes());
    }
    multiparts.extend(b"\r\nx\r\n");
    let mut forwarded = b"Subject: nested\r\nMIME-Version: 1.0\r\n".to_vec();
    forwarded.extend(b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n".repeat(scale.of(1000, 10_000)));
    let comments = format!("From: {}x{} <x@y>\r\nSubject: x\r\n\r\n", "(".repeat(500_000), ")".repeat(500_000));
    let groups = format!("To: {}\r\nSubject: x\r\n\r\n", "a:b@c;,".repeat(100_000));
    let sessions = ask(victim, scale, &[multiparts, forwarded, comments.into_bytes(), groups.into_bytes()])?;
    Ok(format!(
        "{sessions} sessions ask for all of 1,000 nested multiparts, {} nested messages, 500,000 nested comments, 100,000 groups",
        scale.of(1000, 10_000)
    ))
}

fn headers(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let len = scale.of(2, 10) * 1_000_000;
    let field = format!("Subject: {}\r\n\r\nx\r\n", "word ".repeat(len / 5));
    let folded = format!("Subject: x\r\n{}\r\nx\r\n", "X-1: y\r\n".repeat(len / 8));
    let encoded = format!("Subject: {}\r\n\r\nx\r\n", "=?utf-8?b?w6Q=?=\r\n ".repeat(len / 19));
    let addresses = format!("To: {}x@y\r\n\r\nx\r\n", "aa <b@c.example>,\r\n ".repeat(len / 20));
    let references = format!("References: {}\r\n\r\nx\r\n", "<a@b>\r\n ".repeat(len / 8));
    let all = [field, folded, encoded, addresses, references].map(String::into_bytes);
    let sessions = ask(victim, scale, &all)?;
    Ok(format!("{sessions} sessions ask for all of 5 messages with headers of {} MB", len / 1_000_000))
}
