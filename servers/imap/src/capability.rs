//! What CAPABILITY names: only what works.

use std::borrow::Cow;

use crate::SessionContext;

/// Before login, whatever the connection.
const BEFORE_LOGIN: &str = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE";
/// After login.
const AFTER_LOGIN: &str = "IMAP4rev1 SASL-IR ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS \
     THREAD=ORDEREDSUBJECT MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC ESEARCH ESORT \
     SEARCHRES WITHIN LIST-STATUS BINARY MOVE PREVIEW STATUS=SIZE SAVEDATE LITERAL+ SPECIAL-USE COMPRESS=DEFLATE OBJECTID";

/// Before login: how to get TLS, and how to log in.
pub(crate) fn before_login(context: &SessionContext) -> String {
    let mut capabilities = BEFORE_LOGIN.to_owned();
    if context.starttls.is_some() && context.client.tls.is_none() {
        capabilities.push_str(" STARTTLS");
    }
    if !context.client.may_send_password() {
        capabilities.push_str(" LOGINDISABLED");
    }
    for mechanism in context.logins.mechanisms(&context.client) {
        capabilities.push_str(" AUTH=");
        capabilities.push_str(mechanism.name());
    }
    told(context, capabilities.into()).into_owned()
}

/// After login.
pub(crate) fn after_login(context: &SessionContext) -> Cow<'static, str> {
    told(context, AFTER_LOGIN.into())
}

/// Without those that are hidden. `IMAP4rev1` must be there (RFC 3501 §6.1.1).
fn told(context: &SessionContext, capabilities: Cow<'static, str>) -> Cow<'static, str> {
    let hidden = &context.options.hidden_capabilities;
    if hidden.is_empty() {
        return capabilities;
    }
    let is_told = |name: &&str| *name == "IMAP4rev1" || !hidden.iter().any(|hidden| hidden.eq_ignore_ascii_case(name));
    capabilities.split(' ').filter(is_told).collect::<Vec<_>>().join(" ").into()
}
