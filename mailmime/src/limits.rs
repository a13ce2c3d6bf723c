//! What a scan may hold in memory. The defaults are Dovecot's where Dovecot has one.

/// Bounds of one scan. Beyond a bound the bytes are still counted, only no longer taken apart or kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Parts in one message, the root included. From here on boundaries are not looked for any more and the part that
    /// holds the rest is marked [`crate::PartFlags::OVERFLOW`].
    pub part_count_max: usize,
    /// How deep parts may lie in each other; more than [`Limits::NESTING_CEILING`] is taken as that.
    pub nesting_max: usize,
    /// Bytes kept of one header field, its name and continuation lines included; the rest of a longer one is cut off.
    pub field_len_max: usize,
    /// Bytes kept for all that is read out of the headers of all parts, with an estimate of the overhead of each
    /// address and parameter. Fields that do not fit any more are treated as absent.
    pub content_len_max: usize,
    /// Bytes kept of the message header as it stands in the message ([`crate::Structure::header`]). 0 keeps none.
    pub header_len_max: usize,
}

impl Limits {
    /// Default of [`Limits::part_count_max`].
    pub const PART_COUNT_MAX: usize = 10_000;
    /// Default of [`Limits::nesting_max`].
    pub const NESTING_MAX: usize = 100;
    /// What [`Limits::nesting_max`] can be at most: printing a structure uses stack for each level.
    pub const NESTING_CEILING: usize = 256;
    /// Default of [`Limits::field_len_max`].
    pub const FIELD_LEN_MAX: usize = 1 << 20;
    /// Default of [`Limits::content_len_max`].
    pub const CONTENT_LEN_MAX: usize = 16 << 20;
    /// Default of [`Limits::header_len_max`].
    pub const HEADER_LEN_MAX: usize = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_count_max: Self::PART_COUNT_MAX,
            nesting_max: Self::NESTING_MAX,
            field_len_max: Self::FIELD_LEN_MAX,
            content_len_max: Self::CONTENT_LEN_MAX,
            header_len_max: Self::HEADER_LEN_MAX,
        }
    }
}

/// What is left of [`Limits::content_len_max`] during a scan.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.0
    }

    /// Takes `cost` bytes; false, and nothing taken, if there are not that many left.
    pub(crate) fn charge(&mut self, cost: usize) -> bool {
        match self.0.checked_sub(cost) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }
}
