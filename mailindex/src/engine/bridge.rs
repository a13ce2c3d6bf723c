//! Going on behind damage in a log: what was written later is there still, and flags are set and messages named in it by their
//! UIDs, so that it counts whatever the damaged record said.
//!
//! # Invariants
//!
//! 1. What is taken for the log behind the damage leads, transaction by transaction, to the very end of the file.
//! 2. Offsets stay what they are: the damaged bytes become one record that changes nothing.

use crate::{
    log::{Origin, RecordType, Records, Transactions, TypeWord},
    offset_encoding::{decode_offset, encode_offset},
};

/// Longest rest of a log that is looked through, in bytes.
pub(super) const REST_LEN_MAX: u64 = 64 << 20;

/// Bytes that are looked through in all: a log can be made so that many places look like a beginning.
const WORK_MAX: usize = 256 << 20;

/// Records begin at multiples of that.
const RECORD_ALIGN: usize = 4;

/// The smallest record: size, type, and a payload.
const RECORD_LEN_MIN: usize = 12;

/// Where the log goes on behind the damage with which `rest` begins, as an offset in `rest`; `None`: nothing is to be found.
pub(super) fn resumes_at(rest: &[u8]) -> Option<usize> {
    let mut work = 0;
    for at in (RECORD_LEN_MIN..rest.len()).step_by(RECORD_ALIGN) {
        let behind = rest.get(at..)?;
        // Most places are none at a glance.
        if !matches!(Records::new(behind, 0).next(), Some(Ok(_))) {
            continue;
        }
        let mut transactions = Transactions::new(behind, 0);
        if transactions.by_ref().all(|transaction| transaction.is_ok()) {
            return Some(at);
        }
        work += transactions.end() as usize + RECORD_LEN_MIN;
        if work > WORK_MAX {
            return None;
        }
    }
    None
}

/// Whether what seems to be a transaction that was not finished may as well be a record with a wrong size: a transaction is
/// finished when its first size is written, and one of several records is bounded by its first.
pub(super) fn may_be_wrong_size(rest: &[u8]) -> bool {
    let Some(&[s0, s1, s2, s3, t0, t1, t2, t3]) = rest.first_chunk::<8>() else { return false };
    let is_bounded = TypeWord(u32::from_le_bytes([t0, t1, t2, t3])).record_type() == Some(RecordType::Boundary);
    decode_offset([s0, s1, s2, s3]).is_some_and(|size| size > 0) && !is_bounded
}

/// A record of a length that changes nothing: of the header, no bytes at all. `None` for a length that no record has.
pub(super) fn filler(len: usize) -> Option<Vec<u8>> {
    let is_record = len >= RECORD_LEN_MIN && len.is_multiple_of(RECORD_ALIGN);
    let size = encode_offset(u32::try_from(len).ok().filter(|_| is_record)?)?;
    let mut record = vec![0; len];
    let head = [size, TypeWord::new(RecordType::HeaderUpdate, Origin::External).0.to_le_bytes()].concat();
    record.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    Some(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::{Change, complete_end};

    /// Changes of flags one after the other, and where each begins.
    fn log(count: u32) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 1..=count {
            starts.push(bytes.len());
            bytes.extend(encode_offset(20).unwrap());
            bytes.extend(TypeWord::new(RecordType::FlagUpdate, Origin::External).0.to_le_bytes());
            bytes.extend([number, number + 5, 8].into_iter().flat_map(u32::to_le_bytes));
        }
        (bytes, starts)
    }

    #[test]
    fn the_log_goes_on_behind_a_record_that_is_none() {
        let (mut bytes, starts) = log(5);
        // An expunge without its protection.
        bytes[starts[1] + 4] = 1;
        let (end, stop) = complete_end(&bytes, 0);
        assert!(end as usize == starts[1] && stop.is_some());
        let found = resumes_at(&bytes[starts[1]..]).unwrap();
        assert_eq!(found, starts[2] - starts[1]);
        let filler = filler(found).unwrap();
        bytes[starts[1]..starts[2]].copy_from_slice(&filler);
        assert_eq!(complete_end(&bytes, 0), (bytes.len() as u32, None));
        let mut changes = Transactions::new(&bytes, 0).nth(1).unwrap().unwrap().changes().collect::<Vec<_>>();
        let (_, change) = changes.pop().unwrap();
        assert!(changes.is_empty() && matches!(change, Change::HeaderUpdate(_)), "{change:?}");
    }

    #[test]
    fn a_size_that_is_too_large_is_no_torn_end() {
        let (mut bytes, starts) = log(3);
        bytes[starts[1]] |= 0x40;
        assert!(may_be_wrong_size(&bytes[starts[1]..]));
        assert_eq!(resumes_at(&bytes[starts[1]..]), Some(starts[2] - starts[1]));
        // What nobody has finished begins with no size.
        bytes[starts[1]..starts[1] + 4].fill(0);
        assert!(!may_be_wrong_size(&bytes[starts[1]..]));
        // And where an end is torn, nothing follows.
        let (bytes, starts) = log(3);
        assert_eq!(resumes_at(&bytes[starts[2]..bytes.len() - 4]), None);
    }

    #[test]
    fn fillers_are_records() {
        for len in (12..400).step_by(4) {
            let record = filler(len).unwrap();
            assert_eq!((record.len(), complete_end(&record, 0)), (len, (len as u32, None)));
        }
        assert!([0, 4, 8, 13].into_iter().all(|len| filler(len).is_none()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]
        #[test]
        fn any_rest_is_looked_through(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..4) {
            let rest = [bytes, log(count).0].concat();
            if let Some(at) = resumes_at(&rest) {
                prop_assert!(at >= 12 && at < rest.len());
                prop_assert_eq!(complete_end(&rest[at..], 0).1, None);
            }
        }
    }
}
