//! The transaction log: frames, records, whole transactions, and replay onto a state.

use mailindex::{
    decode_offset, encode_offset,
    log::{
        Change, ExtIntro, LogStop, ModseqCounter, RawLogHeader, Record, Records, Transactions, complete_end,
        ext_records, modseq_at,
    },
    replay::{Applied, Limits, Problem, ProblemKind, Replay, Stop},
    state::State,
};

use crate::{
    cuts::Choices,
    snapshot::check_snapshot_of,
    state::{Facts, check, check_diff},
};

/// Any bytes may be a log: what is whole is read, the rest is torn or corrupt, and a log that is cut anywhere holds the
/// first transactions of the whole one and invents none.
pub fn log_records(data: &[u8]) {
    let mut choices = Choices::of(data);
    let start = match RawLogHeader::parse(data) {
        Ok(header) => {
            let _ = header.check_usable();
            let _ = modseq_at(data, choices.below(data.len() + 9) as u32);
            header.records_start()
        }
        // At the end of what a log can hold offsets run out.
        Err(_) if choices.below(3) == 0 => u32::MAX - choices.below(data.len() + 50) as u32,
        Err(_) => 0,
    };
    let bytes = data.get(start as usize..).unwrap_or(data);
    frames(bytes, start);
    let (whole, stop) = transactions(bytes, start);
    let (end, again) = complete_end(bytes, start);
    assert_eq!((whole.last().map_or(start, |last| last.1), stop), (end, again), "both find the same end");
    for cut in [choices.below(bytes.len() + 1), choices.below(bytes.len() + 1)] {
        let (part, part_stop) = transactions(&bytes[..cut], start);
        let cut = start.saturating_add(cut as u32);
        let fit: Vec<_> = whole.iter().take_while(|(_, end)| *end <= cut).cloned().collect();
        assert_eq!(part, fit, "a cut keeps the whole transactions before it and invents none");
        if !matches!(stop, Some(LogStop::Corrupt(_))) {
            assert!(!matches!(part_stop, Some(LogStop::Corrupt(_))), "a torn end is not corruption: {part_stop:?}");
        }
    }
}

/// Offsets of the whole transactions, and what comes behind them.
fn transactions(bytes: &[u8], start: u32) -> (Vec<(u32, u32)>, Option<LogStop>) {
    let mut found = Vec::new();
    for transaction in Transactions::new(bytes, start) {
        match transaction {
            Ok(transaction) => {
                assert_eq!(transaction.offset, found.last().map_or(start, |last: &(u32, u32)| last.1), "no gaps");
                assert!(transaction.end > transaction.offset, "a transaction has bytes");
                let mut counter = ModseqCounter::new(1, RawLogHeader::MINOR);
                for (record, change) in transaction.changes() {
                    assert!(record.end() <= transaction.end, "a record lies in its transaction");
                    let before = counter.value();
                    counter.count(&record, &change);
                    assert!(counter.value() >= before, "modseqs only grow");
                    walk(change);
                }
                found.push((transaction.offset, transaction.end));
            }
            Err(stop) => {
                assert!(stop.offset() >= found.last().map_or(start, |last| last.1), "what was whole stays whole");
                return (found, Some(stop));
            }
        }
    }
    (found, None)
}

/// Records follow each other and are framed as they would be written.
fn frames(bytes: &[u8], start: u32) {
    let mut records = Records::new(bytes, start);
    let mut rest = bytes;
    while let Some(Ok(record)) = records.next() {
        let (frame, after) = rest.split_at(record.size() as usize);
        assert_eq!(encode_offset(record.size()).as_slice(), [frame.first_chunk().copied().unwrap_or_default()]);
        assert_eq!(frame.first_chunk().copied().and_then(decode_offset), Some(record.size()), "the size is the size");
        assert_eq!(&frame[4..8], record.type_word.0.to_le_bytes(), "the type is the type");
        assert_eq!(&frame[8..], record.payload, "the payload is the rest");
        check_record(&record);
        rest = after;
    }
}

fn check_record(record: &Record<'_>) {
    let change = record.change();
    assert_eq!(change.is_ok(), Change::decode(record.type_word, record.payload).is_ok(), "one way to read a record");
    if record.type_word.is_unprotected_expunge() {
        assert!(change.is_err(), "an expunge without its protection is damage");
    }
    let _ = record.type_word.is_sync();
}

/// Goes through all that a change holds.
fn walk(change: Change<'_>) {
    let ascending = |ranges: &mut dyn Iterator<Item = (u32, u32)>| {
        ranges.fold(0, |last, (first, end)| {
            assert!(first > last && end >= first, "UID ranges ascend");
            end
        });
    };
    match change {
        Change::Expunge(ranges) | Change::KeywordReset(ranges) => {
            ascending(&mut ranges.iter().map(|r| (r.uid1.get(), r.uid2.get())));
            assert!(ranges.iter().all(|range| range.range().is_some()), "UID 0 is no UID");
        }
        Change::KeywordUpdate(update) => {
            assert!(!update.name.is_empty() && !update.name.contains(&0), "a keyword has a name");
            ascending(&mut update.ranges.iter().map(|r| (r.uid1.get(), r.uid2.get())));
        }
        Change::FlagUpdate(updates) => ascending(&mut updates.iter().map(|u| (u.uid1.get(), u.uid2.get()))),
        Change::HeaderUpdate(patches) | Change::ExtHdrUpdate(patches) => {
            assert!(patches.count() > 0, "an update updates something");
        }
        Change::ExtIntro(intros) => {
            for ExtIntro { raw, name } in intros {
                assert_eq!(usize::from(raw.name_size.get()), name.len(), "the name is as long as it says");
            }
        }
        Change::ExtRecUpdate(payload) => {
            for size in [0, 1, 4, 8, 24, u16::MAX] {
                if let Some(entries) = ext_records(payload, size) {
                    entries.for_each(|(_, data)| assert_eq!(data.len(), usize::from(size), "entries are even"));
                }
            }
        }
        Change::AttributeUpdate(attributes) => {
            attributes.for_each(|attribute| assert!(!attribute.name.contains(&0), "names have no NUL"));
        }
        _ => {}
    }
}

/// What replay may cost here: low, so that limits are met.
const LIMITS: Limits = Limits { state_bytes_max: 4 << 20, work_max: 1 << 20, problems_max: 100 };

/// Any log replays onto the empty state: within limits, to a state that holds together, the same whether it is read at
/// once or bit by bit, and to the same again through a snapshot.
pub fn log_replay(data: &[u8]) {
    let (mut header, records) = match RawLogHeader::parse(data) {
        Ok(header) => (header, data.get(usize::from(header.hdr_size.get())..).unwrap_or_default()),
        Err(_) => (RawLogHeader::first(7, RawLogHeader::FIRST_SEQ, 0, 1), data),
    };
    if header.check_usable().is_err() {
        header = RawLogHeader::first(7, RawLogHeader::FIRST_SEQ, 0, 1);
    }
    header.prev_file_seq = 0.into();
    let mut entered = Replay::new(State::empty(), LIMITS);
    entered.enter(&header).expect("a chain can begin with a log without a predecessor");
    let empty = entered.finish();
    let start = empty.position().map_or(0, |position| position.offset);
    check(&empty);

    let (state, applied, problems) = apply(&empty, records);
    check(&state);
    assert_eq!(state.position().map(|p| p.offset), Some(applied.end), "the state is where the replay ended");
    if matches!(applied.stop, Stop::Limit { .. }) {
        assert_eq!(Facts::of(&state), Facts::of(&empty), "where a limit is reached nothing is applied");
        return;
    }
    let (end, stop) = complete_end(records, start);
    let same = match (&applied.stop, stop) {
        (Stop::End, None) => true,
        (Stop::Torn { offset }, Some(LogStop::Torn { offset: torn })) => *offset == torn,
        (Stop::Corrupt(damage), Some(LogStop::Corrupt(found))) => *damage == found,
        _ => false,
    };
    assert!(same && applied.end == end, "replay ends where the log does: {applied:?}, {end}, {stop:?}");
    check_diff(&empty, &state);
    check_snapshot_of(&state);

    // Bit by bit; a tail that is moved past the bytes at hand is another problem then, and nothing else may be.
    let mut step = empty;
    let mut step_problems = Some(Vec::new());
    for transaction in Transactions::new(records, start).map_while(Result::ok) {
        let bytes = &records[(transaction.offset - start) as usize..(transaction.end - start) as usize];
        let (next, applied, problems) = apply(&step, bytes);
        assert_eq!(applied, Applied { end: transaction.end, stop: Stop::End }, "a whole transaction is applied");
        check_diff(&step, &next);
        assert!(next.next_uid() >= step.next_uid(), "next_uid never sinks");
        step_problems = step_problems.zip(problems).map(|(all, more)| [all, more].concat());
        step = next;
    }
    assert_eq!(Facts::of(&step), Facts::of(&state), "how a log is cut into reads does not matter");
    if let (Some(problems), Some(step_problems)) = (problems, step_problems) {
        assert_eq!(step_problems, problems, "nor for what is wrong in it");
    }
}

/// The next state, and what was wrong, tails apart: whether those are right depends on the bytes at hand. `None`: too
/// many problems to know.
fn apply(state: &State, bytes: &[u8]) -> (State, Applied, Option<Vec<Problem>>) {
    let mut replay = Replay::new(state.clone(), LIMITS);
    let applied = replay.apply(bytes);
    let count = replay.problem_count();
    assert_eq!(replay.problems().len() as u64, count.min(LIMITS.problems_max as u64), "problems are counted");
    let known = count <= LIMITS.problems_max as u64;
    let others = replay.problems().iter().filter(|problem| !matches!(problem.kind, ProblemKind::Tail { .. }));
    let problems = known.then(|| others.cloned().collect());
    (replay.finish(), applied, problems)
}
