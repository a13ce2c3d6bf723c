//! The jobs. Each is run by both servers in the same words.

mod change;
mod conversion;
mod deliver;
mod disk;
mod idle;
mod mixed;
mod read;
mod stores;
mod upkeep;

use std::time::Instant;

use fastrand::Rng;
use testkit::messages::message;

use self::idle::Carrier;
use crate::{
    measure::waited_seconds,
    servers::{Format, Kind, Pair, USERS},
};

type Prepare = fn(&Pair) -> anyhow::Result<()>;
type Run = fn(&Pair, Kind) -> anyhow::Result<Outcome>;

/// A row of the report.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    /// Of the wall column.
    pub(crate) unit: &'static str,
    /// Unlike the default.
    pub(crate) rounds: Option<usize>,
    /// How often it is done in each round: CPU time is told in steps of 10 ms.
    pub(crate) repeats: usize,
    /// Formats of whose stores there is such a row; empty: of all.
    pub(crate) formats: &'static [Format],
    /// Takes long, and is run where its name is asked for.
    pub(crate) on_request: bool,
    pub(crate) prepare: Prepare,
    pub(crate) run: Run,
}

/// What one run of a job came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// A figure other than the milliseconds that the run took.
    pub(crate) value: Option<f64>,
    /// Milliseconds computed, where not all that was done is meant.
    pub(crate) cpu: Option<f64>,
    /// A hash of what the server answered; must be the same for both.
    pub(crate) answers: Option<String>,
}

const NOTHING: Prepare = |_| Ok(());

const fn job(name: &'static str, prepare: Prepare, run: Run) -> Job {
    Job { name, unit: "ms", rounds: None, repeats: 1, formats: &[], on_request: false, prepare, run }
}

const fn short(job: Job) -> Job {
    Job { repeats: 20, ..job }
}

pub(crate) fn all() -> Vec<Job> {
    let memory = |name, run| Job { rounds: Some(0), unit: "KB", ..job(name, NOTHING, run) };
    let mut jobs = vec![
        // First, while nothing that other jobs leave behind can be given back in the middle of it.
        memory("memory of an idle connection (IDLE, 500 of them)", |pair, kind| {
            idle::idle_memory(pair, kind, Carrier::Plain)
        }),
        memory("memory of an idle connection in TLS", |pair, kind| idle::idle_memory(pair, kind, Carrier::Tls)),
        memory("memory of an idle connection in TLS and COMPRESS", |pair, kind| {
            idle::idle_memory(pair, kind, Carrier::TlsAndCompress)
        }),
    ];
    jobs.extend(deliveries());
    jobs.extend(reads());
    jobs.extend(searches());
    jobs.extend(changes());
    jobs.extend(upkeeps());
    jobs.push(job("20 mixed clients of 10 users", NOTHING, mixed::clients));
    jobs
}

fn deliveries() -> Vec<Job> {
    vec![
        job("LMTP, 1 connection, 400 messages", NOTHING, |pair, kind| deliver::deliver(pair, kind, 1, &["u0"])),
        job("LMTP, 16 connections, 16 users, 1600 messages", NOTHING, |pair, kind| {
            deliver::deliver(pair, kind, 16, &USERS[..16])
        }),
        job("LMTP, 16 connections, 1 user, 1600 messages", NOTHING, |pair, kind| {
            deliver::deliver(pair, kind, 16, &["u1"])
        }),
        job("notice of new mail to IDLE, own delivery", NOTHING, |pair, kind| idle::notice(pair, kind, kind)),
        job("notice of new mail to IDLE, Dovecot delivers", NOTHING, |pair, kind| {
            idle::notice(pair, kind, Kind::Dovecot)
        }),
    ]
}

fn reads() -> Vec<Job> {
    vec![
        job("login, SELECT of 5000, LOGOUT, 100 times", stores::plain, read::logins),
        short(job("login, SELECT of 100000, LOGOUT", stores::large, |pair, kind| {
            read::select(pair, kind, "large", stores::LARGE)
        })),
        short(job("FETCH 1:* (UID FLAGS) of 100000", stores::large, |pair, kind| {
            read::command(pair, kind, "large", "FETCH 1:* (UID FLAGS)")
        })),
        job("FETCH 1:* (ENVELOPE) of 100000, cached", stores::large, |pair, kind| {
            read::command(pair, kind, "large", "FETCH 1:* (ENVELOPE)")
        }),
        job("FETCH 1:* (ENVELOPE) of 5000, not cached", stores::plain, |pair, kind| {
            stores::drop_cache(pair, kind)?;
            read::command(pair, kind, "plain", "FETCH 1:* (ENVELOPE)")
        }),
        job("FETCH 1:* of a header list of 100000, cached", stores::large, |pair, kind| {
            let fields = "(FROM TO SUBJECT DATE MESSAGE-ID REFERENCES)";
            let command = format!("FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS {fields}])");
            read::command(pair, kind, "large", &command)
        }),
        job("FETCH 1:* (BODY.PEEK[]) of 5000", stores::plain, |pair, kind| {
            read::command(pair, kind, "plain", "FETCH 1:* (BODY.PEEK[])")
        }),
        short(job("LIST RETURN STATUS of 1000 mailboxes", stores::many, read::list_status)),
        short(job("SELECT QRESYNC of 5000, 200 changed", stores::changed, read::qresync)),
        job("POP3, LIST and 1000 RETR", stores::plain, read::pop3),
    ]
}

fn searches() -> Vec<Job> {
    vec![
        job("SEARCH FROM of 100000", stores::large, |pair, kind| {
            read::command(pair, kind, "large", "SEARCH FROM user2")
        }),
        job("SEARCH BODY of 5000", stores::plain, |pair, kind| {
            read::command(pair, kind, "plain", "SEARCH BODY \"of a body, 7\"")
        }),
        job("SORT (SUBJECT) of 100000", stores::large, |pair, kind| {
            read::command(pair, kind, "large", "SORT (SUBJECT) UTF-8 ALL")
        }),
        job("SORT (REVERSE DATE) of 100000", stores::large, |pair, kind| {
            read::command(pair, kind, "large", "SORT (REVERSE DATE) UTF-8 ALL")
        }),
        job("THREAD REFERENCES of 100000", stores::large, |pair, kind| {
            read::command(pair, kind, "large", "THREAD REFERENCES UTF-8 ALL")
        }),
    ]
}

fn changes() -> Vec<Job> {
    vec![
        short(job("STORE 1:* +FLAGS of 5000", stores::changed, |pair, kind| {
            change::store(pair, kind, "changed", false)
        })),
        job("STORE 1:* +FLAGS.SILENT of 100000", stores::large, |pair, kind| change::store(pair, kind, "large", true)),
        job("COPY 1:* of 5000", stores::changed, change::copy),
        job("EXPUNGE of 5000", stores::changed, change::expunge),
    ]
}

/// Files on disk, and commands of the administrator, whose own processes are what computes.
fn upkeeps() -> Vec<Job> {
    let counted = |name, unit, run| Job { rounds: Some(0), unit, ..job(name, disk::stored, run) };
    let on_request = |job| Job { on_request: true, ..job };
    let converted = |name, formats, run| Job { formats, ..job(name, stores::plain, run) };
    vec![
        counted("bytes on disk for a byte of mail", "B", |pair, kind| disk::on_disk(pair, kind, disk::Counted::Bytes)),
        counted("bytes in blocks for a byte of mail", "B", |pair, kind| {
            disk::on_disk(pair, kind, disk::Counted::Blocks)
        }),
        counted("files and folders for a message", "files", |pair, kind| {
            disk::on_disk(pair, kind, disk::Counted::Inodes)
        }),
        job("culver check, doveadm force-resync of 5000", stores::plain, |pair, kind| upkeep::check(pair, kind, false)),
        job("culver check --deep, doveadm force-resync of 5000", stores::plain, |pair, kind| {
            upkeep::check(pair, kind, true)
        }),
        Job { formats: &[Format::Mdbox], ..job("purge of 2500 of 5000", upkeep::expunged, upkeep::purge) },
        converted("conversion of 5000 to sdbox", &[Format::Mdbox, Format::Maildir, Format::Mbox], |pair, kind| {
            conversion::convert(pair, kind, Format::Sdbox)
        }),
        converted("conversion of 5000 to mdbox", &[Format::Sdbox], |pair, kind| {
            conversion::convert(pair, kind, Format::Mdbox)
        }),
        converted("conversion of 5000 to maildir", &[Format::Sdbox], |pair, kind| {
            conversion::convert(pair, kind, Format::Maildir)
        }),
        converted("conversion of 5000 to mbox", &[Format::Sdbox], |pair, kind| {
            conversion::convert(pair, kind, Format::Mbox)
        }),
        on_request(short(job("login, SELECT of 1000000, LOGOUT", stores::million, |pair, kind| {
            read::select(pair, kind, "million", stores::MILLION)
        }))),
        on_request(job("FETCH 1:* (UID FLAGS) of 1000000", stores::million, |pair, kind| {
            read::command(pair, kind, "million", "FETCH 1:* (UID FLAGS)")
        })),
        on_request(job("FETCH of the last 100 bodies of 1000000", stores::million, |pair, kind| {
            read::command(pair, kind, "million", &format!("FETCH {}:* (BODY.PEEK[])", stores::MILLION - 99))
        })),
    ]
}

/// Runs a command, and tells how long it took and how much it computed.
fn timed(run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Outcome> {
    let (began, before) = (Instant::now(), waited_seconds()?);
    run()?;
    let (value, cpu) = (began.elapsed().as_secs_f64() * 1e3, (waited_seconds()? - before) * 1e3);
    Ok(Outcome { value: Some(value), cpu: Some(cpu), answers: None })
}

fn mail(number: u64) -> Vec<u8> {
    message(&mut Rng::with_seed(number), number)
}
