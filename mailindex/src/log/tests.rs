//! Known bytes from the format page, each kind of damage, and any bytes at all.

use proptest::prelude::*;

use super::*;
use crate::{
    replay::{Limits, Replay},
    state::{ExtensionSpec, State},
};
use mailtypes::{Flag, Flags, Guid, Keyword, ModSeq, Uid, UidSet};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn only(bytes: &[u8]) -> Record<'_> {
    let mut records = Records::new(bytes, 0x100);
    let record = records.next().unwrap().unwrap();
    assert!(records.next().is_none(), "more than one record");
    record
}

#[test]
fn annotated_append() {
    let bytes = hex("80808084 02000010 01000000 08000000");
    let record = only(&bytes);
    assert_eq!((record.offset, record.end(), record.origin()), (0x100, 0x110, Origin::External));
    let Ok(Change::Append([append])) = record.change() else { panic!("{record:?}") };
    assert_eq!((append.uid.get(), append.flags), (1, 8));
}

#[test]
fn annotated_flag_updates() {
    let bytes = hex("80808085 04000000 02000000 02000000 08170000");
    let record = only(&bytes);
    assert_eq!(record.origin(), Origin::Internal);
    let Ok(Change::FlagUpdate([update])) = record.change() else { panic!("{record:?}") };
    assert_eq!((update.uid1.get(), update.uid2.get(), update.add, update.remove), (2, 2, 0x08, 0x17));
}

#[test]
fn annotated_keyword_update() {
    let bytes = hex("80808086 00040010 00000300 6b773100 01000000 01000000");
    let Ok(Change::KeywordUpdate(update)) = only(&bytes).change() else { panic!() };
    assert_eq!((update.remove, update.name, update.ranges.len()), (false, &b"kw1"[..], 1));
}

#[test]
fn annotated_extension_records() {
    let bytes = hex("80808087 40000010 02000000 ab77026b 00000000 0400 0400 0100 0000");
    let Ok(Change::ExtIntro(mut intros)) = only(&bytes).change() else { panic!() };
    let intro = intros.next().unwrap();
    assert_eq!((intro.raw.ext_id.get(), intro.raw.reset_id.get(), intro.name), (2, 0x6b02_77ab, &b""[..]));
    let bytes = hex("80808084 00020010 01000000 84010000");
    let Ok(Change::ExtRecUpdate(payload)) = only(&bytes).change() else { panic!() };
    let records: Vec<_> = ext_records(payload, 4).unwrap().collect();
    assert_eq!(records, [(1, &[0x84, 1, 0, 0][..])]);
    assert!(ext_records(payload, 8).is_none(), "entries of another size do not come out even");
}

#[test]
fn annotated_expunges_and_tail() {
    for (word, origin) in [("90ed0000", Origin::Internal), ("90ed0010", Origin::External)] {
        let bytes = hex(&format!("80808087 {word} 01000000 {}", "00".repeat(16)));
        let record = only(&bytes);
        assert_eq!(record.origin(), origin);
        assert!(matches!(record.change(), Ok(Change::ExpungeGuid([e])) if e.uid.get() == 1));
    }
    let bytes = hex("80808084 20000010 40000400 18020000");
    let Ok(Change::HeaderUpdate(patches)) = only(&bytes).change() else { panic!() };
    assert_eq!(patches.tail_offset(), Some(0x218));
}

#[test]
fn type_words_of_the_table() {
    for (record_type, bytes) in [
        (RecordType::Expunge, "91cd0010"),
        (RecordType::Append, "02000010"),
        (RecordType::ExtRecUpdate, "00020010"),
        (RecordType::ExpungeGuid, "90ed0010"),
        (RecordType::ModseqUpdate, "00800010"),
        (RecordType::ExtHdrUpdate32, "00000110"),
        (RecordType::Boundary, "00000810"),
        (RecordType::AttributeUpdate, "00001010"),
    ] {
        assert_eq!(TypeWord::new(record_type, Origin::External).0.to_le_bytes().to_vec(), hex(bytes));
    }
    for record_type in RecordType::ALL {
        assert_eq!(TypeWord::new(record_type, Origin::Internal).record_type(), Some(record_type));
    }
    assert_eq!(TypeWord(0x1000_4000).record_type(), None);
}

#[test]
fn an_attribute_update() {
    let payload = hex("2b70 6100 2d73 6200 00 000000 05000000 09000000 06000000");
    let attributes = Attributes::parse(&payload).unwrap();
    let found: Vec<_> = attributes.map(|a| (a.set, a.shared, a.name, a.timestamp, a.value_len)).collect();
    assert_eq!(found, [(true, false, &b"a"[..], 5, 9), (false, true, &b"b"[..], 6, 0)]);
    let mut again = Vec::new();
    attributes::encode(attributes, &mut again);
    assert_eq!(again, payload);
}

fn damage(bytes: &str) -> Option<DamageKind> {
    match complete_end(&hex(bytes), 40) {
        (40, Some(LogStop::Corrupt(Damage { offset: 40, kind }))) => Some(kind),
        (40, Some(LogStop::Torn { offset: 40 })) | (_, None) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn damage_is_told_from_a_torn_end() {
    let bad = |uid1, uid2| Some(DamageKind::UidRange { uid1, uid2 });
    assert_eq!(damage("80808082 00000000"), Some(DamageKind::RecordSize(8)));
    assert_eq!(damage("80808084 01000010 01000000 01000000"), Some(DamageKind::UnprotectedExpunge));
    assert_eq!(damage("80808084 91cd0010 02000000 01000000"), bad(2, 1));
    assert_eq!(damage("80808084 91cd0010 00000000 01000000"), bad(0, 1));
    assert_eq!(damage("80808086 91cd0010 01000000 05000000 05000000 06000000"), bad(5, 6));
    assert_eq!(damage("80808083 91cd0010 01000000"), Some(DamageKind::Payload));
    assert_eq!(damage("80808083 00000810 08000000"), Some(DamageKind::BoundarySize(8)));
    for torn in [
        "80",
        "80808084",
        "80808084 0200",
        "00000000 00000000",
        "80800084 02000010 01000000 00000000",
        "80808084 02000010 01000000",
        "80808083 00000810 60000000",
        "80808083 00000810 1c000000 00000000 00000000 00000000 00000000",
    ] {
        assert_eq!(damage(torn), None, "{torn}");
        assert_eq!(complete_end(&hex(torn), 40).1, Some(LogStop::Torn { offset: 40 }), "{torn}");
    }
    assert_eq!(damage("80808083 00400010 01000000"), None, "an unknown type is no damage");
}

/// A state in a fresh log, at offset 40.
pub(crate) fn fresh() -> State {
    let mut replay = Replay::new(State::empty(), Limits::default());
    replay.enter(&RawLogHeader::first(7, 2, 1, 1)).unwrap();
    replay.finish()
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn encode(transaction: &Transaction, state: &State) -> Vec<u8> {
    transaction.encode(state).unwrap().into_iter().flat_map(|t| t.bytes).collect()
}

#[test]
fn writes_what_dovecot_writes() {
    let mut t = Transaction::new();
    t.append(uid(1), Flags::from(Flag::Seen));
    assert_eq!(encode(&t, &fresh()), hex("80808084 02000010 01000000 08000000"), "one record needs no boundary");
    t.keyword(KeywordAction::Add, &Keyword::new("kw1").unwrap(), &UidSet::from(uid(1)..=uid(1)), Origin::External);
    t.move_tail();
    assert_eq!(
        encode(&t, &fresh()),
        hex("80808083 00000810 34000000  80808084 02000010 01000000 08000000
             80808086 00040010 00000300 6b773100 01000000 01000000
             80808084 20000010 40000400 6c000000")
    );
    let mut t = Transaction::new();
    t.flags(&UidSet::from(uid(2)..=uid(2)), FlagChange::replace(Flag::Seen.into()), Origin::Internal);
    assert_eq!(encode(&t, &fresh()), hex("80808085 04000000 02000000 02000000 08170000"));
    let mut t = Transaction::new();
    t.request_expunge(&UidSet::from(uid(1)..=uid(1)));
    assert_eq!(encode(&t, &fresh()), hex(&format!("80808087 90ed0000 01000000 {}", "00".repeat(16))));
}

#[test]
fn numbers_of_extensions_that_the_transaction_creates() {
    // dbox-hdr gets 0 by its header, cache 1 by its record, keywords 2 by the keyword, vsize is new in the second.
    let mut t = Transaction::new();
    t.ext_header(&ExtensionSpec::DBOX_HDR, 0, &[1; 24], Origin::External);
    t.append(uid(1), Flags::NONE);
    t.ext_record(&ExtensionSpec::CACHE, Generation::Only(9), uid(1), &[4, 0, 0, 0], Origin::External);
    t.keyword(KeywordAction::Add, &Keyword::new("kw1").unwrap(), &UidSet::from(uid(1)..=uid(1)), Origin::External);
    let state = apply(&fresh(), &encode(&t, &fresh()));
    let names: Vec<_> = state.extensions().iter().map(|ext| ext.name()).collect();
    assert_eq!(names, [&b"dbox-hdr"[..], b"cache", b"keywords"]);
    assert_eq!(state.cache_file_seq(), Some(9));
    assert_eq!(state.record(0).unwrap().cache_offset(), Some(4));
    let mut t = Transaction::new();
    t.ext_record(&ExtensionSpec::VSIZE, Generation::Current, uid(1), &[7, 0, 0, 0], Origin::External);
    t.ext_record(&ExtensionSpec::CACHE, Generation::Current, uid(1), &[8, 0, 0, 0], Origin::External);
    let bytes = encode(&t, &state);
    let ids: Vec<_> = Transactions::new(&bytes, 40)
        .flat_map(|t| t.unwrap().changes().collect::<Vec<_>>())
        .filter_map(|(_, change)| match change {
            Change::ExtIntro(mut intros) => intros.next().map(|intro| intro.raw.ext_id.get()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [u32::MAX, 1]);
    let state = apply(&state, &bytes);
    assert_eq!(state.record(0).unwrap().field_u32(3), 7);
    assert_eq!(state.record(0).unwrap().cache_offset(), Some(8));
}

fn apply(state: &State, bytes: &[u8]) -> State {
    let mut replay = Replay::new(state.clone(), Limits::default());
    let applied = replay.apply(bytes);
    assert_eq!(applied.stop, crate::replay::Stop::End);
    assert!(replay.problems().is_empty(), "{:?}", replay.problems());
    replay.finish()
}

#[test]
fn large_transactions_are_split_by_messages() {
    let mut t = Transaction::new();
    let keyword = Keyword::new("even").unwrap();
    t.header_update_before(24, &[1, 0, 0, 0]);
    for n in 1..=20_000 {
        t.append(uid(n), Flags::NONE);
        t.ext_record(&ExtensionSpec::CACHE, Generation::Current, uid(n), &n.to_le_bytes(), Origin::External);
        if n % 2 == 0 {
            t.keyword(KeywordAction::Add, &keyword, &UidSet::from(uid(n)..=uid(n)), Origin::External);
        }
    }
    t.header_update(80, &[5, 0, 0, 0]);
    let pieces = t.encode(&fresh()).unwrap();
    assert!(pieces.len() > 5);
    let mut state = fresh();
    for piece in &pieces {
        assert!(piece.bytes.len() < TRANSACTION_SIZE_TARGET);
        assert_eq!(Transactions::new(&piece.bytes, 40).count(), 1, "each is one transaction");
        state = apply(&state, &piece.bytes);
        // Whatever was appended has all that belongs to it.
        let last = state.record(state.message_count() - 1).unwrap();
        assert_eq!(last.cache_offset(), Some(last.uid().value()));
        assert_eq!(last.keyword_bits().contains(0), last.uid().value().is_multiple_of(2));
    }
    assert_eq!(state.message_count(), 20_000);
    assert_eq!(state.header().last_temp_file_scan.get(), 5);
    t.keep_whole();
    assert_eq!(t.encode(&fresh()).unwrap().len(), 1);
}

#[test]
fn a_million_messages_are_small() {
    let mut t = Transaction::new();
    t.keep_whole();
    t.enable_modseqs();
    for n in 1..=1_000_000 {
        t.append(uid(n), Flags::NONE);
        t.ext_record(&ExtensionSpec::CACHE, Generation::Current, uid(n), &n.to_le_bytes(), Origin::External);
    }
    let all = UidSet::from(uid(1)..=uid(1_000_000));
    t.keyword(KeywordAction::Add, &Keyword::new("k").unwrap(), &all, Origin::External);
    let state = apply(&fresh(), &encode(&t, &fresh()));
    let state = crate::snapshot::decode(&crate::snapshot::encode(&state, &Default::default()).unwrap()).unwrap().state;
    assert_eq!(state.message_count(), 1_000_000);
    assert!(state.byte_size() < 25_000_000, "{} bytes", state.byte_size());
    assert_eq!(state.index_of(uid(777_777)), Ok(777_776));
    assert_eq!(state.uids().range_count(), 1);
}

#[test]
fn wrong_transactions_are_refused() {
    let refused = |change: &dyn Fn(&mut Transaction)| {
        let mut t = Transaction::new();
        change(&mut t);
        t.encode(&fresh()).is_err()
    };
    let state = fresh();
    assert!(refused(&|t| {
        t.append(uid(5), Flags::NONE);
        t.append(uid(5), Flags::NONE);
    }));
    assert!(refused(&|t| t.append(Uid::MAX, Flags::NONE)));
    assert!(refused(&|t| t.header_update(64, &[0; 4])), "the tail is moved otherwise");
    assert!(refused(&|t| t.header_update(32, &[0; 4])), "counts belong to the state");
    assert!(refused(&|t| t.header_update(118, &[0; 4])));
    assert!(refused(&|t| t.ext_header(&ExtensionSpec::DBOX_HDR, 20, &[0; 8], Origin::External)));
    let wide = [0; 5];
    assert!(refused(&|t| {
        t.ext_record(&ExtensionSpec::CACHE, Generation::Current, uid(1), &wide, Origin::External);
    }));
    assert!(refused(&|t| t.ext_intro(&ExtensionSpec::record("keywords", 4, 1), Origin::External)));
    assert!(Transaction::new().encode(&state).unwrap().is_empty());
    assert!(Transaction::new().is_empty());
}

/// Every kind of record there is, for the truncation test.
fn one_of_each() -> Vec<u8> {
    let mut log = Vec::new();
    let mut state = fresh();
    let set = |a, b| UidSet::from(uid(a)..=uid(b));
    let mut step = |change: &dyn Fn(&mut Transaction)| {
        let mut t = Transaction::new();
        change(&mut t);
        let bytes = encode(&t, &state);
        state = apply(&state, &bytes);
        log.extend(bytes);
    };
    step(&|t| t.header_update(24, &[9, 0, 0, 0]));
    step(&|t| {
        t.enable_modseqs();
        (1..=9).for_each(|n| t.append(uid(n), Flags::NONE));
        t.flags(&set(2, 3), FlagChange::add(Flags::from(Flag::Seen)), Origin::External);
        t.keyword(KeywordAction::Add, &Keyword::new("a").unwrap(), &set(3, 4), Origin::External);
        t.modseq(uid(4), ModSeq::new(1 << 40).unwrap());
        t.ext_increment(&ExtensionSpec::VSIZE, uid(4), 5, Origin::External);
    });
    step(&|t| t.ext_reset(&ExtensionSpec::CACHE, 5, false, Origin::External));
    step(&|t| {
        t.keyword_reset(&set(1, 3), Origin::Internal);
        t.request_expunge(&set(5, 5));
        t.expunge_done([(uid(6), Guid::ZERO)]);
        t.move_tail();
    });
    step(&|t| t.index_deleted(Origin::Internal));
    step(&|t| t.index_undeleted(Origin::Internal));
    log
}

#[test]
fn any_cut_leaves_whole_transactions() {
    let log = one_of_each();
    let ends: Vec<u32> = Transactions::new(&log, 40).map(|t| t.unwrap().end).collect();
    assert!(ends.len() >= 6);
    for cut in 0..=log.len() {
        let (end, stop) = complete_end(&log[..cut], 40);
        let want = ends.iter().copied().filter(|&end| end as usize <= 40 + cut).max().unwrap_or(40);
        assert_eq!(end, want, "cut at {cut}");
        assert_eq!(stop, (end as usize != 40 + cut).then_some(LogStop::Torn { offset: end }), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (end, _) = complete_end(&bytes, 40);
        prop_assert!(end as usize <= 40 + bytes.len());
        for record in Records::new(&bytes, 40).map_while(Result::ok) {
            let _ = record.change();
        }
    }

    #[test]
    fn any_payload_of_any_type_is_survived(
        which in 0usize..18,
        external in any::<bool>(),
        payload in prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..60),
    ) {
        let origin = if external { Origin::External } else { Origin::Internal };
        let Some(record_type) = RecordType::ALL.get(which) else { return Ok(()) };
        let mut bytes = one_of_each();
        let size = 8 + payload.len().next_multiple_of(4);
        bytes.extend(crate::encode_offset(size as u32).unwrap());
        bytes.extend(TypeWord::new(*record_type, origin).0.to_le_bytes());
        bytes.extend(&payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let mut replay = Replay::new(fresh(), Limits::default());
        let applied = replay.apply(&bytes);
        let state = replay.finish();
        prop_assert!(applied.end as usize <= 40 + bytes.len());
        prop_assert!(state.records_from(0).map(|r| r.uid()).is_sorted());
        prop_assert_eq!(state.records_from(0).count(), state.message_count() as usize);
        prop_assert!(state.last_uid().is_none_or(|uid| uid < state.next_uid()));
    }
}
