//! Clients that take nothing, or send a byte at a time, or send ahead and read nothing.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use anyhow::ensure;

use super::{
    Case, Scale, Victim,
    victim::{eve_raw, last_words, line, nothing, open, push},
};

pub(super) const CASES: &[Case] = &[
    Case { name: "slow-readers", growth_max_mib: [96, 192], settings: &[], prepare: large_messages, attack: readers },
    Case {
        name: "slow-writers",
        growth_max_mib: [64, 128],
        settings: &["limits.login_timeout=10 s"],
        prepare: nothing,
        attack: writers,
    },
    Case { name: "pipelines", growth_max_mib: [64, 128], settings: &[], prepare: large_messages, attack: pipelines },
];

const MIB: usize = 1024 * 1024;

/// 100 MiB of mail in messages of 4 MiB; a tenth of it in short.
fn large_messages(victim: &Victim, scale: Scale) -> anyhow::Result<()> {
    let mut imap = victim.eve()?;
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    message.extend(
        b"seventy-six bytes of text and a line end make 78, which is what MIME allows..\r\n".repeat(4 * MIB / 79),
    );
    for _ in 0..scale.of(3, 25) {
        let answer = imap.append("INBOX", "", None, &message)?;
        ensure!(answer.is_ok(), "filling: {answer:?}");
    }
    Ok(())
}

/// FETCH of everything, and not a byte of it read.
fn readers(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let mut held = Vec::new();
    for _ in 0..scale.of(20, 100) {
        let mut stream = eve_raw(victim.imap(), &["SELECT INBOX"])?;
        stream.write_all(b"f FETCH 1:* BODY.PEEK[]\r\n")?;
        held.push(stream);
    }
    for _ in 0..scale.of(1, 10) {
        victim.serve_once()?;
    }
    Ok(format!("{} sessions, each a FETCH of {} MiB of which nothing is read", held.len(), scale.of(12, 100)))
}

/// A byte at a time of commands, literals, messages.
fn writers(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let (imap, lmtp, pop3) = (victim.imap(), victim.lmtp(), victim.pop3()?);
    let mut before_login: Vec<TcpStream> = Vec::new();
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..scale.of(5, 50) {
        before_login.extend([open(imap)?, open(pop3)?]);
        held.push(eve_raw(imap, &[])?);
        let mut append = eve_raw(imap, &[])?;
        append.write_all(b"a APPEND INBOX {30000000+}\r\nSubject: slow\r\n\r\n")?;
        held.push(append);
        let mut search = eve_raw(imap, &["SELECT INBOX"])?;
        search.write_all(b"s SEARCH SUBJECT {500000+}\r\n")?;
        held.push(search);
        let mut data = open(lmtp)?;
        data.write_all(b"LHLO slow\r\nMAIL FROM:<>\r\nRCPT TO:<eve>\r\nDATA\r\n")?;
        held.push(data);
    }
    let seconds = scale.of(12, 30);
    for _ in 0..seconds {
        // Those before login are closed in the midst of it.
        let _: Vec<_> = before_login.iter_mut().map(|stream| stream.write_all(b"a")).collect();
        for stream in &mut held {
            stream.write_all(b"a")?;
        }
        thread::sleep(Duration::from_secs(1));
    }
    victim.serve_once()?;
    let closed = before_login.len();
    for stream in before_login {
        last_words(stream, 500)?;
    }
    Ok(format!(
        "{} clients, a byte a second for {seconds} s: {closed} before login closed by `login_timeout`, {} in commands, literals and DATA",
        closed + held.len(),
        held.len()
    ))
}

/// Commands sent ahead by the thousand, and no answer read until all are sent or the server takes no more.
fn pipelines(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let count = scale.of(10_000, 100_000);
    let noops: String = (0..count).map(|number| format!("n{number} NOOP\r\n")).collect();
    let fetches = "f FETCH 1:* (FLAGS BODY.PEEK[])\r\n".repeat(count);
    let mut streams = Vec::new();
    let mut taken = [0, 0];
    for _ in 0..scale.of(2, 5) {
        let mut noop = eve_raw(victim.imap(), &["SELECT INBOX"])?;
        taken[0] += push(&mut noop, noops.as_bytes())?;
        let mut fetch = eve_raw(victim.imap(), &["SELECT INBOX"])?;
        taken[1] += push(&mut fetch, fetches.as_bytes())?;
        streams.extend([noop, fetch]);
        victim.serve_once()?;
    }
    // One who reads in the end has all answers.
    let mut late = eve_raw(victim.imap(), &["SELECT INBOX"])?;
    let mut reader = late.try_clone()?;
    let writer = thread::spawn(move || late.write_all(noops.as_bytes()).map(|()| late));
    let mut answered = 0;
    let mut input = crate::wire::Input::new(&mut reader);
    while answered < count {
        let answer = String::from_utf8_lossy(&input.line()?).into_owned();
        if answer.starts_with("* ") {
            continue;
        }
        ensure!(answer.starts_with(&format!("n{answered} OK")), "NOOP {answered}: {answer:?}");
        answered += 1;
    }
    drop(writer.join());
    let kib = taken.map(|bytes| bytes / 1024 / scale.of(2, 5));
    line(&mut streams.swap_remove(0))?;
    Ok(format!(
        "{count} NOOPs and {count} FETCHes of everything sent ahead by {} sessions, of which the server and the sockets took {} and {} KiB a session; one who then reads has {answered} answers",
        scale.of(2, 5) * 2,
        kib[0],
        kib[1]
    ))
}
