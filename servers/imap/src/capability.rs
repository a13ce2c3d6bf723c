//! What CAPABILITY names: only what works.

/// Before login.
pub(crate) const BEFORE_LOGIN: &str = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN";
/// Before login, where passwords may not be sent.
pub(crate) const BEFORE_LOGIN_WITHOUT_PASSWORDS: &str = "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE LOGINDISABLED";
/// After login.
pub(crate) const AFTER_LOGIN: &str =
    "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE MULTIAPPEND ESEARCH STATUS=SIZE";
