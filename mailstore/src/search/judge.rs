//! Whether a message matches, as far as can be told from what was read of it: yes, no, or not yet.

use mailmime::{Fields, parse_address_list, write_address_list};
use mailtypes::{CalendarDate, Uid};

use super::{
    fold::fold_header,
    plan::{FoldedText, Leaf, Level, Needle, Node},
};
use crate::traits::{Row, Rows};

/// Addresses of one field that are looked at.
const ADDRESS_COUNT_MAX: usize = 65_536;

/// What is known of a message.
pub(super) struct Facts<'a> {
    pub(super) row: &'a Row,
    pub(super) rows: &'a Rows,
    /// Up to which level it was read.
    pub(super) level: Level,
    /// At [`Level::Body`]: what was found in the body so far.
    pub(super) hits: Option<&'a Hits>,
}

/// What was found of the texts to look for in one body.
#[derive(Debug)]
pub(super) struct Hits {
    found: Vec<bool>,
    /// The body was read to its end: what was not found is not there.
    pub(super) ended: bool,
}

impl Hits {
    pub(super) fn new(needles: &[Needle]) -> Self {
        Self { found: vec![false; needles.len()], ended: false }
    }

    /// Looks for what was not found yet.
    pub(super) fn look(&mut self, needles: &[Needle], folded: &[u8], is_header: bool) {
        for (found, needle) in self.found.iter_mut().zip(needles) {
            if !*found && (needle.in_headers || !is_header) {
                *found = needle.text.is_in(folded);
            }
        }
    }

    /// Whether a text that may be in headers was not found yet.
    pub(super) fn wants_headers(&self, needles: &[Needle]) -> bool {
        self.found.iter().zip(needles).any(|(found, needle)| !found && needle.in_headers)
    }

    fn verdict(&self, needle: usize) -> Option<bool> {
        match self.found.get(needle) {
            Some(true) => Some(true),
            _ => self.ended.then_some(false),
        }
    }
}

/// `None`: more must be read. As deep as the key, whose depth is bounded.
pub(super) fn judge(node: &Node, facts: &Facts<'_>) -> Option<bool> {
    match node {
        Node::And(nodes) => all(nodes.iter().map(|node| judge(node, facts))),
        Node::Or(nodes) => not(all(nodes.iter().map(|node| not(judge(node, facts))))),
        Node::Not(node) => not(judge(node, facts)),
        Node::Leaf(leaf) => judge_leaf(leaf, facts),
    }
}

fn not(verdict: Option<bool>) -> Option<bool> {
    verdict.map(|matches| !matches)
}

/// No as soon as one is no; else unknown if one is.
fn all(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut sum = Some(true);
    for verdict in verdicts {
        match verdict {
            Some(false) => return Some(false),
            Some(true) => {}
            None => sum = None,
        }
    }
    sum
}

fn judge_leaf(leaf: &Leaf, facts: &Facts<'_>) -> Option<bool> {
    let row = facts.row;
    match leaf {
        Leaf::Always(matches) => Some(*matches),
        Leaf::Seqs(set) => Some(Uid::new(row.seq.value()).is_some_and(|seq| set.contains(seq))),
        Leaf::Uids(set) => Some(set.contains(row.uid)),
        Leaf::Flag(flag) => Some(row.flags.contains(*flag)),
        Leaf::Keyword(keyword) => Some(facts.rows.keywords(row).contains(keyword)),
        Leaf::Recent => Some(row.recent),
        Leaf::ModSeq(modseq) => Some(row.modseq >= *modseq),
        Leaf::Header(n, text) => {
            (facts.level >= Level::Headers).then(|| header_matches(facts.rows.header(row, *n), text.as_ref()))
        }
        Leaf::Address(n, text) => {
            (facts.level >= Level::Headers).then(|| addresses_match(facts.rows.header(row, *n), text))
        }
        Leaf::Body(needle) => facts.hits?.verdict(*needle),
        _ => (facts.level >= Level::Columns).then(|| judge_column(leaf, row)),
    }
}

fn judge_column(leaf: &Leaf, row: &Row) -> bool {
    let arrived = |holds: &dyn Fn(CalendarDate) -> bool| {
        row.internal_date.is_some_and(|date| holds(CalendarDate::of_unix(date.unix)))
    };
    let saved = |holds: &dyn Fn(CalendarDate) -> bool| {
        let date = row.save_date.or(row.internal_date.map(|date| date.unix));
        date.is_some_and(|date| holds(CalendarDate::of_unix(date)))
    };
    // As from Dovecot, a message without a Date that can be read was sent on the first day of Unix time.
    let sent_on = row.sent_date.map_or(CalendarDate::of_unix(0), |date| date.day());
    match leaf {
        Leaf::Before(day) => arrived(&|date| date < *day),
        Leaf::On(day) => arrived(&|date| date == *day),
        Leaf::Since(day) => arrived(&|date| date >= *day),
        Leaf::SentBefore(day) => sent_on < *day,
        Leaf::SentOn(day) => sent_on == *day,
        Leaf::SentSince(day) => sent_on >= *day,
        Leaf::Larger(size) => row.size.is_some_and(|have| have > *size),
        Leaf::ArrivedBy(time) => row.internal_date.is_some_and(|date| date.unix <= *time),
        Leaf::ArrivedSince(time) => row.internal_date.is_some_and(|date| date.unix >= *time),
        Leaf::SavedBefore(day) => saved(&|date| date < *day),
        Leaf::SavedOn(day) => saved(&|date| date == *day),
        Leaf::SavedSince(day) => saved(&|date| date >= *day),
        Leaf::EmailId(id) => row.guid.is_some_and(|guid| guid.to_string() == *id),
        Leaf::Smaller(size) => row.size.is_some_and(|have| have < *size),
        _ => false,
    }
}

fn header_matches(lines: &[u8], text: Option<&FoldedText>) -> bool {
    let Some(text) = text else { return !lines.is_empty() };
    let mut folded = Vec::new();
    Fields::new(lines).any(|field| {
        folded.clear();
        fold_header(&field.value(), &mut folded);
        text.is_in(&folded)
    })
}

/// Looks in the addresses as they are written when all are written alike, each field by itself.
fn addresses_match(lines: &[u8], text: &FoldedText) -> bool {
    let mut folded = Vec::new();
    Fields::new(lines).any(|field| {
        let addresses = parse_address_list(&field.value(), ADDRESS_COUNT_MAX);
        let mut written = Vec::new();
        write_address_list(&addresses, &mut written);
        folded.clear();
        fold_header(&written, &mut folded);
        text.is_in(&folded)
    })
}
