//! The fields that a delivery puts on top of a message, as Dovecot writes them (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3).

use std::fmt::Write as _;

use culver_runtime::TlsVersion;
use jiff::Zoned;

use crate::{Options, SessionContext, address::Address};

/// What the fields tell.
pub(crate) struct Trace<'a> {
    pub(crate) context: &'a SessionContext,
    /// What the client called itself.
    pub(crate) client_name: &'a str,
    pub(crate) sender: &'a Address,
    /// Whether the sender said SMTPUTF8.
    pub(crate) utf8: bool,
    /// Who gets it, if it is one.
    pub(crate) recipient: Option<&'a Address>,
    /// The delivery's name in the log.
    pub(crate) id: &'a str,
}

impl Trace<'_> {
    /// The fields, with CR LF line ends.
    pub(crate) fn fields(&self, now: &Zoned) -> String {
        let Options { received_header, return_path_header, delivered_to_header, .. } = *self.context.options;
        let mut text = String::new();
        if return_path_header {
            let _ = write!(text, "Return-Path: <{}>\r\n", self.sender);
        }
        if let Some(recipient) = self.recipient.filter(|_| delivered_to_header) {
            let _ = write!(text, "Delivered-To: {recipient}\r\n");
        }
        if received_header {
            self.received(now, &mut text);
        }
        text
    }

    /// Writing to memory does not fail.
    fn received(&self, now: &Zoned, text: &mut String) {
        let client = &self.context.client;
        let _ = write!(text, "Received: from {}", self.client_name);
        if let Some(address) = client.address {
            let family = if address.is_ipv6() { "IPv6:" } else { "" };
            let _ = write!(text, " ([{family}{address}])");
        }
        if let Some(tls) = &client.tls {
            let version = match tls.version {
                TlsVersion::V1_2 => "TLSv1.2",
                TlsVersion::V1_3 => "TLSv1.3",
            };
            let _ = write!(text, "\r\n\t(using {version} with cipher {})", tls.cipher);
        }
        let utf8 = if self.utf8 { "UTF8" } else { "" };
        let secure = if client.tls.is_some() { "S" } else { "" };
        let host = &self.context.host_name;
        let _ = write!(text, "\r\n\tby {host} with {utf8}LMTP{secure}\r\n\tid {}", self.id);
        let _ = write!(text, "\r\n\t(envelope-from <{}>)", self.sender);
        if let Some(recipient) = self.recipient {
            let _ = write!(text, "\r\n\tfor <{recipient}>");
        }
        let _ = write!(text, "; {}\r\n", now.strftime("%a, %d %b %Y %H:%M:%S %z"));
    }
}
