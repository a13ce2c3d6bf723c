//! What a session did, for its line in the log.

/// Counters of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Commands that were answered.
    pub(crate) commands: u64,
    /// Messages of which a FETCH response with a text was sent.
    pub(crate) bodies: u64,
    /// Messages of which another FETCH response was asked for and sent.
    pub(crate) fetched: u64,
    /// Messages appended.
    pub(crate) appended: u64,
    /// Messages copied or moved.
    pub(crate) copied: u64,
    /// Messages expunged, moved ones included.
    pub(crate) expunged: u64,
}
