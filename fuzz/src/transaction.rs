//! Transactions as callers make them: encoded, replayed, and compared with a model of the mailbox.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Arbitrary, Unstructured};
use mailindex::{
    log::{AttributeUpdate, FlagChange, Generation, KeywordAction, Origin, RawLogHeader, Transaction},
    replay::{Limits, ProblemKind, Replay, Stop},
    state::{ExtensionSpec, RecordFlags, State},
};
use mailtypes::{Guid, Keyword, ModSeq, Uid, UidSet};

use crate::{
    snapshot::{check_snapshot_of, through_snapshot},
    state::{Facts, check, check_diff},
};

/// Extensions to write into; keywords and modseqs have calls of their own.
const EXTENSIONS: [ExtensionSpec; 8] = [
    ExtensionSpec::CACHE,
    ExtensionSpec::DBOX_HDR,
    ExtensionSpec::VSIZE,
    ExtensionSpec::HDR_VSIZE,
    ExtensionSpec::HDR_POP3_UIDL,
    ExtensionSpec::record("x-eight", 8, 8),
    ExtensionSpec { name: "x-odd", hdr_size: 5, record_size: 3, record_align: 1, no_shrink: false },
    // The same with other sizes: whoever writes last decides.
    ExtensionSpec { name: "x-odd", hdr_size: 70_000, record_size: 6, record_align: 2, no_shrink: false },
];

const KEYWORDS: [&str; 6] = ["$Forwarded", "$MDNSent", "NonJunk", "x", "Y", "Z[1]"];

/// Appended at once now and then, so that a transaction has to be split.
const APPENDS_MAX: u16 = 6000;

/// Messages of a mailbox; no more are appended then.
const MESSAGES_MAX: u32 = 8000;

/// UIDs as ranges of a small mailbox.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Uids([(u8, u8); 2]);

impl Uids {
    fn set(self) -> UidSet {
        let mut set = UidSet::new();
        for (first, len) in self.0 {
            let first = u32::from(first);
            if let (Some(first), Some(last)) = (Uid::new(first), Uid::new(first + u32::from(len % 16))) {
                set.insert_range(first..=last);
            }
        }
        set
    }
}

#[derive(Arbitrary, Debug)]
enum Op {
    Append { gap: u8, flags: u8 },
    AppendMany { count: u16, flags: u8 },
    Flags { uids: Uids, add: u8, remove: u8, count_modseq: bool, internal: bool },
    FlagsOfAll { add: u8, remove: u8 },
    Keyword { add: bool, name: u8, uids: Uids, internal: bool },
    KeywordReset { uids: Uids, internal: bool },
    RequestExpunge { uids: Uids },
    ExpungeDone { uids: Uids, guid: bool },
    ModSeq { uid: u8, modseq: u32 },
    MinModSeq { modseq: u32 },
    EnableModseqs,
    HeaderUpdate { before: bool, offset: u8, data: [u8; 4] },
    ExtIntro { ext: u8, internal: bool },
    ExtReset { ext: u8, new_reset_id: u8, preserve: bool },
    ExtHeader { ext: u8, offset: u8, data: [u8; 3] },
    ExtRecord { ext: u8, only: Option<u8>, uid: u8, data: u32 },
    ExtIncrement { ext: u8, uid: u8, diff: i8 },
    Attribute { set: bool, shared: bool, name: [u8; 3] },
    Delete { internal: bool },
    Undelete { internal: bool },
    MoveTail,
    KeepWhole,
}

fn origin(internal: bool) -> Origin {
    if internal { Origin::Internal } else { Origin::External }
}

/// A mailbox as plain as can be.
#[derive(Clone, Debug, Default)]
struct Model {
    messages: BTreeMap<Uid, (u8, BTreeSet<&'static str>)>,
}

impl Model {
    fn each(&mut self, uids: &UidSet, mut change: impl FnMut(&mut u8, &mut BTreeSet<&'static str>)) {
        for (_, (flags, keywords)) in self.messages.iter_mut().filter(|(uid, _)| uids.contains(**uid)) {
            change(flags, keywords);
        }
    }

    /// In the order that transactions are written in: appends, flags, keywords, expunges.
    fn apply(&mut self, ops: &[Op], appended: &[(Uid, u8)]) {
        for &(uid, flags) in appended {
            self.messages.insert(uid, (flags & RecordFlags::ALL.0, BTreeSet::new()));
        }
        for op in ops {
            match *op {
                Op::Flags { uids, add, remove, .. } => {
                    self.each(&uids.set(), |flags, _| *flags = (*flags & !remove) | (add & RecordFlags::ALL.0));
                }
                Op::FlagsOfAll { add, remove } => {
                    let all = UidSet::from(Uid::MIN..=Uid::MAX);
                    self.each(&all, |flags, _| *flags = (*flags & !remove) | (add & RecordFlags::ALL.0));
                }
                _ => {}
            }
        }
        for op in ops {
            match *op {
                Op::Keyword { add, name, uids, .. } => {
                    let name = KEYWORDS[usize::from(name) % KEYWORDS.len()];
                    self.each(&uids.set(), |_, keywords| {
                        if add {
                            keywords.insert(name)
                        } else {
                            keywords.remove(name)
                        };
                    });
                }
                Op::KeywordReset { uids, .. } => self.each(&uids.set(), |_, keywords| keywords.clear()),
                _ => {}
            }
        }
        for op in ops {
            if let Op::ExpungeDone { uids, .. } = op {
                let gone = uids.set();
                self.messages.retain(|uid, _| !gone.contains(*uid));
            }
        }
    }

    fn compare(&self, state: &State) {
        let there = state.records_from(0).map(|record| {
            let bits = record.keyword_bits();
            let names = bits.iter().filter_map(|bit| state.keyword(bit)?.keyword());
            let names = names.filter_map(|keyword| KEYWORDS.into_iter().find(|name| *name == keyword.as_str()));
            (record.uid(), (record.record_flags().0, names.collect::<BTreeSet<_>>()))
        });
        assert!(there.eq(self.messages.iter().map(|(uid, is)| (*uid, is.clone()))), "the state is the model's");
    }
}

/// What callers may ask for is encoded so that it replays without a problem, to what the model says, on the state it
/// was made for and on that state read back from its snapshot.
pub fn transaction(data: &[u8]) {
    let Ok(transactions) = Vec::<Vec<Op>>::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut replay = Replay::new(State::empty(), Limits::default());
    replay.enter(&RawLogHeader::first(7, RawLogHeader::FIRST_SEQ, 0, 1)).expect("a first log");
    let mut state = replay.finish();
    let mut model = Model::default();
    // The same mailbox as another process has it, who read a snapshot on the way.
    let mut other = state.clone();
    for (i, ops) in transactions.iter().enumerate() {
        let (transaction, appended) = build(ops, &state);
        let Ok(encoded) = transaction.encode(&state) else { continue };
        assert!(!transaction.is_empty() || encoded.is_empty(), "nothing to write is not written");
        let bytes: Vec<u8> = encoded.iter().flat_map(|encoded| encoded.bytes.iter().copied()).collect();
        let before = state.clone();
        state = replayed(&state, &bytes);
        other = replayed(&other, &bytes);
        model.apply(ops, &appended);
        check(&state);
        check_diff(&before, &state);
        model.compare(&state);
        assert_eq!(Facts::of(&other), Facts::of(&state), "who read a snapshot sees the same");
        assert!(state.highest_modseq() >= before.highest_modseq(), "modseqs only grow");
        if i % 2 == 1 {
            other = through_snapshot(&other).unwrap_or(other);
        }
    }
    check_snapshot_of(&state);
}

fn replayed(state: &State, bytes: &[u8]) -> State {
    let mut replay = Replay::new(state.clone(), Limits::default());
    let applied = replay.apply(bytes);
    assert_eq!(applied.stop, Stop::End, "what was encoded is read to its end");
    let start = state.position().map_or(0, |position| position.offset);
    assert_eq!(applied.end as usize, start as usize + bytes.len(), "and so is the state");
    // Whether a sum leaves its field is not known before.
    let bad = replay.problems().iter().find(|problem| !matches!(problem.kind, ProblemKind::Increment { .. }));
    assert!(bad.is_none(), "what was encoded replays without a problem: {bad:?}");
    replay.finish()
}

/// The transaction that the operations make, and what it appends.
fn build(ops: &[Op], state: &State) -> (Transaction, Vec<(Uid, u8)>) {
    let mut transaction = Transaction::new();
    let mut appended = Vec::new();
    let mut next = state.next_uid();
    let mut append = |transaction: &mut Transaction, gap: u32, flags: u8| {
        let Some(uid) = Uid::new(next.value().saturating_add(gap)).filter(|uid| *uid < Uid::MAX_ON_DISK) else {
            return;
        };
        transaction.append(uid, RecordFlags(flags));
        appended.push((uid, flags));
        next = uid.successor().unwrap_or(uid);
    };
    for op in ops {
        match *op {
            Op::Append { gap, flags } => append(&mut transaction, u32::from(gap % 4), flags),
            Op::AppendMany { count, flags } => {
                let full = state.message_count() + u32::from(APPENDS_MAX) > MESSAGES_MAX;
                let count = if count % 16 == 0 && !full { count % APPENDS_MAX } else { count % 40 };
                (0..count).for_each(|_| append(&mut transaction, 0, flags));
            }
            _ => build_change(&mut transaction, op, state),
        }
    }
    (transaction, appended)
}

fn build_change(transaction: &mut Transaction, op: &Op, state: &State) {
    match *op {
        Op::Flags { uids, add, remove, count_modseq, internal } => {
            let change = FlagChange { add: RecordFlags(add), remove: RecordFlags(remove), count_modseq };
            transaction.flags(&uids.set(), change, origin(internal));
        }
        Op::FlagsOfAll { add, remove } => {
            let change = FlagChange { add: RecordFlags(add), remove: RecordFlags(remove), count_modseq: false };
            transaction.flags(&UidSet::from(Uid::MIN..=Uid::MAX), change, Origin::External);
        }
        Op::Keyword { add, name, uids, internal } => {
            let action = if add { KeywordAction::Add } else { KeywordAction::Remove };
            let keyword = Keyword::new(KEYWORDS[usize::from(name) % KEYWORDS.len()]).expect("a keyword");
            transaction.keyword(action, &keyword, &uids.set(), origin(internal));
        }
        Op::KeywordReset { uids, internal } => transaction.keyword_reset(&uids.set(), origin(internal)),
        Op::RequestExpunge { uids } => transaction.request_expunge(&uids.set()),
        Op::ExpungeDone { uids, guid } => {
            let guid = Guid([u8::from(guid); 16]);
            transaction.expunge_done(uids.set().iter().map(|uid| (uid, guid)));
        }
        Op::ModSeq { uid, modseq } => {
            if let (Some(uid), Some(modseq)) = (Uid::new(uid.into()), ModSeq::new(modseq.into())) {
                transaction.modseq(uid, modseq);
            }
        }
        Op::MinModSeq { modseq } => ModSeq::new(modseq.into()).into_iter().for_each(|m| transaction.min_modseq(m)),
        Op::EnableModseqs => transaction.enable_modseqs(),
        // Who raises next_uid ahead of his appends contradicts himself.
        Op::HeaderUpdate { before: true, offset, .. } if (25..32).contains(&offset) => {}
        Op::HeaderUpdate { before: true, offset, data } => transaction.header_update_before(offset.into(), &data),
        Op::HeaderUpdate { before: false, offset, data } => transaction.header_update(offset.into(), &data),
        Op::Attribute { set, shared, name } => {
            let (timestamp, value_len) = (1, if set { 2 } else { 0 });
            let update = AttributeUpdate { set, shared, name: name.to_vec(), timestamp, value_len };
            transaction.attribute_update(update);
        }
        Op::Delete { internal } => transaction.index_deleted(origin(internal)),
        Op::Undelete { internal } => transaction.index_undeleted(origin(internal)),
        Op::MoveTail => transaction.move_tail(),
        Op::KeepWhole => transaction.keep_whole(),
        _ => build_extension(transaction, op, state),
    }
}

fn build_extension(transaction: &mut Transaction, op: &Op, state: &State) {
    let spec = |ext: u8| &EXTENSIONS[usize::from(ext) % EXTENSIONS.len()];
    match *op {
        Op::ExtIntro { ext, internal } => transaction.ext_intro(spec(ext), origin(internal)),
        Op::ExtReset { ext, new_reset_id, preserve } => {
            transaction.ext_reset(spec(ext), new_reset_id.into(), preserve, Origin::External);
        }
        Op::ExtHeader { ext, offset, data } => {
            transaction.ext_header(spec(ext), offset.into(), &data, Origin::External);
        }
        Op::ExtRecord { ext, only, uid, data } => {
            let (spec, data) = (spec(ext), data.to_le_bytes());
            let generation = only.map_or(Generation::Current, |reset_id| Generation::Only(reset_id.into()));
            let data = &data[..usize::from(spec.record_size).min(4)];
            if let Some(uid) = Uid::new(uid.into()) {
                transaction.ext_record(spec, generation, uid, data, Origin::External);
            }
        }
        Op::ExtIncrement { ext, uid, diff } => {
            // A larger field of this name may be there that is no number.
            let spec = spec(ext);
            let number = state.extension(spec.name).is_none_or(|ext| matches!(ext.record_size(), 0 | 4 | 8));
            if let (Some(uid), true) = (Uid::new(uid.into()), number) {
                transaction.ext_increment(spec, uid, diff.into(), Origin::External);
            }
        }
        _ => {}
    }
}
