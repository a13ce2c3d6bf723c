//! What the configuration says of POP3, as its server takes it.

use culver_pop3::{DeleteType, Options, UidlDuplicates, UidlFormat};
use mailstore::mailtypes::Keyword;

use crate::config::tables::{Pop3, Pop3Delete, Pop3Duplicates};

/// The server's options. What cannot be read was refused when the configuration was; its default stands in.
pub(crate) fn options(of: &Pop3) -> Options {
    Options {
        uidl_format: UidlFormat::parse(&of.uidl_format).unwrap_or_default(),
        uidl_duplicates: match *of.uidl_duplicates {
            Pop3Duplicates::Allow => UidlDuplicates::Allow,
            Pop3Duplicates::Rename => UidlDuplicates::Rename,
        },
        no_flag_updates: *of.no_flag_updates,
        delete: match (*of.delete, Keyword::new(&of.deleted_flag)) {
            (Pop3Delete::Flag, Ok(keyword)) => DeleteType::Flag(keyword),
            _ => DeleteType::Expunge,
        },
        lock_session: *of.lock_session,
        login_delay: of.login_delay.0,
        last: *of.enable_last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn the_documented_defaults_are_the_servers() {
        assert_eq!(options(&Pop3::defaults()), Options::default());
    }
}
