//! POP3 and LMTP: endless lines, too many recipients, messages without end, RETR sent ahead.

use std::io::Write;

use anyhow::ensure;

use super::{
    Case, Scale, Victim,
    victim::{EVE, last_words, line, open, push},
};
use crate::{dovecot::PASSWORD, lmtp::Lmtp};

pub(super) const CASES: &[Case] = &[
    Case { name: "pop3", growth_max_mib: [64, 128], settings: &[], prepare: large_message, attack: pop3 },
    Case { name: "lmtp", growth_max_mib: [128, 192], settings: &[], prepare: super::victim::nothing, attack: lmtp },
];

const MIB: usize = 1024 * 1024;

fn large_message(victim: &Victim, _: Scale) -> anyhow::Result<()> {
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    message.extend(b".a line that has a dot before it\r\n".repeat(8 * MIB / 34));
    let answer = victim.eve()?.append("INBOX", "", None, &message)?;
    ensure!(answer.is_ok(), "filling: {answer:?}");
    Ok(())
}

fn pop3(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let (lines, mib) = (scale.of(5, 50), scale.of(2, 20));
    for _ in 0..lines {
        let mut stream = open(victim.pop3()?)?;
        stream.write_all(&vec![b'x'; mib * MIB])?;
        stream.write_all(b"\r\nQUIT\r\n")?;
        let said = last_words(stream, 2000)?;
        ensure!(said.contains("-ERR Line too long."), "an endless line: {said:?}");
    }
    victim.serve_once()?;
    let mut held = Vec::new();
    for _ in 0..scale.of(10, 50) {
        let mut stream = open(victim.pop3()?)?;
        stream.write_all(format!("USER {EVE}\r\nPASS {PASSWORD}\r\n").as_bytes())?;
        push(&mut stream, "RETR 1\r\n".repeat(scale.of(1000, 100_000)).as_bytes())?;
        held.push(stream);
        if held.len() == 10 {
            victim.serve_once()?;
        }
    }
    victim.serve_once()?;
    Ok(format!("{lines} lines of {mib} MiB; {} sessions that send RETR of 8 MiB ahead and read nothing", held.len()))
}

fn lmtp(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let (lines, mib) = (scale.of(5, 50), scale.of(2, 20));
    for _ in 0..lines {
        let mut stream = open(victim.lmtp())?;
        push(&mut stream, &vec![b'x'; mib * MIB])?;
        drop(stream);
    }
    let recipients = 10_000;
    let mut client = Lmtp::connect(victim.lmtp())?;
    client.send(b"MAIL FROM:<a@b.example>\r\n")?;
    client.expect(250)?;
    let (mut taken, mut refused) = (0, 0);
    for from in (0..recipients).step_by(100) {
        client.send("RCPT TO:<eve>\r\n".repeat(100).as_bytes())?;
        for number in from..from + 100 {
            match client.reply() {
                Ok((250, _)) => taken += 1,
                Ok((452, _)) => refused += 1,
                other => anyhow::bail!("recipient {number}: {other:?}"),
            }
        }
    }
    ensure!(taken <= 1000, "{taken} recipients taken");
    victim.serve_once()?;
    // More than message_len_max, in one DATA after the other.
    let mut held = Vec::new();
    for _ in 0..scale.of(2, 10) {
        let mut stream = open(victim.lmtp())?;
        stream.write_all(b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<eve>\r\nDATA\r\n")?;
        let text = b"endless, endless, endless\r\n".repeat(MIB / 27);
        for _ in 0..60 {
            stream.write_all(&text)?;
        }
        stream.write_all(b".\r\nQUIT\r\n")?;
        let said = last_words(stream, 2000)?;
        ensure!(said.contains("552 5.3.4"), "a message of 60 MiB: {said:?}");
        let mut unfinished = open(victim.lmtp())?;
        unfinished.write_all(b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<eve>\r\nDATA\r\n")?;
        for _ in 0..20 {
            unfinished.write_all(&text)?;
        }
        line(&mut unfinished)?;
        held.push(unfinished);
    }
    victim.serve_once()?;
    Ok(format!(
        "{lines} lines of {mib} MiB; of {recipients} RCPT {taken} taken, {refused} refused by 452; {} messages of 60 MiB refused by 552, as many left at 20 MiB",
        held.len()
    ))
}
