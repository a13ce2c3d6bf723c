//! Random histories of two mailboxes, each with a session that has it open, compared with a model after every step.

use std::{collections::BTreeMap, sync::Arc};

use mailstore::{Batch, Columns, Cursor, Expunges, FlagAction, FlagChange, Mailbox, Rows, ScanBudget, View, ViewAs};
use mailtypes::{Flags, ModSeq, Uid, UidSet};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Make, commit, keyword, message, name, save, set, uid};

const KEYWORDS: [&str; 3] = ["one", "two", "three"];
/// UIDs that operations name; few, so that most exist.
const UID_MAX: u32 = 12;

#[derive(Clone, Debug)]
enum Op {
    Save { mailbox: usize, flags: u8, keywords: u8 },
    Flags { mailbox: usize, uids: Vec<u32>, action: FlagAction, flags: u8, keywords: u8, back: Option<u64> },
    Copy { from: usize, to: usize, uids: Vec<u32> },
    Expunge { mailbox: usize, uids: Vec<u32> },
    Sync { mailbox: usize, expunges: Expunges },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let uids = || prop::collection::vec(1..=UID_MAX, 0..6);
    let mailbox = || 0..2usize;
    let action = prop::sample::select(vec![FlagAction::Add, FlagAction::Remove, FlagAction::Replace]);
    let op = prop_oneof![
        3 => (mailbox(), 0..32u8, 0..8u8).prop_map(|(mailbox, flags, keywords)| Op::Save { mailbox, flags, keywords }),
        3 => (mailbox(), uids(), action, 0..32u8, 0..8u8, prop::option::of(0..6u64)).prop_map(
            |(mailbox, uids, action, flags, keywords, back)| Op::Flags { mailbox, uids, action, flags, keywords, back }
        ),
        1 => (mailbox(), mailbox(), uids()).prop_map(|(from, to, uids)| Op::Copy { from, to, uids }),
        1 => (mailbox(), uids()).prop_map(|(mailbox, uids)| Op::Expunge { mailbox, uids }),
        2 => (mailbox(), prop::bool::ANY).prop_map(|(mailbox, hold)| Op::Sync {
            mailbox,
            expunges: if hold { Expunges::Hold } else { Expunges::Apply }
        }),
    ];
    prop::collection::vec(op, 1..30)
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Mail {
    /// Which [`message`] it is.
    message: u32,
    flags: u8,
    keywords: u8,
}

/// A mailbox as it should be, and one session's idea of it.
#[derive(Debug, Default)]
struct Model {
    mails: BTreeMap<u32, Mail>,
    uid_next: u32,
    /// What the session shows: true where the message is gone.
    shown: Vec<(u32, bool)>,
}

struct Real {
    mailbox: Arc<dyn Mailbox>,
    session: Box<dyn View>,
    highest_modseq: ModSeq,
}

fn keywords(bits: u8) -> Vec<mailtypes::Keyword> {
    let chosen = KEYWORDS.iter().enumerate().filter(|(n, _)| bits & 1 << n != 0);
    chosen.map(|(_, name)| keyword(name)).collect()
}

pub(super) fn run(make: Make<'_>, cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&ops(), |ops| {
        History::new(make).run(&ops);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

struct History {
    models: [Model; 2],
    reals: [Real; 2],
    messages: u32,
    /// Keeps the backend alive.
    _storage: Arc<dyn mailstore::MailStorage>,
}

impl History {
    fn new(make: Make<'_>) -> Self {
        let storage = make();
        storage.create(&name("other")).unwrap();
        let real = |mailbox: &str| {
            let mailbox = storage.mailbox(&name(mailbox)).unwrap();
            let session = mailbox.view(&ViewAs::default()).unwrap();
            Real { highest_modseq: session.highest_modseq(), mailbox, session }
        };
        let reals = [real("INBOX"), real("other")];
        let model = || Model { uid_next: 1, ..Model::default() };
        Self { models: [model(), model()], reals, messages: 0, _storage: storage }
    }

    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Save { mailbox, flags, keywords } => self.save(*mailbox, *flags, *keywords),
                Op::Flags { mailbox, uids, action, flags, keywords, back } => {
                    self.flags(*mailbox, uids, *action, *flags, *keywords, *back);
                }
                Op::Copy { from, to, uids } => self.copy(*from, *to, uids),
                Op::Expunge { mailbox, uids } => self.expunge(*mailbox, uids),
                Op::Sync { mailbox, expunges } => self.sync(*mailbox, *expunges),
            }
            for (model, real) in self.models.iter().zip(&mut self.reals) {
                compare(model, real);
            }
        }
        for mailbox in 0..2 {
            self.sync(mailbox, Expunges::Apply);
        }
    }

    fn save(&mut self, at: usize, flags: u8, keyword_bits: u8) {
        self.messages += 1;
        let mailbox = &*self.reals[at].mailbox;
        let message = save(mailbox, &message(self.messages), None);
        let batch = Batch::new().save(message, Flags::from_bits(flags), keywords(keyword_bits));
        let committed = commit(mailbox, batch);
        let mail = Mail { message: self.messages, flags, keywords: keyword_bits };
        let uid = self.models[at].add(mail);
        assert_eq!(committed.saved, [super::uid(uid)]);
    }

    fn flags(&mut self, at: usize, uids: &[u32], action: FlagAction, flags: u8, bits: u8, back: Option<u64>) {
        let (model, real) = (&mut self.models[at], &self.reals[at]);
        let rows = scan(&*real.mailbox.view(&ViewAs::default()).unwrap());
        let unchanged_since =
            back.and_then(|back| ModSeq::new(real.highest_modseq.value().saturating_sub(back).max(1)));
        let uids: UidSet = set(uids.iter().map(|&n| uid(n)));
        let change = FlagChange {
            uids: uids.clone(),
            action,
            flags: Flags::from_bits(flags),
            keywords: keywords(bits),
            unchanged_since,
        };
        let committed = commit(&*real.mailbox, Batch::new().flags(change));
        let mut refused = UidSet::new();
        for row in rows.rows.iter().filter(|row| uids.contains(row.uid)) {
            if unchanged_since.is_some_and(|since| row.modseq > since) {
                refused.insert(row.uid);
                continue;
            }
            let mail = model.mails.get_mut(&row.uid.value()).unwrap();
            let changed = |old: u8, new: u8| match action {
                FlagAction::Add => old | new,
                FlagAction::Remove => old & !new,
                FlagAction::Replace => new,
            };
            (mail.flags, mail.keywords) = (changed(mail.flags, flags), changed(mail.keywords, bits));
        }
        assert_eq!(committed.modified, refused);
    }

    fn copy(&mut self, from: usize, to: usize, uids: &[u32]) {
        let uids: UidSet = set(uids.iter().map(|&n| uid(n)));
        let batch = Batch::new().copy(Arc::clone(&self.reals[from].mailbox), uids.clone());
        let committed = commit(&*self.reals[to].mailbox, batch);
        let sources: Vec<(u32, Mail)> = self.models[from]
            .mails
            .iter()
            .filter(|(n, _)| uids.contains(uid(**n)))
            .map(|(&n, m)| (n, m.clone()))
            .collect();
        let expect: Vec<(Uid, Uid)> =
            sources.into_iter().map(|(source, mail)| (uid(source), uid(self.models[to].add(mail)))).collect();
        assert_eq!(committed.copied, expect);
    }

    fn expunge(&mut self, at: usize, uids: &[u32]) {
        let uids: UidSet = set(uids.iter().map(|&n| uid(n)));
        let committed = commit(&*self.reals[at].mailbox, Batch::new().expunge(uids.clone()));
        let gone: UidSet = set(uids.iter().filter(|n| self.models[at].mails.contains_key(&n.value())));
        self.models[at].mails.retain(|&n, _| !gone.contains(uid(n)));
        assert_eq!(committed.expunged, gone);
    }

    /// The session's idea, moved on by nothing but what the sync tells, must be what the view shows then.
    fn sync(&mut self, at: usize, expunges: Expunges) {
        let (model, real) = (&mut self.models[at], &mut self.reals[at]);
        let changes = real.session.sync(expunges).unwrap();
        let told: Vec<u32> = changes.expunged.iter().map(|seq| seq.value()).collect();
        assert!(told.windows(2).all(|pair| pair[0] > pair[1]), "descending: {told:?}");
        for seq in told {
            let (uid, _) = model.shown.remove(seq as usize - 1);
            assert!(!model.mails.contains_key(&uid), "message {uid} is still there");
        }
        for (uid, gone) in &mut model.shown {
            *gone = !model.mails.contains_key(uid);
            assert!(!*gone || expunges == Expunges::Hold, "message {uid} went untold");
        }
        model.shown.extend(changes.appended.iter().map(|uid| (uid.value(), false)));
        let rows = scan(&*real.session);
        let shown: Vec<(u32, bool)> = rows.rows.iter().map(|row| (row.uid.value(), row.expunged)).collect();
        assert_eq!(shown, model.shown);
        let alive: Vec<u32> = shown.iter().filter(|(_, gone)| !gone).map(|&(uid, _)| uid).collect();
        assert_eq!(alive, model.mails.keys().copied().collect::<Vec<_>>());
    }
}

impl Model {
    fn add(&mut self, mail: Mail) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.mails.insert(uid, mail);
        uid
    }
}

fn scan(view: &dyn View) -> Rows {
    let mut rows = Rows::new();
    let columns = Columns::flags().with_header("Subject");
    let budget = ScanBudget { bytes: 1 << 30, rows: 1 << 30, until: None };
    let rest = view.scan(&view.uids(), Cursor::START, &columns, budget, &mut rows).unwrap();
    assert_eq!(rest, None);
    rows
}

/// A new view shows the model; the session shows what it showed.
fn compare(model: &Model, real: &mut Real) {
    let view = real.mailbox.view(&ViewAs::default()).unwrap();
    let rows = scan(&*view);
    assert_eq!(rows.rows.len(), model.mails.len());
    for (row, (&uid, mail)) in rows.rows.iter().zip(&model.mails) {
        assert_eq!((row.uid.value(), row.flags.bits()), (uid, mail.flags));
        let has: Vec<_> = rows.keywords(row).to_vec();
        let expect = keywords(mail.keywords);
        assert!(has.len() == expect.len() && expect.iter().all(|keyword| has.contains(keyword)), "{has:?} {expect:?}");
        assert_eq!(rows.header(row, 0), format!("Subject: message {}\n", mail.message).as_bytes());
        assert!(row.modseq <= view.highest_modseq());
    }
    assert_eq!(view.uid_next().value(), model.uid_next);
    assert!(view.highest_modseq() >= real.highest_modseq, "mod-sequences only grow");
    real.highest_modseq = view.highest_modseq();
    let shown: Vec<u32> = real.session.uids().iter().map(Uid::value).collect();
    assert_eq!(shown, model.shown.iter().map(|&(uid, _)| uid).collect::<Vec<_>>(), "a view changes in sync only");
}
