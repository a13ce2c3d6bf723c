//! Connections and more connections, and guesses at passwords.

use std::{io::Write, net::TcpStream};

use anyhow::ensure;

use super::{
    Case, Scale, Victim,
    victim::{connect_from, last_words, line, nothing, open},
};
use crate::lmtp::Lmtp;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "connections",
        growth_max_mib: [64, 400],
        settings: &["limits.login_timeout=10 min", "limits.connections_per_address_max=2600"],
        prepare: nothing,
        attack: idle,
    },
    Case {
        name: "connections-beyond",
        growth_max_mib: [64, 64],
        settings: &["limits.login_timeout=10 min", "limits.connections_max=300"],
        prepare: nothing,
        attack: beyond,
    },
    Case {
        name: "failed-logins",
        growth_max_mib: [128, 256],
        settings: &["limits.login_timeout=10 min"],
        prepare: nothing,
        attack: guesses,
    },
];

/// Connections from one address that are opened at full scale; four addresses make ten thousand.
const FROM_ONE: usize = 2500;

fn greeted(count: usize, victim: &Victim) -> anyhow::Result<Vec<TcpStream>> {
    let connection = |number: usize| {
        let mut stream = connect_from(2 + (number / FROM_ONE) as u8, victim.imap())?;
        let greeting = line(&mut stream)?;
        ensure!(greeting.starts_with("* OK"), "connection {number}: {greeting:?}");
        Ok(stream)
    };
    (0..count).map(connection).collect()
}

/// Ten thousand that never log in; then more of one address than it may have.
fn idle(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let mut held = greeted(scale.of(1000, 4 * FROM_ONE), victim)?;
    victim.serve_once()?;
    let mut refused = 0;
    for _ in 0..scale.of(10, 500) {
        let mut stream = connect_from(2, victim.imap())?;
        let greeting = line(&mut stream)?;
        if greeting.starts_with("* BYE [LIMIT]") {
            refused += 1;
        } else {
            held.push(stream);
        }
    }
    victim.serve_once()?;
    ensure!(scale == Scale::Short || refused == 400, "{refused} of 500 refused, where 100 may come in");
    Ok(format!("{} idle before login; {refused} more of one address refused by `* BYE [LIMIT]`", held.len()))
}

/// More than the server takes in all.
fn beyond(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    victim.serve_once()?;
    let away = victim.keep_away();
    let mut held = Vec::new();
    while held.len() < 300 {
        let mut stream = connect_from(2, victim.imap())?;
        if line(&mut stream)?.starts_with("* OK") {
            held.push(stream);
        }
    }
    let count = scale.of(50, 2000);
    for number in 0..count {
        let said = last_words(open(victim.imap())?, 500)?;
        ensure!(said.starts_with("* BYE [LIMIT]"), "connection {number} beyond the limit: {said:?}");
    }
    let delivered = Lmtp::connect(victim.lmtp())?.deliver(&["ann"], b"Subject: x\r\n\r\nx\r\n")?;
    ensure!(matches!(delivered[..], [(250, _)]), "LMTP meanwhile: {delivered:?}");
    drop(held);
    // Those that closed are counted until the server has seen it.
    while greeted(1, victim).is_err() {}
    drop(away);
    victim.serve_once()?;
    Ok(format!("300 held; {count} more refused by `* BYE [LIMIT]`; LMTP delivers; ann is back when they are gone"))
}

/// Wrong passwords for users who are there and who are not, five a connection, until the server has enough.
fn guesses(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let connections = scale.of(40, 2000);
    let mut held = greeted(connections, victim)?;
    let mut failed = 0;
    for attempt in 0..5 {
        for (number, stream) in held.iter_mut().enumerate() {
            let name = if number % 2 == 0 { "ann".to_owned() } else { format!("nobody{number}") };
            stream.write_all(format!("g LOGIN {name} guess{attempt}-{number}\r\n").as_bytes())?;
        }
        for stream in &mut held {
            let answer = line(stream)?;
            ensure!(answer.starts_with("g NO [AUTHENTICATIONFAILED]"), "a wrong password: {answer:?}");
            failed += 1;
        }
    }
    for stream in held {
        let said = last_words(stream, 500)?;
        ensure!(said.starts_with("* BYE"), "after five wrong passwords: {said:?}");
    }
    Ok(format!("{failed} wrong passwords by {connections} connections, all answered NO, all connections ended by BYE"))
}
