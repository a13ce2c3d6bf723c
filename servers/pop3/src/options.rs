//! What a server may be set to, apart from its limits.

use std::time::Duration;

use mailtypes::Keyword;

use crate::{UidlDuplicates, UidlFormat};

/// What a server may be set to, with Dovecot's defaults. The names in parentheses are Dovecot's.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// How unique ids are made (`pop3_uidl_format`).
    pub uidl_format: UidlFormat,
    /// What to do where two are the same (`pop3_uidl_duplicates`).
    pub uidl_duplicates: UidlDuplicates,
    /// Leave `\Seen` and `\Recent` alone (`pop3_no_flag_updates`). Else a message that RETR showed gets `\Seen` at the end,
    /// and the session takes the `\Recent` messages.
    pub no_flag_updates: bool,
    /// What becomes of deleted messages (`pop3_delete_type`).
    pub delete: DeleteType,
    /// One session of a user at a time (`pop3_lock_session`): others are told `[IN-USE]`.
    pub lock_session: bool,
    /// Time that must pass between a user's logins (RFC 2449 §8.1.1), announced in CAPA; none if zero.
    pub login_delay: Duration,
    /// Answer LAST (RFC 1460), with the highest message that was shown or deleted (`pop3_enable_last`).
    pub last: bool,
}

/// What becomes of deleted messages at QUIT.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum DeleteType {
    /// They are expunged.
    #[default]
    Expunge,
    /// They get this keyword and stay for IMAP clients (`pop3_delete_type=flag`, `pop3_deleted_flag`); POP3 sessions do
    /// not see messages that have it.
    Flag(Keyword),
}
