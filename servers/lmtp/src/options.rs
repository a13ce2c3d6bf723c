//! What a server may be set to, apart from its limits.

/// What a server may be set to. The names in parentheses are Dovecot's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Characters of which the first in a local part begins the detail (`recipient_delimiter`); none if empty. A user
    /// whose whole name has such a character is found first.
    pub recipient_delimiter: String,
    /// What the detail is good for (`lmtp_save_to_detail_mailbox`).
    pub detail: DetailMailbox,
    /// Put a Received field on top (`lmtp_add_received_header`).
    pub received_header: bool,
    /// Put a Return-Path field on top.
    pub return_path_header: bool,
    /// Put a Delivered-To field on top of a message that has one recipient (`lmtp_hdr_delivery_address`).
    pub delivered_to_header: bool,
}

/// Where mail for `user+detail` goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DetailMailbox {
    /// To INBOX, as if there were no detail.
    Ignore,
    /// To the mailbox `detail` if there is one, else to INBOX.
    #[default]
    IfExists,
    /// To the mailbox `detail`, which is made if there is none (`lda_mailbox_autocreate`); to INBOX if it cannot be.
    Create,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recipient_delimiter: "+".to_owned(),
            detail: DetailMailbox::default(),
            received_header: true,
            return_path_header: true,
            delivered_to_header: true,
        }
    }
}
