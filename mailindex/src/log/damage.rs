//! What can be wrong with a log.

/// Something in a log that no interrupted writer could have left there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("log record at offset {offset}: {kind}")]
pub struct Damage {
    /// Where the record begins.
    pub offset: u32,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// Whole transactions behind one that is not whole.
    #[error("it is not whole, and more was appended behind it")]
    Gap,
    /// Not even a type word and something after it.
    #[error("a record cannot have {0} bytes")]
    RecordSize(u32),
    /// A transaction shorter than the record that announces it.
    #[error("a transaction cannot have {0} bytes")]
    BoundarySize(u32),
    /// The constant that protects expunges is missing.
    #[error("the expunge lacks its protecting constant")]
    UnprotectedExpunge,
    /// Lengths inside the payload do not come out even, or there is nothing in it.
    #[error("the payload does not parse")]
    Payload,
    /// UID 0, last before first, or ranges not in order.
    #[error("the UID range {uid1}:{uid2} is not valid here")]
    UidRange {
        /// First.
        uid1: u32,
        /// Last.
        uid2: u32,
    },
}
