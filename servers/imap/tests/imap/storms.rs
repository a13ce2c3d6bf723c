//! Many sessions at once at the same thing: nobody waits for ever, nothing is doubled, nothing lost.

use std::{collections::BTreeSet, time::Duration};

use crate::common::{Client, Host};
use mailtypes::Flags;
use tokio::{io::AsyncWriteExt as _, task::JoinSet, time::sleep};

/// A small generator, the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn hosts() -> [Host; 3] {
    [Host::new(), Host::on_sdbox(), Host::on_maildir()]
}

async fn all(mut tasks: JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Every command is answered (a client waits [`crate::common::PATIENCE`], no longer), and what is left is a tree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_create_rename_and_delete() {
    for host in hosts() {
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let mut client = host.log_in().await;
            tasks.spawn(async move {
                let separator = client.separator().await;
                let mut draws = Draws(n);
                for _ in 0..60 {
                    let names = ["a", "a/b", "a/b/c", "b", "b/a", "c/a/b"];
                    let mut name = || names[draws.below(names.len() as u64) as usize].replace('/', separator);
                    let (one, two) = (name(), name());
                    let command = match draws.below(5) {
                        0 | 1 => format!("CREATE {one}"),
                        2 => format!("RENAME {one} {two}"),
                        3 => format!("DELETE {one}"),
                        _ => format!("SELECT {one}"),
                    };
                    let tag = client.next_tag();
                    let line = format!("{tag} {command}\r\n");
                    // A session ends whose mailbox is gone.
                    let sent = client.stream.write_all(line.as_bytes()).await.is_ok();
                    if !(sent && is_answered(&mut client, &tag, &command).await) {
                        return;
                    }
                }
            });
        }
        all(tasks).await;
        let mut client = host.log_in().await;
        let listed = client.ok("LIST \"\" *").await;
        let names: Vec<&str> =
            listed.lines().filter_map(|line| line.strip_prefix("* LIST ")?.split(' ').next_back()).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{listed}");
        for name in &names {
            if let Some((parent, _)) = name.rsplit_once(['/', '.']) {
                assert!(names.contains(&parent), "{name} without {parent}: {listed}");
            }
        }
    }
}

/// Reads up to the answer. False where the session ended because its mailbox is gone.
async fn is_answered(client: &mut Client, tag: &str, command: &str) -> bool {
    loop {
        match client.next().await {
            None => return false,
            Some((_, line)) => {
                let line = String::from_utf8_lossy(&line).into_owned();
                assert!(!line.contains("[SERVERBUG]"), "{command}: {line}");
                if line.starts_with(&format!("{tag} ")) {
                    return true;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_moved_by_many_at_once_arrive_once() {
    const MESSAGES: usize = 60;
    for host in hosts() {
        let mut setup = host.log_in().await;
        setup.ok("CREATE There").await;
        for n in 0..MESSAGES {
            host.put("INBOX", format!("Subject: {n}\n\nbody\n").as_bytes(), Flags::NONE);
        }
        let mut tasks = JoinSet::new();
        for n in 0..6u64 {
            let mut client = host.select().await;
            tasks.spawn(async move {
                let mut draws = Draws(n);
                for _ in 0..30 {
                    let first = draws.below(MESSAGES as u64) + 1;
                    let last = first + draws.below(10);
                    let answer = client.command(format!("UID MOVE {first}:{last} There")).await;
                    assert!(!answer.contains("[SERVERBUG]"), "{answer}");
                }
                // What is told as moved is what is there no longer.
                client.ok("UID MOVE 1:* There").await;
            });
        }
        all(tasks).await;
        assert!(setup.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 0"));
        setup.ok("SELECT There").await;
        let subjects = setup.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]").await;
        let subjects: Vec<&str> = subjects.lines().filter(|line| line.starts_with("Subject: ")).collect();
        let distinct: BTreeSet<&str> = subjects.iter().copied().collect();
        assert_eq!((subjects.len(), distinct.len()), (MESSAGES, MESSAGES), "each once: {subjects:?}");
    }
}

/// COPYUID names only what this session moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_move_tells_what_it_moved() {
    for host in hosts() {
        let mut setup = host.log_in().await;
        setup.ok("CREATE There").await;
        for _ in 0..40 {
            host.put("INBOX", b"Subject: x\n\nbody\n", Flags::NONE);
        }
        let mut tasks = JoinSet::new();
        for _ in 0..5 {
            let mut client = host.select().await;
            tasks.spawn(async move {
                let answer = client.ok("UID MOVE 1:* There").await;
                let told = answer.lines().find_map(|line| line.strip_prefix("* OK [COPYUID "));
                let source = told.and_then(|told| told.split(' ').nth(1)).unwrap_or("").to_owned();
                count(&source)
            });
        }
        let mut moved = 0;
        while let Some(done) = tasks.join_next().await {
            moved += done.unwrap();
        }
        assert_eq!(moved, 40, "each message was moved by one");
    }
}

/// How many numbers a set names.
fn count(set: &str) -> u32 {
    let len = |range: &str| -> u32 {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        last.parse::<u32>().unwrap() - first.parse::<u32>().unwrap() + 1
    };
    set.split(',').filter(|range| !range.is_empty()).map(len).sum()
}

/// A client that takes nothing more stands in the middle of its answer; others go on at everything that it touches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_keeps_no_lock() {
    for host in hosts() {
        let body = format!("Subject: large\n\n{}", "0123456789abcdef\n".repeat(16 * 1024));
        for _ in 0..8 {
            host.put("INBOX", body.as_bytes(), Flags::NONE);
        }
        let mut stalled = Vec::new();
        for command in [
            "FETCH 1:* BODY[]",
            "FETCH 1:* (ENVELOPE BODY.PEEK[])",
            "UID FETCH 1:* (FLAGS BODY[TEXT])",
            "MOVE 8 INBOX",
            "STORE 1:* +FLAGS (\\Flagged)",
        ] {
            let mut client = host.connect_with(512).await;
            client.ok("LOGIN ann secret").await;
            client.ok("ENABLE QRESYNC").await;
            client.ok("SELECT INBOX").await;
            client.send(format!("x {command}\r\ny NOOP\r\nz LIST \"\" *\r\n")).await;
            stalled.push(client);
        }
        sleep(Duration::from_millis(100)).await;
        let mut client = host.select().await;
        for n in 0..5 {
            client.ok(format!("CREATE Box{n}")).await;
            client.ok("APPEND INBOX {12+}\r\nSubject: y\r\n").await;
            client.ok("STORE 1:* +FLAGS (\\Answered)").await;
            client.ok(format!("COPY 1:* Box{n}")).await;
            client.ok(format!("MOVE 1 Box{n}")).await;
            client.ok("STORE 1 +FLAGS (\\Deleted)").await;
            client.ok("EXPUNGE").await;
            client.ok(format!("RENAME Box{n} Away{n}")).await;
            client.ok(format!("DELETE Away{n}")).await;
        }
        // Those who stalled find everything when they read on.
        for mut client in stalled {
            let answer = client.answer("z").await;
            let last = answer.lines().last().unwrap_or_default();
            // With QRESYNC whichever command tells of the expunges has their mod-sequence in its OK.
            assert!(last.starts_with("tag OK ") && last.ends_with("List completed."), "{answer}");
        }
    }
}
