//! The parameters of SELECT and EXAMINE (RFC 4466, RFC 7162 §7).

use mailtypes::{ModSeq, SequenceBound, SequenceSet, UidValidity};

use super::{
    cursor::{Cursor, Parsed},
    mailbox::mailbox,
};
use crate::{Limits, Mailbox, Qresync, SelectParams, error::Fault};

/// `select`
pub(super) fn select(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<(Mailbox, SelectParams)> {
    let mailbox = mailbox(cursor)?;
    let mut params = SelectParams::default();
    if cursor.eat(b' ') && cursor.peek() == Some(b'(') {
        cursor.list(limits.list_items_max, |cursor| match cursor.word()?.as_bytes() {
            b"CONDSTORE" => {
                params.condstore = true;
                Ok(())
            }
            b"QRESYNC" => {
                cursor.space()?;
                params.qresync = Some(qresync(cursor, limits)?);
                Ok(())
            }
            _ => Err(Fault::syntax("Unknown SELECT parameter.")),
        })?;
    }
    Ok((mailbox, params))
}

/// `(` `uidvalidity` SP `mod-sequence-value` [SP `known-uids`] [SP `seq-match-data`] `)`
fn qresync(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Qresync> {
    cursor.expect(b'(', "Expected the arguments of QRESYNC.")?;
    cursor.skip_spaces();
    let zero = |what| Fault::syntax(what);
    let uid_validity = UidValidity::new(cursor.number()?).ok_or(zero("UIDVALIDITY cannot be 0."))?;
    cursor.space()?;
    let mod_seq = ModSeq::new(cursor.number64()?).ok_or(zero("A mod-sequence cannot be 0 here."))?;
    let (mut known_uids, mut seq_match) = (None, None);
    let mut spaced = spaces(cursor);
    if spaced && cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        known_uids = Some(set_without_star(cursor, limits)?);
        spaced = spaces(cursor);
    }
    if spaced && cursor.eat(b'(') {
        cursor.skip_spaces();
        let seqs = set_without_star(cursor, limits)?;
        cursor.space()?;
        let uids = set_without_star(cursor, limits)?;
        cursor.skip_spaces();
        cursor.expect(b')', "Expected the end of the sequence match data.")?;
        let is_pairs = is_ascending(&seqs) && is_ascending(&uids) && count(&seqs) == count(&uids);
        if !is_pairs {
            return Err(Fault::syntax("Sequence match data are not pairs in ascending order."));
        }
        seq_match = Some((seqs, uids));
        cursor.skip_spaces();
    }
    cursor.expect(b')', "Too many arguments of QRESYNC.")?;
    Ok(Qresync { uid_validity, mod_seq, known_uids, seq_match })
}

fn spaces(cursor: &mut Cursor<'_>) -> bool {
    let spaced = cursor.peek() == Some(b' ');
    cursor.skip_spaces();
    spaced
}

fn set_without_star(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<SequenceSet> {
    let set = cursor.sequence_set(limits)?;
    let has_star = |&(first, last): &_| first == SequenceBound::Star || last == SequenceBound::Star;
    if set.0.iter().any(has_star) { Err(Fault::syntax("No * is allowed here.")) } else { Ok(set) }
}

/// The ends of the ranges, in the order written.
fn ranges(set: &SequenceSet) -> impl Iterator<Item = (u32, u32)> {
    set.0.iter().filter_map(|range| match *range {
        (SequenceBound::Number(first), SequenceBound::Number(last)) => Some((first, last)),
        _ => None,
    })
}

fn is_ascending(set: &SequenceSet) -> bool {
    let mut before = 0;
    ranges(set).all(|(first, last)| {
        let is_behind = before < first && first <= last;
        before = last;
        is_behind
    })
}

fn count(set: &SequenceSet) -> u64 {
    ranges(set).map(|(first, last)| u64::from(last.abs_diff(first)) + 1).sum()
}
