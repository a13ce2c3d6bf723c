//! What the configuration says of IMAP, as its server takes it.

use culver_imap::Options;

use crate::config::tables::Imap;

/// The server's options. What is no field of ID was refused when the configuration was read.
pub(crate) fn options(of: &Imap) -> Options {
    Options {
        idle_notify_interval: of.idle_notify_interval.0,
        search_notify_interval: of.search_notify_interval.0,
        hidden_capabilities: of.hidden_capabilities.to_vec(),
        id: of.id.iter().filter_map(|field| id_field(field)).collect(),
    }
}

/// A field of ID and its value: RFC 2971 §3.3 has at most 30 bytes for the one and 1,024 for the other.
pub(crate) fn id_field(text: &str) -> Option<(String, String)> {
    let (field, value) = text.split_once('=')?;
    let is_plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let fits = !field.is_empty() && field.len() <= 30 && value.len() <= 1_024;
    (fits && is_plain(field) && is_plain(value)).then(|| (field.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn the_documented_defaults_are_the_servers() {
        assert_eq!(options(&Imap::defaults()), Options::default());
    }

    #[test]
    fn fields_of_id() {
        assert_eq!(id_field("support-url=mailto:a=b"), Some(("support-url".to_owned(), "mailto:a=b".to_owned())));
        assert_eq!(id_field("name="), Some(("name".to_owned(), String::new())));
        let long = format!("{}=x", "f".repeat(31));
        for wrong in ["name", "=x", "na\nme=x", "name=\u{e4}", &long] {
            assert_eq!(id_field(wrong), None, "{wrong}");
        }
    }
}
