//! How much of anything a client may send.

/// What a [`Decoder`](crate::Decoder) takes. A command that wants more fails; the connection survives unless its input
/// cannot be followed any longer ([`CommandError::is_fatal`](crate::CommandError::is_fatal)).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of one command outside its literals, line ends included. Dovecot's `imap_max_line_length` is 64 KiB too.
    pub line_len_max: usize,
    /// Bytes of one command in literals, all together; a message that is appended is not counted.
    pub literal_len_max: usize,
    /// Bytes of one message that is appended. A non-synchronizing literal longer than this, of whatever command, is
    /// not skipped but ends the connection.
    pub message_len_max: u64,
    /// How deep a search key may nest, by parentheses, `NOT` and `OR` together.
    pub search_depth_max: usize,
    /// Search keys in one command.
    pub search_keys_max: usize,
    /// Ranges in one sequence set.
    pub set_ranges_max: usize,
    /// Items of one FETCH.
    pub fetch_items_max: usize,
    /// Header field names in one section.
    pub header_names_max: usize,
    /// Numbers in one section's part path.
    pub part_path_max: usize,
    /// Flags and keywords in one list.
    pub flags_max: usize,
    /// Words in any other list: LIST patterns and options, STATUS items, ENABLE, the fields of ID.
    pub list_items_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_len_max: 64 << 10,
            literal_len_max: 64 << 10,
            message_len_max: 1 << 30,
            search_depth_max: 100,
            search_keys_max: 5_000,
            set_ranges_max: 20_000,
            fetch_items_max: 100,
            header_names_max: 200,
            part_path_max: 64,
            flags_max: 256,
            list_items_max: 100,
        }
    }
}
