//! IMAP's `sequence-set` (RFC 9051 §9): numbers and ranges in which `*` stands for the largest in use.

use std::fmt;

use crate::{Uid, UidSet};

/// One end of a range.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SequenceBound {
    /// A number; not zero.
    Number(u32),
    /// `*`: the largest in use.
    Star,
}

/// A set as a client wrote it. What it means depends on the view: see [`SequenceSet::resolve`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SequenceSet(pub Vec<(SequenceBound, SequenceBound)>);

impl SequenceSet {
    /// The set's numbers once `*` is known: the largest sequence number or UID in the mailbox, 0 when it is empty.
    /// Ends may come in either order; a `*` in an empty mailbox names nothing. As RFC 9051 says, `n:*` names the largest
    /// even where `n` is larger still. (Sequence numbers and UIDs share the representation; the caller knows which.)
    pub fn resolve(&self, largest: u32) -> UidSet {
        let number = |bound| match bound {
            SequenceBound::Number(n) => n,
            SequenceBound::Star => largest,
        };
        let mut set = UidSet::new();
        for &(a, b) in &self.0 {
            let (a, b) = (number(a), number(b));
            if let (Some(first), Some(last)) = (Uid::new(a.min(b)), Uid::new(a.max(b))) {
                set.insert_range(first..=last);
            }
        }
        set
    }
}

impl fmt::Display for SequenceBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Star => f.write_str("*"),
        }
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (a, b)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if a == b { write!(f, "{comma}{a}")? } else { write!(f, "{comma}{a}:{b}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SequenceBound::*, *};

    #[test]
    fn star_is_the_largest_in_use() {
        let check = |set: &[(SequenceBound, SequenceBound)], largest, expect: &str| {
            assert_eq!(SequenceSet(set.to_vec()).resolve(largest).to_string(), expect);
        };
        check(&[(Number(4), Star)], 9, "4:9");
        check(&[(Number(12), Star)], 9, "9:12");
        check(&[(Star, Star), (Number(1), Number(1))], 9, "1,9");
        check(&[(Number(5), Number(2))], 9, "2:5");
        check(&[(Star, Star)], 0, "");
    }
}
