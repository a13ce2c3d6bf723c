//! How text protocols carry messages: in base64 (RFC 4648 §4), padding required.

use ::base64::{Engine as _, prelude::BASE64_STANDARD};

/// A message for a line of text.
pub fn encode_base64(message: &[u8]) -> String {
    BASE64_STANDARD.encode(message)
}

/// A client's answer to a challenge. `None` for what is no base64.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

/// A client's initial response, of which `=` is an empty one (RFC 4959 §3, RFC 5034 §4). `None` for what is no base64.
pub fn decode_initial_response(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" { Some(Vec::new()) } else { decode_base64(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length_and_of_none() {
        for (text, bytes) in [("", &b""[..]), ("eA==", b"x"), ("eHk=", b"xy"), ("eHl6", b"xyz"), ("eHl6ew==", b"xyz{")]
        {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(bytes), "{text}");
            assert_eq!(encode_base64(bytes), text);
        }
        for text in ["=", "eA=", "eA", "e===", "====", "eA==eHl6", "e A=", "e=A=", "!!!!", "eB=="] {
            assert_eq!(decode_base64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode_initial_response(b"="), Some(Vec::new()));
        assert_eq!(decode_initial_response(b"eA=="), Some(b"x".to_vec()));
    }
}
