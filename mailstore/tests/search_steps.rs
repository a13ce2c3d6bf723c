//! How a search works: in steps, the cheap first, with bounded memory, and safe from hostile keys.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use mailstore::{
    Batch, Body, Changes, Columns, Cursor, Expunges, Freshness, MailStorage, Mailbox, Result, Rows, SaveMeta,
    ScanBudget, Section, StorageError, View, ViewAs,
    memory::MemoryStorage,
    search::{Search, SearchProgress, search, uids_matching},
};
use mailtypes::{Flag, Flags, Keyword, MailboxName, ModSeq, SearchKey, SeqNum, Uid, UidSet, UidValidity};
use proptest::prelude::*;

fn inbox_of(messages: impl IntoIterator<Item = (Vec<u8>, Flags)>) -> Arc<dyn Mailbox> {
    let inbox = MemoryStorage::default().mailbox(&MailboxName::inbox()).unwrap();
    let batch = messages.into_iter().fold(Batch::new(), |batch, (raw, flags)| {
        let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
        save.write(&raw).unwrap();
        batch.save(save.finish().unwrap(), flags, vec![])
    });
    inbox.submit(batch).unwrap().wait().unwrap();
    inbox
}

fn view(mailbox: &dyn Mailbox) -> Box<dyn View> {
    mailbox.view(&ViewAs::default()).unwrap()
}

fn body(text: &str) -> SearchKey {
    SearchKey::Body(text.to_owned())
}

/// A view that counts what is asked of it.
struct Counting {
    view: Box<dyn View>,
    bodies: AtomicUsize,
    rows_with_columns: AtomicUsize,
    longest_read: Arc<AtomicUsize>,
}

impl Counting {
    fn new(mailbox: &dyn Mailbox) -> Self {
        Self {
            view: view(mailbox),
            bodies: AtomicUsize::new(0),
            rows_with_columns: AtomicUsize::new(0),
            longest_read: Arc::default(),
        }
    }
}

struct CountingBody {
    body: Box<dyn Body>,
    longest_read: Arc<AtomicUsize>,
}

impl Body for CountingBody {
    fn size(&self) -> u64 {
        self.body.size()
    }
    fn stored_size(&self) -> u64 {
        self.body.stored_size()
    }
    fn read_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.longest_read.fetch_max(buf.len(), Ordering::Relaxed);
        self.body.read_at(section, offset, buf)
    }
}

impl View for Counting {
    fn uid_validity(&self) -> UidValidity {
        self.view.uid_validity()
    }
    fn uid_next(&self) -> Uid {
        self.view.uid_next()
    }
    fn highest_modseq(&self) -> ModSeq {
        self.view.highest_modseq()
    }
    fn message_count(&self) -> u32 {
        self.view.message_count()
    }
    fn recent_count(&self) -> u32 {
        self.view.recent_count()
    }
    fn first_unseen(&self) -> Option<SeqNum> {
        self.view.first_unseen()
    }
    fn keywords(&self) -> Vec<Keyword> {
        self.view.keywords()
    }
    fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        self.view.seq_of(uid)
    }
    fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
        self.view.uid_at(seq)
    }
    fn uids_at(&self, set: &UidSet) -> UidSet {
        self.view.uids_at(set)
    }
    fn uids(&self) -> UidSet {
        self.view.uids()
    }
    fn freshness(&self) -> Freshness {
        self.view.freshness()
    }
    fn sync(&mut self, expunges: Expunges) -> Result<Changes> {
        self.view.sync(expunges)
    }
    fn scan(
        &self,
        uids: &UidSet,
        at: Cursor,
        columns: &Columns,
        budget: ScanBudget,
        out: &mut Rows,
    ) -> Result<Option<Cursor>> {
        let next = self.view.scan(uids, at, columns, budget, out)?;
        if !columns.only_flags() {
            self.rows_with_columns.fetch_add(out.rows.len(), Ordering::Relaxed);
        }
        Ok(next)
    }
    fn body(&self, uid: Uid) -> Result<Box<dyn Body>> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let longest_read = Arc::clone(&self.longest_read);
        Ok(Box::new(CountingBody { body: self.view.body(uid)?, longest_read }))
    }
}

#[test]
fn the_dear_is_read_only_where_the_cheap_leaves_it_open() {
    let messages = (0..100u32).map(|n| {
        let flags = if n < 10 { Flag::Seen.into() } else { Flags::NONE };
        (format!("Subject: s{}\r\n\r\nneedle\r\n", n % 2).into_bytes(), flags)
    });
    let inbox = inbox_of(messages);
    let view = Counting::new(&*inbox);
    let key = SearchKey::And(vec![
        body("needle"),
        SearchKey::Header("Subject".to_owned(), "s1".to_owned()),
        SearchKey::Flag(Flag::Seen),
    ]);
    assert_eq!(search(key, &view).unwrap().count(), 5);
    assert_eq!(view.bodies.load(Ordering::Relaxed), 5, "seen, and with the right subject");
    assert_eq!(view.rows_with_columns.load(Ordering::Relaxed), 15, "ten for the subject, five for the parts");
    let view = Counting::new(&*inbox);
    let seen_or_body = SearchKey::Or(Box::new(body("absent")), Box::new(SearchKey::Flag(Flag::Seen)));
    assert_eq!(search(seen_or_body, &view).unwrap().count(), 10);
    assert_eq!(view.bodies.load(Ordering::Relaxed), 90);
    let view = Counting::new(&*inbox);
    let found = uids_matching(&SearchKey::Not(Box::new(SearchKey::Flag(Flag::Seen))), &view).unwrap();
    assert_eq!(found.map(|uids| uids.to_string()).as_deref(), Some("11:100"));
    assert_eq!(uids_matching(&body("x"), &view).unwrap(), None);
    assert_eq!(view.rows_with_columns.load(Ordering::Relaxed), 0);
}

#[test]
fn large_bodies_are_read_in_pieces_and_matches_across_them_found() {
    const PIECE: usize = 64 * 1024;
    let needle = "Nädel im Heu";
    for at in [PIECE - 1, PIECE - 5, PIECE - needle.len(), PIECE, 3 * PIECE - 2, 10 * PIECE - 7] {
        let mut text = vec![b'.'; at];
        text.extend_from_slice(needle.as_bytes());
        text.resize(12 * PIECE, b'.');
        let raw = [b"Content-Type: text/plain; charset=utf-8\r\n\r\n".as_slice(), &text].concat();
        let view = Counting::new(&*inbox_of([(raw, Flags::NONE)]));
        assert_eq!(search(body("NÄDEL IM HEU"), &view).unwrap().count(), 1, "at {at}");
        assert_eq!(search(body("Nädel im Heu."), &view).unwrap().count(), 1, "at {at}");
        assert_eq!(search(body("Nädel im Heux"), &view).unwrap().count(), 0, "at {at}");
        assert!(view.longest_read.load(Ordering::Relaxed) <= PIECE);
    }
}

#[test]
fn a_step_ends_when_its_budget_does() {
    let raw = [b"\r\n".as_slice(), &vec![b'x'; 8 << 20]].concat();
    let view = view(&*inbox_of([(raw, Flags::NONE)]));
    let mut search = Search::new(body("absent"), &*view).unwrap();
    let budget = || ScanBudget { bytes: 256 * 1024, rows: 4096, until: None };
    let mut steps = 0;
    while search.step(&*view, budget()).unwrap() == SearchProgress::Running {
        steps += 1;
    }
    assert!((30..=40).contains(&steps), "8 MB at 256 KB a step: {steps}");
    let mut search = Search::new(body("absent"), &*view).unwrap();
    let past = ScanBudget { bytes: usize::MAX, rows: usize::MAX, until: Some(Instant::now()) };
    assert_eq!(search.step(&*view, past).unwrap(), SearchProgress::Running, "no time: one thing a step");
}

#[test]
fn a_search_nested_without_end_is_refused() {
    let view = view(&*inbox_of([(b"\r\n".to_vec(), Flags::NONE)]));
    for depth in [201, 10_000, 1_000_000] {
        let key = (1..depth).fold(SearchKey::All, |key, n| match n % 3 {
            0 => SearchKey::Not(Box::new(key)),
            1 => SearchKey::And(vec![key]),
            _ => SearchKey::Or(Box::new(SearchKey::All), Box::new(key)),
        });
        let refused = Search::new(key, &*view).unwrap_err();
        assert!(matches!(refused, StorageError::Limit { name: "search_depth_max", limit: 200 }), "{refused}");
    }
    let fits = (1..200).fold(SearchKey::All, |key, _| SearchKey::Not(Box::new(key)));
    assert_eq!(search(fits, &*view).unwrap().count(), 0);
}

#[test]
fn messages_that_go_during_a_search_do_not_match() {
    let inbox = inbox_of((0..5).map(|_| (b"\r\nneedle".to_vec(), Flags::NONE)));
    let mut view = view(&*inbox);
    let mut search = Search::new(body("needle"), &*view).unwrap();
    let one = || ScanBudget { bytes: 1, rows: 1, until: None };
    while search.uids().is_empty() {
        search.step(&*view, one()).unwrap();
    }
    let gone: UidSet = [2, 4].into_iter().filter_map(Uid::new).collect();
    inbox.submit(Batch::new().expunge(gone)).unwrap().wait().unwrap();
    view.sync(Expunges::Hold).unwrap();
    while search.step(&*view, one()).unwrap() == SearchProgress::Running {}
    assert_eq!(search.uids().to_string(), "1,3,5");
}

fn keys() -> impl Strategy<Value = SearchKey> {
    let text = || "[ab]{1,3}";
    let leaf = prop_oneof![
        prop::sample::select(Flag::ALL.to_vec()).prop_map(SearchKey::Flag),
        (20u64..40).prop_map(SearchKey::Larger),
        text().prop_map(|text| SearchKey::Header("Subject".to_owned(), text)),
        text().prop_map(SearchKey::Body),
        text().prop_map(SearchKey::Text),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(SearchKey::And),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| SearchKey::Or(Box::new(a), Box::new(b))),
            inner.prop_map(|key| SearchKey::Not(Box::new(key))),
        ]
    })
}

/// What a key means, said as plainly as can be.
fn matches(key: &SearchKey, subject: &str, text: &str, flags: Flags, size: u64) -> bool {
    let any = |key: &SearchKey| matches(key, subject, text, flags, size);
    match key {
        SearchKey::And(keys) => keys.iter().all(any),
        SearchKey::Or(a, b) => any(a) || any(b),
        SearchKey::Not(key) => !any(key),
        SearchKey::Flag(flag) => flags.contains(*flag),
        SearchKey::Larger(than) => size > *than,
        SearchKey::Header(_, what) => subject.contains(what),
        SearchKey::Body(what) => text.contains(what),
        SearchKey::Text(what) => format!("subject: {subject}").contains(what) || text.contains(what),
        _ => unreachable!("not made"),
    }
}

proptest! {
    #[test]
    fn finds_what_the_plain_meaning_finds(
        key in keys(),
        messages in prop::collection::vec(("[ab]{0,6}", "[ab]{0,12}", 0u8..32), 0..8),
        rows in 1usize..5,
        bytes in 1usize..100,
    ) {
        let raw = |subject: &str, text: &str| format!("Subject: {subject}\r\n\r\n{text}");
        let inbox = inbox_of(messages.iter().map(|(subject, text, flags)| {
            (raw(subject, text).into_bytes(), Flags::from_bits(*flags))
        }));
        let view = view(&*inbox);
        let expect: UidSet = (1..).zip(&messages).filter_map(|(n, (subject, text, flags))| {
            let size = raw(subject, text).len() as u64;
            matches(&key, subject, text, Flags::from_bits(*flags), size).then(|| Uid::new(n)).flatten()
        }).collect();
        let mut search = Search::new(key, &*view).unwrap();
        while search.step(&*view, ScanBudget { bytes, rows, until: None }).unwrap() == SearchProgress::Running {}
        prop_assert_eq!(search.uids(), expect);
    }
}
