//! What CAPABILITY names: only what works.

use crate::SessionContext;

/// Before login, whatever the connection.
const BEFORE_LOGIN: &str = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE";
/// After login.
pub(crate) const AFTER_LOGIN: &str = "IMAP4rev1 SASL-IR ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS \
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
    capabilities
}
