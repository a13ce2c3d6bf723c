//! SEARCH, SORT and THREAD on large mailboxes, by keys and headers made to be dear.

use std::{fmt::Write as _, thread};

use anyhow::{Context, ensure};

use super::{Case, Scale, Victim};

pub(super) const CASES: &[Case] = &[
    Case { name: "search", growth_max_mib: [192, 768], settings: &[], prepare: fill, attack: search },
    Case { name: "sort-thread", growth_max_mib: [192, 768], settings: &[], prepare: fill, attack: sort_and_thread },
];

fn messages(scale: Scale) -> usize {
    scale.of(2000, 100_000)
}

/// Messages whose headers make threading dear: chains as long as the mailbox, loops, the same Message-ID over and over,
/// messages that answer themselves, many references, and subjects of nothing but `Re:`.
fn hostile_message(number: usize) -> String {
    let mut head = String::new();
    // Writing to a string cannot fail.
    let _ = match number % 8 {
        0 => write!(head, "Message-ID: <c{number}@x>\r\nReferences: <c{}@x>\r\n", number.wrapping_sub(8)),
        1 => write!(head, "Message-ID: <s{number}@x>\r\nReferences: <c{}@x>\r\n", number - 1),
        2 => write!(head, "Message-ID: <l{number}@x>\r\nReferences: <l{}@x> <l{number}@x>\r\n", number + 8),
        3 => {
            let ids: String =
                (0..50).map(|i| format!("<c{}@x>\r\n ", (number * 7919 + i * 104_729) % 100_000 / 8 * 8)).collect();
            write!(head, "Message-ID: <m{number}@x>\r\nReferences: {ids}<s1@x>\r\n")
        }
        4 => write!(head, "Message-ID: <r{number}@x>\r\nSubject: {}x\r\n", "Re: [x] ".repeat(100)),
        5 => write!(head, "Message-ID: <same@x>\r\nIn-Reply-To: <c0@x>\r\n"),
        6 => write!(head, "Message-ID: <o{number}@x>\r\nReferences: <o{number}@x>\r\n"),
        _ => write!(head, "Subject: Re: the same\r\nDate: nonsense\r\n"),
    };
    head + "\r\nNothing.\r\n"
}

fn fill(victim: &Victim, scale: Scale) -> anyhow::Result<()> {
    let mut imap = victim.eve()?;
    for from in (0..messages(scale)).step_by(1000) {
        let texts: Vec<_> = (from..from + 1000).map(hostile_message).collect();
        let batch: Vec<_> = texts.iter().map(|text| ("", None, text.as_bytes())).collect();
        let answer = imap.append_many("INBOX", &batch)?;
        ensure!(answer.is_ok(), "filling: {answer:?}");
    }
    Ok(())
}

/// Several sessions give the commands at once; what they were told, and the longest time of each command.
fn at_once(victim: &Victim, sessions: usize, commands: &[(&str, String)]) -> anyhow::Result<String> {
    let times = thread::scope(|scope| {
        let sessions: Vec<_> = (0..sessions)
            .map(|_| {
                scope.spawn(|| {
                    let mut imap = victim.eve()?;
                    imap.ok("SELECT INBOX")?;
                    let mut times = Vec::new();
                    for (name, command) in commands {
                        let start = std::time::Instant::now();
                        let answer = imap.command(command).with_context(|| (*name).to_owned())?;
                        let is_limit = answer.text.starts_with("[LIMIT]") || answer.text.contains("too long");
                        ensure!(answer.is_ok() || is_limit, "{name}: {} {}", answer.status, answer.text);
                        times.push((start.elapsed(), answer.status));
                    }
                    anyhow::Ok(times)
                })
            })
            .collect();
        sessions
            .into_iter()
            .map(|session| session.join().map_err(|_| anyhow::anyhow!("a session panicked"))?)
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut told = String::new();
    for (at, (name, _)) in commands.iter().enumerate() {
        let slowest = times.iter().filter_map(|times| times.get(at)).max_by_key(|(time, _)| *time);
        if let Some((time, status)) = slowest {
            let _ = write!(told, "; {name} {status} {:.1} s", time.as_secs_f64());
        }
    }
    Ok(told)
}

fn search(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let keys = scale.of(1000, 5000);
    let nested = |key: &str, depth: usize| format!("SEARCH {}ALL", key.repeat(depth));
    let commands = [
        ("NOT × 60", nested("NOT ", 60)),
        ("NOT × 10,000", nested("NOT ", 10_000)),
        ("( × 10,000", nested("(", 10_000)),
        ("OR of all keys", format!("SEARCH {}SUBJECT zzz", "OR UID 1 ".repeat(60))),
        ("many keys", format!("SEARCH{}", " UNSEEN SMALLER 99999".repeat(keys / 2))),
        (
            "many numbers",
            format!("SEARCH {}", (0..8000).map(|n| (n * 2 + 1).to_string()).collect::<Vec<_>>().join(",")),
        ),
        ("many HEADER", format!("SEARCH{}", " NOT HEADER X-A b".repeat(scale.of(100, 1000)))),
        ("BODY zzz", "SEARCH BODY zzz".to_owned()),
        ("TEXT and BODY", format!("SEARCH{}", " NOT TEXT zzz NOT BODY yyy".repeat(scale.of(5, 50)))),
    ];
    let sessions = scale.of(2, 4);
    let told = at_once(victim, sessions, &commands)?;
    victim.serve_once()?;
    Ok(format!("{sessions} sessions on {} messages{told}", messages(scale)))
}

fn sort_and_thread(victim: &Victim, scale: Scale) -> anyhow::Result<String> {
    let commands = [
        ("THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL"),
        ("THREAD REFS", "THREAD REFS UTF-8 ALL"),
        ("THREAD ORDEREDSUBJECT", "THREAD ORDEREDSUBJECT UTF-8 ALL"),
        ("SORT SUBJECT", "SORT (SUBJECT) UTF-8 ALL"),
        ("SORT by all keys", "SORT (REVERSE SUBJECT FROM TO CC DATE SIZE ARRIVAL) UTF-8 ALL"),
    ]
    .map(|(name, command)| (name, command.to_owned()));
    let sessions = scale.of(2, 4);
    let told = at_once(victim, sessions, &commands)?;
    victim.serve_once()?;
    Ok(format!("{sessions} sessions on {} messages of hostile References{told}", messages(scale)))
}
