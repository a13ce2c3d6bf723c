//! The Message-ID of a delivery, for the log.

use mailmime::Fields;

/// Bytes of a header that are looked at.
const HEADER_LEN_MAX: usize = 64 * 1024;
/// Bytes of a Message-ID that are shown.
const LEN_MAX: usize = 200;

/// The first Message-ID of the header at the beginning of `message`, made fit for one line of a log.
pub(crate) fn message_id(message: &[u8]) -> Option<String> {
    let header = message.get(..HEADER_LEN_MAX).unwrap_or(message);
    let field = Fields::new(header).find(|field| field.is(b"Message-ID"))?;
    let value = field.raw_value.trim_ascii();
    let text = String::from_utf8_lossy(value.get(..LEN_MAX).unwrap_or(value));
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ").escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_and_made_harmless() {
        let id = |message: &str| message_id(message.as_bytes());
        assert_eq!(id("A: b\r\nmessage-id:\r\n <a@b>\r\n\r\n").as_deref(), Some("<a@b>"));
        assert_eq!(id("Message-ID: <a\u{1b}[31m\"@b>\r\n\r\n").as_deref(), Some("<a\\u{1b}[31m\\\"@b>"));
        assert_eq!(id("A: b\r\n\r\nMessage-ID: <body>\r\n"), None);
        assert_eq!(id(""), None);
        assert!(id(&format!("Message-ID: <{}>\r\n", "x".repeat(5000))).unwrap().len() < 250);
    }
}
