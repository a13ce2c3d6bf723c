//! Up to which mod-sequence a client has been told all, for one that comes back with QRESYNC.
//!
//! Such a client asks for what happened after the largest mod-sequence that it knows. While expunges are held back (RFC 3501
//! §7.4.1), changes that came after them are told with their mod-sequences; a client that lost its connection then would
//! never learn of the expunges. So it is told which mod-sequence it may come back with (RFC 7162 §6, the commands A150 to
//! A152): after the former, that of before the expunges; after VANISHED, the present one.

use mailtypes::ModSeq;

/// See the module.
#[derive(Debug)]
pub(crate) struct Highest {
    /// That of the last view whose expunges are all told.
    complete: ModSeq,
    owes: Option<Owed>,
}

/// Why the client is to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owed {
    /// It heard of a larger one, and must not come back with it.
    Ahead,
    /// Expunges were told, and nothing is behind them.
    Vanished,
}

impl Highest {
    pub(crate) fn new(complete: ModSeq) -> Self {
        Self { complete, owes: None }
    }

    /// The view holds no expunges back.
    pub(crate) fn complete(&mut self, modseq: ModSeq) {
        self.complete = modseq;
        self.owes = self.owes.filter(|owed| *owed != Owed::Ahead);
    }

    /// The client is told the mod-sequence of a message.
    pub(crate) fn told(&mut self, modseq: ModSeq) {
        if modseq > self.complete {
            self.owes = Some(Owed::Ahead);
        }
    }

    /// The client is told what vanished, which [`Highest::complete`] has taken note of.
    pub(crate) fn vanished(&mut self) {
        self.owes = Some(Owed::Vanished);
    }

    pub(crate) fn complete_modseq(&self) -> ModSeq {
        self.complete
    }

    /// What to tell, once.
    pub(crate) fn take(&mut self) -> Option<ModSeq> {
        self.owes.take().map(|_| self.complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modseq(n: u64) -> ModSeq {
        ModSeq::new(n).unwrap()
    }

    #[test]
    fn what_is_told_while_expunges_are_held_back() {
        let mut highest = Highest::new(modseq(10));
        highest.told(modseq(9));
        assert_eq!(highest.take(), None, "not ahead");
        highest.told(modseq(14));
        assert_eq!((highest.take(), highest.take()), (Some(modseq(10)), None), "told once");
        highest.told(modseq(15));
        highest.complete(modseq(16));
        assert_eq!(highest.take(), None, "it was overtaken");
        highest.complete(modseq(17));
        highest.vanished();
        highest.told(modseq(17));
        assert_eq!(highest.take(), Some(modseq(17)));
    }
}
