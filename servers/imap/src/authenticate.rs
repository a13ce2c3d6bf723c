//! AUTHENTICATE with the mechanism PLAIN (RFC 3501 §6.2.2, RFC 4616), with or without initial response (RFC 4959).

use imap_proto::{
    Secret, Tag,
    write::{self, Code},
};

use crate::{
    end::End,
    session::{Incoming, Session},
    state::State,
};

/// What a PLAIN message says.
#[derive(Eq, PartialEq)]
#[cfg_attr(test, derive(Debug))]
struct Plain {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl Session {
    pub(crate) async fn authenticate(
        &mut self,
        tag: &Tag,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> Result<(), End> {
        if !matches!(self.state, State::NotAuthenticated) {
            return self.bad(tag, "Already logged in.");
        }
        if mechanism != "PLAIN" {
            return self.no(tag, Some(Code::Cannot), "Unsupported authentication mechanism.");
        }
        if !self.passwords_allowed(tag)? {
            return Ok(());
        }
        let message = match initial {
            Some(Secret(initial)) if initial == b"=" => Vec::new(),
            Some(Secret(initial)) => initial,
            None => match self.challenge(tag).await? {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        let Some(message) = base64(&message) else {
            return self.bad(tag, "Invalid base64 data.");
        };
        match plain(&message) {
            Some(Plain { name, password }) => self.log_in(tag, &name, Secret(password)).await,
            None => self.login_failed(tag, ""),
        }
    }

    /// Asks for the client's message. `None` if it did not send one and was answered.
    async fn challenge(&mut self, tag: &Tag) -> Result<Option<Vec<u8>>, End> {
        write::continuation(&mut self.wire.output, "");
        self.decoder.begin_authenticate();
        match self.next_event(&mut Vec::new()).await? {
            Incoming::AuthenticateData(answer) => Ok(Some(answer)),
            Incoming::Error(error) => self.command_error(&error).map(|()| None),
            _ => self.bad(tag, "Authentication aborted by client.").map(|()| None),
        }
    }
}

/// Takes a PLAIN message apart. `None` for what is none, and for one that would act for another than it names: nobody
/// may.
fn plain(message: &[u8]) -> Option<Plain> {
    let mut parts = message.split(|&byte| byte == 0);
    let (act_as, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && (act_as.is_empty() || act_as == name);
    is_whole.then(|| Plain { name: name.to_vec(), password: password.to_vec() })
}

/// Decodes base64 (RFC 4648 §4), padding required.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for (number, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        if padding > 2 || (padding > 0 && number + 1 < groups.len()) {
            return None;
        }
        let digits = group.iter().take(4 - padding).map(|&byte| digit(byte));
        let mut bits = digits.chain(std::iter::repeat_n(Some(0), padding));
        let bits = bits.try_fold(0, |bits, digit| Some(bits << 6 | u32::from(digit?)))?;
        let [_, decoded @ ..] = bits.to_be_bytes();
        bytes.extend(decoded.into_iter().take(3 - padding));
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length_and_of_none() {
        for (text, bytes) in [("", &b""[..]), ("eA==", b"x"), ("eHk=", b"xy"), ("eHl6", b"xyz"), ("eHl6ew==", b"xyz{")]
        {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for text in ["=", "eA=", "eA", "e===", "====", "eA==eHl6", "e A=", "e=A=", "!!!!"] {
            assert_eq!(base64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_plain_message() {
        let ann = || Some(Plain { name: b"ann".to_vec(), password: b"secret".to_vec() });
        assert_eq!(plain(b"\0ann\0secret"), ann());
        assert_eq!(plain(b"ann\0ann\0secret"), ann());
        for message in [&b"bob\0ann\0secret"[..], b"\0ann", b"ann", b"", b"\0ann\0secret\0"] {
            assert_eq!(plain(message), None);
        }
    }
}
