//! What the configuration says of LMTP, as its server takes it.

use culver_lmtp::{DetailMailbox, Options};

use crate::config::tables::{Lmtp, LmtpDetail};

/// The server's options.
pub(crate) fn options(of: &Lmtp) -> Options {
    Options {
        recipient_delimiter: of.recipient_delimiter.to_string(),
        detail: match *of.detail {
            LmtpDetail::Ignore => DetailMailbox::Ignore,
            LmtpDetail::IfExists => DetailMailbox::IfExists,
            LmtpDetail::Create => DetailMailbox::Create,
        },
        received_header: *of.received_header,
        return_path_header: *of.return_path_header,
        delivered_to_header: *of.delivered_to_header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn the_documented_defaults_are_the_servers() {
        assert_eq!(options(&Lmtp::defaults()), Options::default());
    }
}
