//! Random changes: written as transactions, replayed, compared with the map; the same by way of snapshots.

mod model;

use mailtypes::{Flags, Guid, Keyword, ModSeq, Uid, UidSet};
use proptest::prelude::*;

use super::*;
use crate::{
    log::{FlagChange, Generation, KeywordAction, Origin, Transaction},
    snapshot,
    state::{ExtensionSpec, RecordFlags, diff},
};
use model::Model;

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    EnableModseqs,
    Reset(u32, bool),
    Append(u32, u8),
    Flags(Vec<(u32, u32)>, u8, u8, bool),
    Field(usize, u32, u32),
    Increment(u32, i32),
    Keyword(bool, usize, Vec<(u32, u32)>),
    KeywordReset(Vec<(u32, u32)>),
    Modseq(u32, u64),
    Expunge(Vec<(u32, u32)>),
}

const FIELDS: [ExtensionSpec; 3] = [ExtensionSpec::CACHE, ExtensionSpec::VSIZE, ExtensionSpec::record("odd", 3, 1)];
const COUNTER: ExtensionSpec = ExtensionSpec::record("ref", 4, 4);
const KEYWORDS: [&str; 10] = ["a", "B", "c", "d", "e", "f", "g", "h", "$i", "A"];

/// UIDs in a mailbox that begins with about this many.
fn ranges(size: u32) -> impl Strategy<Value = Vec<(u32, u32)>> + Clone {
    let one = (1..size + 12, prop_oneof![4 => 0u32..4, 1 => 0..size + 1]);
    prop::collection::vec(one.prop_map(|(first, more)| (first, first + more)), 1..4)
}

fn op(size: u32) -> impl Strategy<Value = Op> {
    let set = ranges(size);
    prop_oneof![
        1 => Just(Op::EnableModseqs),
        1 => (1u32..5, any::<bool>()).prop_map(|(id, preserve)| Op::Reset(id, preserve)),
        3 => (1u32..4, 0u8..0x20).prop_map(|(n, flags)| Op::Append(n, flags)),
        4 => (set.clone(), any::<u8>(), any::<u8>(), any::<bool>())
            .prop_map(|(s, add, remove, internal)| Op::Flags(s, add & 0xdf, remove & 0xdf, internal)),
        3 => (0usize..3, 1..size + 9, 1u32..1 << 24).prop_map(|(f, n, value)| Op::Field(f, n, value)),
        1 => (1..size + 9, -3i32..9).prop_map(|(n, diff)| Op::Increment(n, diff)),
        4 => (any::<bool>(), 0usize..10, set.clone()).prop_map(|(remove, k, s)| Op::Keyword(remove, k, s)),
        1 => set.clone().prop_map(Op::KeywordReset),
        1 => (1..size + 9, 1u64..200).prop_map(|(n, modseq)| Op::Modseq(n, modseq)),
        2 => set.prop_map(Op::Expunge),
    ]
}

fn uids(ranges: &[(u32, u32)]) -> UidSet {
    let mut set = UidSet::new();
    ranges.iter().for_each(|&(a, b)| set.insert_range(uid(a)..=uid(b)));
    set
}

fn transaction(state: &State, ops: &[Op]) -> Transaction {
    let mut t = Transaction::new();
    let mut next = state.next_uid().value();
    for op in ops {
        match op {
            Op::EnableModseqs => t.enable_modseqs(),
            Op::Reset(id, preserve) => t.ext_reset(&ExtensionSpec::CACHE, *id, *preserve, Origin::External),
            Op::Append(n, flags) => {
                (next..next + n).for_each(|n| t.append(uid(n), Flags::from_bits(*flags)));
                next += n;
            }
            Op::Flags(set, add, remove, internal) => {
                let change = FlagChange { add: RecordFlags(*add), remove: RecordFlags(*remove), count_modseq: false };
                t.flags(&uids(set), change, if *internal { Origin::Internal } else { Origin::External });
            }
            Op::Field(field, n, value) => {
                let spec = &FIELDS[*field];
                let data = &value.to_le_bytes()[..usize::from(spec.record_size)];
                t.ext_record(spec, Generation::Current, uid(*n), data, Origin::External);
            }
            Op::Increment(n, diff) => t.ext_increment(&COUNTER, uid(*n), *diff, Origin::External),
            Op::Keyword(remove, k, set) => {
                let action = if *remove { KeywordAction::Remove } else { KeywordAction::Add };
                t.keyword(action, &Keyword::new(KEYWORDS[*k]).unwrap(), &uids(set), Origin::External);
            }
            Op::KeywordReset(set) => t.keyword_reset(&uids(set), Origin::External),
            Op::Modseq(n, modseq) => t.modseq(uid(*n), ModSeq::new(*modseq).unwrap()),
            Op::Expunge(set) => {
                let gone = uids(set).intersection(&state.uids());
                t.expunge_done(gone.iter().map(|uid| (uid, Guid::ZERO)));
            }
        }
    }
    t
}

/// What the calls mean, without any bytes: flags and keywords after them.
fn intended(before: &State, ops: &[Op]) -> Vec<(u32, u8, Vec<String>)> {
    use std::collections::{BTreeMap, BTreeSet};
    let mut messages: BTreeMap<u32, (u8, BTreeSet<String>)> = BTreeMap::new();
    for record in before.records_from(0) {
        let names = record
            .keyword_bits()
            .iter()
            .map(|bit| String::from_utf8(before.keyword(bit).unwrap().as_bytes().to_ascii_lowercase()).unwrap());
        messages.insert(record.uid().value(), (record.record_flags().0, names.collect()));
    }
    let mut next = before.next_uid().value();
    for op in ops {
        if let Op::Append(n, flags) = op {
            (next..next + n).for_each(|n| drop(messages.insert(n, (*flags, BTreeSet::new()))));
            next += n;
        }
    }
    let inside = |set: &[(u32, u32)], uid: &u32| set.iter().any(|(a, b)| (a..=b).contains(&uid));
    for (uid, (flags, keywords)) in &mut messages {
        for op in ops {
            match op {
                Op::Flags(set, add, remove, _) if inside(set, uid) => *flags = (*flags & !remove) | add,
                Op::Keyword(true, k, set) if inside(set, uid) => {
                    keywords.remove(&KEYWORDS[*k].to_lowercase());
                }
                Op::Keyword(false, k, set) if inside(set, uid) => {
                    keywords.insert(KEYWORDS[*k].to_lowercase());
                }
                Op::KeywordReset(set) if inside(set, uid) => keywords.clear(),
                _ => {}
            }
        }
    }
    let gone = |uid: &u32| {
        before.contains(Uid::new(*uid).unwrap()) && ops.iter().any(|op| matches!(op, Op::Expunge(s) if inside(s, uid)))
    };
    let left = messages.into_iter().filter(|(uid, _)| !gone(uid));
    left.map(|(uid, (flags, keywords))| (uid, flags, keywords.into_iter().collect())).collect()
}

fn told(state: &State) -> Vec<(u32, u8, Vec<String>)> {
    let record = |record: crate::state::RecordRef<'_>| {
        let names = record.keyword_bits().iter().map(|bit| state.keyword(bit).unwrap());
        let mut names: Vec<_> = names.map(|k| String::from_utf8(k.as_bytes().to_ascii_lowercase()).unwrap()).collect();
        names.sort();
        (record.uid().value(), record.record_flags().0, names)
    };
    state.records_from(0).map(record).collect()
}

fn fresh() -> State {
    let mut replay = Replay::new(State::empty(), Limits::default());
    replay.enter(&RawLogHeader::first(7, 2, 1, 1)).unwrap();
    replay.finish()
}

fn replay(state: &State, bytes: &[u8]) -> State {
    let mut replay = Replay::new(state.clone(), Limits::default());
    let applied = replay.apply(bytes);
    assert_eq!(applied.stop, Stop::End);
    let serious = |p: &&Problem| !matches!(p.kind, ProblemKind::Increment { .. });
    assert!(!replay.problems().iter().any(|p| serious(&p)), "{:?}", replay.problems());
    replay.finish()
}

/// The difference, one message at a time.
fn naive_diff(a: &State, b: &State) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let list = |s: &State| s.uids().iter().map(Uid::value).collect::<Vec<_>>();
    let (x, y) = (list(a), list(b));
    let gone = x.iter().copied().filter(|n| !b.contains(uid(*n))).collect();
    let new = y.iter().copied().filter(|n| !a.contains(uid(*n))).collect();
    let changed = x.into_iter().filter(|&n| {
        let (Some(p), Some(q)) = (a.record_of(uid(n)), b.record_of(uid(n))) else { return false };
        let bits = |r: &crate::state::RecordRef<'_>| r.keyword_bits().iter().collect::<Vec<_>>();
        p.record_flags() != q.record_flags() || p.stored_modseq() != q.stored_modseq() || bits(&p) != bits(&q)
    });
    (gone, new, changed.collect())
}

fn scenario() -> impl Strategy<Value = (u32, Vec<Vec<Op>>, usize)> {
    prop_oneof![3 => Just(0u32), 2 => Just(30), 1 => Just(2300)].prop_flat_map(|size| {
        let batches = prop::collection::vec(prop::collection::vec(op(size), 1..6), 1..12);
        (Just(size), batches, 0usize..12)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn replay_equals_the_map((size, batches, snapshot_at) in scenario()) {
        let mut state = fresh();
        let mut log = Vec::new();
        let mut model = Model::new();
        let mut middle: Option<(Vec<u8>, usize)> = None;
        let first = if size > 0 { vec![vec![Op::Append(size, 0)]] } else { vec![] };
        for (i, ops) in first.iter().chain(&batches).enumerate() {
            let before = state.clone();
            let encoded = transaction(&state, ops).encode(&state).unwrap();
            for piece in &encoded {
                state = replay(&state, &piece.bytes);
                log.extend(&piece.bytes);
            }
            prop_assert_eq!(told(&state), intended(&before, ops));
            let d = diff(&before, &state);
            let numbers = |set: &UidSet| set.iter().map(Uid::value).collect::<Vec<_>>();
            prop_assert_eq!((numbers(&d.expunged), numbers(&d.appended), numbers(&d.flags_changed)),
                naive_diff(&before, &state));
            if i == snapshot_at {
                middle = Some((snapshot::encode(&state, &Default::default()).unwrap(), log.len()));
            }
        }
        model.apply(&log, 40);
        model.check(&state);

        // All at once is the same as step by step.
        let whole = replay(&fresh(), &log);
        model.check(&whole);
        prop_assert!(diff(&whole, &state).is_empty());

        // A snapshot says the same as the state.
        let file = snapshot::encode(&state, &Default::default()).unwrap();
        let decoded = snapshot::decode(&file).unwrap();
        prop_assert_eq!(decoded.problems.len(), usize::from(state.uid_validity().is_none() && state.next_uid() != Uid::MIN));
        // Zero modseqs were resolved, so no base is needed any more.
        let mut resolved = model.clone();
        let base = resolved.base;
        if resolved.tracked {
            resolved.messages.values_mut().filter(|m| m.modseq == 0).for_each(|m| m.modseq = base);
        }
        let known = if decoded.state.modseq_is_known() { decoded.state } else { decoded.state.with_modseq(model.counter) };
        resolved.check(&known);
        prop_assert_eq!(known.position(), state.position());
        prop_assert_eq!(snapshot::encode(&known, &Default::default()).unwrap(), file, "encoding is stable");

        // A snapshot from the middle and the rest of the log give the same.
        if let Some((file, at)) = middle {
            let mut early = snapshot::decode(&file).unwrap().state;
            if !early.modseq_is_known() {
                let mut whole = zerocopy::IntoBytes::as_bytes(&RawLogHeader::first(7, 2, 1, 1)).to_vec();
                whole.extend(&log);
                early = early.with_modseq(crate::log::modseq_at(&whole, 40 + at as u32).unwrap());
            }
            let late = replay(&early, &log[at..]);
            prop_assert_eq!(told(&late), told(&state));
            let modseqs = |s: &State| s.records_from(0).map(|r| r.modseq()).collect::<Vec<_>>();
            prop_assert_eq!(modseqs(&late), modseqs(&state));
            prop_assert_eq!(late.highest_modseq(), state.highest_modseq());
        }
    }
}

fn header(seq: u32, prev: (u32, u32), modseq: u64) -> RawLogHeader {
    let mut header = RawLogHeader::first(7, seq, 1, modseq);
    (header.prev_file_seq, header.prev_file_offset) = (prev.0.into(), prev.1.into());
    header
}

#[test]
fn logs_are_entered_in_their_order() {
    let mut t = Transaction::new();
    t.append(uid(1), Flags::NONE);
    let bytes: Vec<u8> = t.encode(&fresh()).unwrap().remove(0).bytes;
    let mut replay = Replay::new(fresh(), Limits::default());
    replay.apply(&bytes);
    let end = replay.position().unwrap().offset;
    assert!(matches!(replay.enter(&header(3, (2, end + 4), 2)), Err(ChainError::Gap { .. })));
    assert!(matches!(replay.enter(&header(4, (3, end), 2)), Err(ChainError::Gap { .. })));
    assert_eq!(replay.enter(&header(2, (0, 0), 1)), Ok(()), "the same file again");
    assert_eq!(replay.enter(&header(3, (2, end), 2)), Ok(()));
    let mut other = header(4, (3, 40), 2);
    other.indexid = 8.into();
    assert_eq!(replay.enter(&other), Err(ChainError::IndexId { log: 8, state: 7 }));
    let state = replay.finish();
    assert_eq!(state.position(), Some(LogPosition { file_seq: 3, offset: 40 }));
    assert_eq!((state.message_count(), state.highest_modseq().value()), (1, 2));
    let mut replay = Replay::new(state, Limits::default());
    assert_eq!(replay.enter(&header(9, (0, 0), 50)), Ok(()), "a reset");
    let state = replay.finish();
    assert_eq!((state.message_count(), state.highest_modseq().value()), (0, 50));
}

#[test]
fn requests_wait_for_the_tail() {
    let set = UidSet::from(uid(2)..=uid(3));
    let mut t = Transaction::new();
    (1..=5).for_each(|n| t.append(uid(n), Flags::NONE));
    t.move_tail();
    let state = replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes);
    assert!(!state.has_pending());
    let mut t = Transaction::new();
    t.request_expunge(&set);
    let request = t.encode(&state).unwrap().remove(0).bytes;
    let state = replay(&state, &request);
    assert_eq!((state.requested_expunges(), state.message_count()), (set.clone(), 5));
    assert!(state.has_pending() && !state.has_pending_other_than_expunges());
    assert!(state.tail_offset() < state.position().unwrap().offset);
    let mut t = Transaction::new();
    t.expunge_done([(uid(2), Guid::ZERO)]);
    let state = replay(&state, &t.encode(&state).unwrap()[0].bytes);
    assert_eq!(state.requested_expunges(), UidSet::from(uid(3)..=uid(3)));
    // A snapshot keeps its tail below what is not done, and the log from there brings it back.
    let decoded = snapshot::decode(&snapshot::encode(&state, &Default::default()).unwrap()).unwrap().state;
    assert_eq!((decoded.recorded_tail(), decoded.tail_offset()), (state.tail_offset(), state.tail_offset()));
    assert!(decoded.has_pending(), "to be safe");
    let mut recall = Replay::new(decoded, Limits::default());
    recall.recall_pending(&request, state.tail_offset());
    let decoded = recall.finish();
    assert_eq!(decoded.requested_expunges(), UidSet::from(uid(3)..=uid(3)));
    assert!(!decoded.has_pending_other_than_expunges());
    let mut t = Transaction::new();
    t.move_tail();
    let state = replay(&state, &t.encode(&state).unwrap()[0].bytes);
    assert!(!state.has_pending());
}

#[test]
fn flags_are_asked_for_until_the_tail_moves() {
    let mut t = Transaction::new();
    (1..=5).for_each(|n| t.append(uid(n), Flags::NONE));
    let state = replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes);
    let mut t = Transaction::new();
    // Of the messages that are not there nothing is asked.
    t.flags(&UidSet::from(uid(4)..=uid(9)), FlagChange::add(Flags::ALL), Origin::Internal);
    t.flags(&UidSet::from(uid(1)..=uid(1)), FlagChange::add(Flags::ALL), Origin::External);
    let state = replay(&state, &t.encode(&state).unwrap()[0].bytes);
    let between = state.position().unwrap().offset;
    let set = |first, last| UidSet::from(uid(first)..=uid(last));
    let all = FlagRequest::Flags(RecordFlags::from(Flags::ALL).0);
    assert_eq!(state.flag_requests(0), [(all.clone(), set(4, 5))]);
    let mut t = Transaction::new();
    t.keyword(KeywordAction::Add, &Keyword::new("word").unwrap(), &UidSet::from(uid(2)..=uid(2)), Origin::Internal);
    let state = replay(&state, &t.encode(&state).unwrap()[0].bytes);
    let word = FlagRequest::Keyword(b"word"[..].into());
    assert_eq!(state.flag_requests(between), [(word.clone(), set(2, 2))]);
    assert_eq!(state.flag_requests(0), [(all, set(4, 5)), (word, set(2, 2))]);
    let mut t = Transaction::new();
    t.move_tail();
    let state = replay(&state, &t.encode(&state).unwrap()[0].bytes);
    assert!(state.flag_requests(0).is_empty() && !state.has_pending());
}

#[test]
fn what_is_wrong_is_told_and_skipped() {
    let state = {
        let mut t = Transaction::new();
        (1..=3).for_each(|n| t.append(uid(n), Flags::NONE));
        replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes)
    };
    let record = |word: u32, payload: &[u8]| {
        let mut bytes = crate::encode_offset(8 + payload.len() as u32).unwrap().to_vec();
        bytes.extend(word.to_le_bytes());
        bytes.extend(payload);
        bytes
    };
    let check = |bytes: &[u8], want: ProblemKind| {
        let mut replay = Replay::new(state.clone(), Limits::default());
        let mut bytes = bytes.to_vec();
        let wrong_at = replay.position().unwrap().offset;
        bytes.extend(record(0x1000_0004, &[1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0]));
        assert_eq!(replay.apply(&bytes).stop, Stop::End);
        assert_eq!(replay.problems(), [Problem { offset: wrong_at, kind: want }]);
        assert_eq!(replay.finish().seen_count(), 1, "what follows counts");
    };
    check(&record(0x1000_0002, &[3, 0, 0, 0, 0, 0, 0, 0]), ProblemKind::AppendUid { uid: 3, next_uid: 4 });
    check(&record(0x1000_4000, &[0; 4]), ProblemKind::UnknownType(0x1000_4000));
    check(&record(0x1000_0200, &[0; 8]), ProblemKind::NoIntro);
    check(&record(0x1000_0020, &[119, 0, 4, 0, 0, 0, 0, 0]), ProblemKind::HeaderUpdate { offset: 119, size: 4 });
    check(&record(0x1000_0020, &[64, 0, 4, 0, 0, 0, 1, 0]), ProblemKind::Tail { from: 40, to: 0x1_0000 });
    check(&record(0x1000_0020, &[64, 0, 4, 0, 1, 0, 0, 0]), ProblemKind::Tail { from: 40, to: 1 });
}

#[test]
fn a_header_update_never_lowers_next_uid_nor_touches_the_snapshots_fields() {
    let mut t = Transaction::new();
    t.append(uid(9), Flags::NONE);
    t.header_update(28, &[4, 0, 0, 0]);
    t.header_update(24, &[6, 0, 0, 0]);
    let state = replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes);
    assert_eq!((state.next_uid(), state.uid_validity().unwrap().value()), (uid(10), 6));
}

/// Found by fuzzing: an introduction may shrink header data to nothing, also of an extension that has no field. The
/// snapshot then written was refused, because an extension must have a size.
#[test]
fn an_extension_is_never_left_without_any_size() {
    let mut t = Transaction::new();
    t.ext_header(&ExtensionSpec::DBOX_HDR, 0, &[7; 24], Origin::External);
    let state = replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes);
    let mut intro = crate::encode_offset(28).unwrap().to_vec();
    intro.extend(0x1000_0040u32.to_le_bytes());
    intro.extend([0; 20]);
    let state = replay(&state, &intro);
    assert_eq!(state.extension("dbox-hdr").map(|ext| ext.hdr()), Some(&[7; 24][..]));
    let file = snapshot::encode(&state, &snapshot::SnapshotStamp::default()).unwrap();
    assert_eq!(snapshot::decode(&file).unwrap().state.extensions().len(), 1);
}

#[test]
fn a_stale_generation_is_ignored_until_it_is_reset() {
    let write = |state: &State, generation, reset: Option<u32>, value: u8| {
        let mut t = Transaction::new();
        if let Some(id) = reset {
            t.ext_reset(&ExtensionSpec::CACHE, id, false, Origin::External);
        }
        t.ext_record(&ExtensionSpec::CACHE, generation, uid(1), &[value, 0, 0, 0], Origin::External);
        replay(state, &t.encode(state).unwrap()[0].bytes)
    };
    let mut t = Transaction::new();
    t.append(uid(1), Flags::NONE);
    let state = replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes);
    let offset = |state: &State| state.record(0).unwrap().cache_offset();
    let state = write(&state, Generation::Only(5), None, 1);
    assert_eq!((state.cache_file_seq(), offset(&state)), (Some(5), Some(1)));
    let state = write(&state, Generation::Only(6), None, 2);
    assert_eq!((state.cache_file_seq(), offset(&state)), (Some(5), Some(1)), "of another cache file");
    let state = write(&state, Generation::Only(6), Some(6), 3);
    assert_eq!((state.cache_file_seq(), offset(&state)), (Some(6), Some(3)));
}

#[test]
fn limits_hold_and_leave_the_state_as_it_was() {
    let mut t = Transaction::new();
    (1..=5000).for_each(|n| t.append(uid(n), Flags::NONE));
    t.keep_whole();
    let state = replay(&fresh(), &t.encode(&fresh()).unwrap()[0].bytes);
    let mut log = Vec::new();
    for _ in 0..1000 {
        let mut t = Transaction::new();
        t.flags(&state.uids(), FlagChange::add(RecordFlags(8)), Origin::External);
        log.extend(&t.encode(&state).unwrap()[0].bytes);
    }
    let mut replay = Replay::new(state.clone(), Limits { work_max: 1_000_000, ..Limits::default() });
    let applied = replay.apply(&log);
    assert!(matches!(applied.stop, Stop::Limit { what: "work", .. }));
    assert_eq!(applied.end, state.position().unwrap().offset);
    assert!(diff(&state, &replay.finish()).is_empty());

    // Header data that grows and shrinks: 16 MB for a record of a few bytes.
    let intro = |hdr_size: u32, flags: u8| {
        let mut bytes = crate::encode_offset(8 + 24).unwrap().to_vec();
        bytes.extend(0x1000_0040u32.to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(hdr_size.to_le_bytes());
        bytes.extend([0, 0, 0, 0, flags, 0, 1, 0, b'x', 0, 0, 0]);
        bytes
    };
    let mut poke = crate::encode_offset(20).unwrap().to_vec();
    poke.extend(0x1001_0000u32.to_le_bytes());
    poke.extend([0xfa, 0xff, 0xff, 0, 4, 0, 0, 0, 1, 1, 1, 1]);
    let mut log = Vec::new();
    (0..20_000).for_each(|_| {
        log.extend(intro(0x00ff_ffff, 1));
        log.extend(&poke);
        log.extend(intro(4, 0));
    });
    let mut replay = Replay::new(fresh(), Limits { work_max: 1 << 24, ..Limits::default() });
    let stop = replay.apply(&log).stop;
    assert!(matches!(stop, Stop::Limit { what: "work", .. }), "{stop:?}");
}

/// A few bytes ask for a header each; a snapshot would have them all in full.
#[test]
fn headers_of_all_extensions_are_bounded_together() {
    let intro = |letter: u8, hdr_size: u32| {
        let mut bytes = crate::encode_offset(8 + 24).unwrap().to_vec();
        bytes.extend(0x1000_0040u32.to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(hdr_size.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 0, letter, 0, 0, 0]);
        bytes
    };
    let mut log = Vec::new();
    (b'!'..b'!' + 60).for_each(|letter| log.extend(intro(letter, 16)));
    (b'!'..b'!' + 60).for_each(|letter| log.extend(intro(letter, 0x00ff_ffff)));
    let mut replay = Replay::new(fresh(), Limits::default());
    let applied = replay.apply(&log);
    assert_eq!(applied.end, fresh().position().unwrap().offset + log.len() as u32);
    let state = replay.finish();
    let sizes: Vec<u32> = state.extensions().iter().map(|ext| ext.hdr_size).collect();
    assert_eq!(sizes.iter().filter(|size| **size == 16).count(), sizes.len() - 1, "{sizes:?}");
    assert!(sizes.iter().sum::<u32>() <= crate::state::EXT_HDR_SIZE_SUM_MAX);
}

/// Two Dovecot processes that both find no mod-sequences each write what the counter was before they had the log's lock.
#[test]
fn an_old_value_for_messages_without_one_hides_no_change() {
    let commit = |state: &State, t: &Transaction| {
        t.encode(state).unwrap().iter().fold(state.clone(), |state, piece| replay(&state, &piece.bytes))
    };
    let modseqs = |state: &State| state.records_from(0).map(|r| r.modseq().value()).collect::<Vec<_>>();
    let mut t = Transaction::new();
    (1..=3).for_each(|n| t.append(uid(n), Flags::NONE));
    let old = commit(&fresh(), &t);
    let change = FlagChange { add: RecordFlags(1), remove: RecordFlags::NONE, count_modseq: false };
    let flag = |n: u32| {
        let mut t = Transaction::new();
        t.flags(&UidSet::from(uid(n)..=uid(n)), change, Origin::External);
        t
    };
    let mut enable = Transaction::new();
    let told = [old.highest_modseq().value().to_le_bytes(), [0; 8]].concat();
    enable.ext_header(&ExtensionSpec::MODSEQ, 0, &told, Origin::Internal);

    let state = commit(&commit(&old, &flag(1)), &enable);
    let highest = state.highest_modseq().value();
    assert!(highest > old.highest_modseq().value());
    assert_eq!(modseqs(&state), [highest; 3], "the change of the first is not older than it was");
    let state = commit(&commit(&state, &flag(2)), &enable);
    assert_eq!(modseqs(&state), [highest, highest + 1, highest], "and none goes back or forward");
    assert_eq!(state.highest_modseq().value(), highest + 1);
}
