//! The index file.

use mailindex::{
    snapshot::{SnapshotProblem, SnapshotStamp, decode, encode},
    state::State,
};

use crate::state::{Facts, check};

/// Larger snapshots are not made here: a log of a few bytes may ask for header data of many megabytes.
const SNAPSHOT_LEN_MAX: u64 = 4 << 20;

/// Any bytes may be a snapshot: what is decoded holds together, and is written as a file that is decoded to the same
/// without anything left to put right, and that is written the same again.
pub fn snapshot(data: &[u8]) {
    let Ok(decoded) = decode(data) else { return };
    check(&decoded.state);
    check_snapshot_of(&decoded.state);
}

/// Bytes that the snapshot would have, roughly.
fn estimate(state: &State) -> u64 {
    let record: u64 = state.extensions().iter().map(|ext| u64::from(ext.record_size()) + 8).sum();
    let headers: u64 = state.extensions().iter().map(|ext| u64::from(ext.hdr_size()) + 100).sum();
    headers + (record + 8) * u64::from(state.message_count())
}

/// A state survives its snapshot.
pub(crate) fn check_snapshot_of(state: &State) {
    if let Some(again) = through_snapshot(state) {
        let (first, again) = (Facts::of(state), Facts::of(&again));
        assert_eq!(first, again, "a state survives its snapshot");
    }
}

/// The state as it is read back from its snapshot; `None` if that were too large, or if a log has given an extension a name
/// that a snapshot takes for damage.
pub(crate) fn through_snapshot(state: &State) -> Option<State> {
    if estimate(state) > SNAPSHOT_LEN_MAX {
        return None;
    }
    let file = encode(state, &SnapshotStamp::default()).expect("a small state fits a snapshot");
    let decoded = decode(&file).unwrap_or_else(|e| panic!("a snapshot that was written is read: {e}"));
    if decoded.problems.iter().any(|problem| matches!(problem, SnapshotProblem::ExtensionName { .. })) {
        return None;
    }
    for problem in &decoded.problems {
        let known = matches!(problem, SnapshotProblem::Header { field: "uid_validity", .. });
        assert!(known, "a snapshot that was written has nothing wrong in it: {problem}");
    }
    check(&decoded.state);
    assert_eq!(decoded.state.recorded_tail(), state.tail_offset(), "the tail is written as it is");
    let counter = state.highest_modseq().value();
    let again = match decoded.state.modseq_is_known() {
        true => decoded.state,
        false => decoded.state.with_modseq(counter),
    };
    let second = encode(&again, &SnapshotStamp::default()).expect("what fitted fits again");
    let third = decode(&second).unwrap_or_else(|e| panic!("a second snapshot is read: {e}"));
    let third = encode(&third.state, &SnapshotStamp::default()).expect("what fitted twice fits again");
    assert!(second == third, "a snapshot of a snapshot is the same file");
    Some(again)
}
