//! What moving messages between storages is told, and tells (`docs/formats/dbox.md`, Alternate storage).

use mailtypes::UidSet;

/// Where messages are to be moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MoveTo {
    /// To alternate storage.
    Alternate,
    /// Back to where new messages come.
    Primary,
}

/// What a move did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// Messages whose files were moved.
    pub moved: UidSet,
    /// Bytes of these files.
    pub bytes: u64,
}
