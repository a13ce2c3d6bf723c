//! What is known of a mailbox's state from outside, to compare two of them, and what must hold for each.

use mailindex::state::{Deletion, LogPosition, State, diff};

/// Extensions whose data a state keeps in a form of its own: a snapshot writes more than was there.
const REWRITTEN: [&[u8]; 2] = [b"keywords", b"modseq"];

/// What one can ask a state.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts {
    header: [u32; 8],
    next_uid: u32,
    counts: [u32; 3],
    first_unseen: Option<u32>,
    highest_modseq: u64,
    position: Option<LogPosition>,
    keywords: Vec<Vec<u8>>,
    extensions: Vec<ExtensionFacts>,
    messages: Vec<MessageFacts>,
}

#[derive(Debug, PartialEq)]
struct ExtensionFacts {
    name: Vec<u8>,
    reset_id: u32,
    /// Header data without the zeros at its end, its size, the field's size and alignment; of those that are not
    /// rewritten.
    hdr: Option<(Vec<u8>, u32, u16, u16)>,
}

#[derive(Debug, PartialEq)]
struct MessageFacts {
    uid: u32,
    flags: u8,
    keywords: Vec<u16>,
    modseq: u64,
    /// Without the zeros at their ends.
    fields: Vec<Vec<u8>>,
}

fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    bytes[..len].to_vec()
}

impl Facts {
    pub(crate) fn of(state: &State) -> Self {
        let header = state.header();
        let extensions: Vec<_> = state.extensions().iter().map(|ext| (ext, REWRITTEN.contains(&ext.name()))).collect();
        // A modseq field of another size than eight bytes is data like any other; zeros in it mean nothing then.
        let modseqs = state.extension("modseq").is_none_or(|ext| ext.record_size() == 8);
        let message = |record: mailindex::state::RecordRef<'_>| MessageFacts {
            uid: record.uid().value(),
            flags: record.record_flags().0,
            keywords: record.keyword_bits().iter().collect(),
            modseq: if modseqs { record.modseq().value() } else { 0 },
            fields: (0..extensions.len())
                .filter(|&i| !extensions[i].1)
                .map(|i| without_zeros(record.field(i)))
                .collect(),
        };
        Self {
            header: [
                header.indexid,
                header.uid_validity,
                header.log2_rotate_time,
                header.last_temp_file_scan,
                header.day_stamp,
                header.day_first_uid[0],
                header.day_first_uid[7],
                // The dirty bit is made anew with each snapshot.
                (header.flags.get() & !0x2).into(),
            ]
            .map(|field| field.get()),
            next_uid: state.next_uid().value(),
            counts: [state.message_count(), state.seen_count(), state.deleted_count()],
            first_unseen: state.first_unseen().map(|(seq, _)| seq.value()),
            highest_modseq: state.highest_modseq().value(),
            position: state.position(),
            keywords: state.keywords().iter().map(|name| name.as_bytes().to_vec()).collect(),
            extensions: extensions
                .iter()
                .map(|(ext, rewritten)| ExtensionFacts {
                    name: ext.name().to_vec(),
                    reset_id: ext.reset_id(),
                    hdr: (!rewritten)
                        .then(|| (without_zeros(ext.hdr()), ext.hdr_size(), ext.record_size(), ext.record_align())),
                })
                .collect(),
            messages: state.records_from(0).map(message).collect(),
        }
    }
}

/// The invariants of `mailindex::state`, and that all ways of asking agree.
pub(crate) fn check(state: &State) {
    let (mut last, mut seen, mut deleted, mut index) = (0, 0, 0, 0);
    for chunk in state.chunks() {
        assert_eq!(chunk.start(), index, "chunks follow each other");
        assert!(!chunk.uids().is_empty(), "no chunk is empty");
        assert_eq!(chunk.uids().len(), chunk.flags().len(), "each UID has flags");
        for (&uid, &flags) in chunk.uids().iter().zip(chunk.flags()) {
            assert!(uid > last, "UIDs ascend: {uid} after {last}");
            last = uid;
            seen += u32::from(flags & 0x08 != 0);
            deleted += u32::from(flags & 0x04 != 0);
            index += 1;
        }
    }
    assert!(last < state.next_uid().value(), "UID {last} is below next_uid {}", state.next_uid());
    assert_eq!((state.message_count(), state.seen_count(), state.deleted_count()), (index, seen, deleted), "counts");
    assert_eq!(state.uids().count(), u64::from(index), "the UID set has them all");
    assert_eq!(state.first_unseen().is_none(), seen == index, "the first unseen is found");
    for record in state.records_from(index / 2) {
        let at = state.index_of(record.uid()).expect("a UID is found again");
        assert_eq!(state.uid_at(at), Some(record.uid()), "a UID is where its index says");
    }
    if let Some(position) = state.position() {
        assert!(state.tail_offset() <= position.offset, "the tail is not past the head");
    }
    let requested = state.requested_expunges();
    assert_eq!(requested.intersection(&state.uids()), requested, "only what exists can be asked to go");
    let _ = (state.deletion() == Deletion::Done, state.dbox_header(), state.cache_file_seq(), state.byte_size());
}

/// A diff leads from one state to the other.
pub(crate) fn check_diff(old: &State, new: &State) {
    let diff = diff(old, new);
    let stayed = old.uids().difference(&diff.expunged);
    assert_eq!(stayed.union(&diff.appended), new.uids(), "old without expunged with appended is new");
    assert!(diff.expunged.intersection(&new.uids()).is_empty(), "what is expunged is gone");
    assert!(diff.appended.intersection(&old.uids()).is_empty(), "what is appended was not there");
    for uid in stayed.iter().filter(|uid| !diff.flags_changed.contains(*uid)) {
        let flags = |state: &State| state.record_of(uid).map(|record| record.record_flags());
        assert_eq!(flags(old), flags(new), "a change of flags of UID {uid} was not told");
    }
}
