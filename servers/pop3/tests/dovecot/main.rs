//! The same random sessions to Culver and to a real Dovecot, each on its copy of one store: every answer equal but for
//! the words that only people read, and the mailboxes equal after each session (`docs/dovecot-compat.md`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod pair;
mod uidl;

use fastrand::Rng;
use testkit::{
    dovecot::{self, PASSWORD},
    pop3::{Answer, Pop3},
    skip,
};

use pair::Pair;

/// What is said in a session, most of it sensible.
fn command(rng: &mut Rng, messages: usize) -> String {
    let odd = ["", "x", "0", "-1", "1 2", " 1", "1 ", "99999", "99999999999999999999999"];
    let number = |rng: &mut Rng| match rng.u32(..12) {
        0 => odd[rng.usize(..odd.len())].to_owned(),
        _ => rng.usize(1..=messages + 1).to_string(),
    };
    match rng.u32(..20) {
        0 => "STAT".to_owned(),
        1 => "LIST".to_owned(),
        2 => format!("LIST {}", number(rng)),
        3 => "UIDL".to_owned(),
        4 => format!("UIDL {}", number(rng)),
        5..=8 => format!("RETR {}", number(rng)),
        9..=11 => format!("TOP {} {}", number(rng), rng.u32(..40)),
        12 => format!("TOP {}", number(rng)),
        13..=15 => format!("DELE {}", number(rng)),
        16 => ["RSET", "NOOP", "NOOP x", "stat", "rset x", "LAST", "FROB", " STAT", "USER x", "STLS"][rng.usize(..10)]
            .to_owned(),
        17 => format!("retr {}", number(rng)),
        18 => format!("TOP {} {}", number(rng), odd[rng.usize(..odd.len())]),
        _ => "STAT".to_owned(),
    }
}

/// What two answers must have in common: all but the text that only people read.
fn essence(command: &str, answer: &Answer) -> (String, Option<Vec<Vec<u8>>>) {
    let keyword = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    let has_data = match keyword.as_str() {
        "STAT" => true,
        "LIST" | "UIDL" => answer.lines.is_none(),
        _ => false,
    };
    let mut words = answer.first.split(' ');
    let status = words.next().unwrap_or_default().to_owned();
    let first = match answer.is_ok() {
        true if has_data => answer.first.clone(),
        true if keyword == "RETR" => format!("{status} {}", words.next().unwrap_or_default()),
        true => status,
        false => format!("{status} {}", words.next().filter(|word| word.starts_with('[')).unwrap_or_default()),
    };
    (first, answer.lines.clone())
}

#[test]
fn the_same_sessions_to_both() {
    if !dovecot::has_pop3() {
        return skip("the same POP3 sessions to Dovecot", "dovecot-pop3d");
    }
    let mut rng = Rng::with_seed(2026);
    let mut pair = Pair::new("pop3-same", &mut rng, 60, culver_pop3::Options::default(), "");
    let (mut commands, mut deleted) = (0, 0);
    for session in 0..40 {
        let before = pair.inboxes_equal(session);
        if before.len() < 20 {
            pair.add(&mut rng, 30);
        }
        let messages = pair.inboxes_equal(session).len();
        let mut both = [pair.ours(), pair.theirs].map(|address| Pop3::login(address, "ann", PASSWORD).unwrap());
        for _ in 0..rng.usize(1..60) {
            let command = command(&mut rng, messages);
            let [ours, theirs] = both.each_mut().map(|pop3| essence(&command, &pop3.command(&command).unwrap()));
            assert_eq!(ours.0, theirs.0, "session {session}: {command}");
            if let (Some(ours), Some(theirs)) = (&ours.1, &theirs.1) {
                for (n, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                    let show = |line: &[u8]| line.escape_ascii().to_string();
                    assert_eq!(show(ours), show(theirs), "session {session}: {command}, line {n}");
                }
            }
            assert_eq!(
                ours.1.map(|lines| lines.len()),
                theirs.1.map(|lines| lines.len()),
                "session {session}: {command}"
            );
            commands += 1;
            if rng.u32(..40) == 0 {
                pair.expunge_behind_their_backs(&mut rng);
            }
        }
        // Every third session is lost.
        if rng.u32(..3) > 0 {
            let [ours, theirs] = both.each_mut().map(|pop3| pop3.command("QUIT").unwrap());
            assert_eq!(essence("QUIT", &ours), essence("QUIT", &theirs), "session {session}");
        }
        drop(both);
        deleted += messages.saturating_sub(pair.inboxes_equal(session).len());
    }
    println!("{commands} commands in 40 sessions, {deleted} messages deleted");
    assert!(commands > 500 && deleted > 20);
}
