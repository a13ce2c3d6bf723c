//! Response codes (RFC 9051 §7.1, RFC 5530, RFC 4315, RFC 7162).

use mailtypes::{Flags, Guid, Keyword, ModSeq, SeqNum, Uid, UidSet, UidValidity};

use super::strings::{flag_list_with, number, object_id, uid_set};

/// A `resp-text-code`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Code<'a> {
    /// `ALERT`: the text must be shown to the user.
    Alert,
    /// `ALREADYEXISTS`
    AlreadyExists,
    /// `APPENDUID`
    AppendUid {
        /// Of the mailbox.
        uid_validity: UidValidity,
        /// Of the new messages, in the order of the APPEND.
        uids: &'a UidSet,
    },
    /// `AUTHENTICATIONFAILED`
    AuthenticationFailed,
    /// `AUTHORIZATIONFAILED`
    AuthorizationFailed,
    /// `BADCHARSET (US-ASCII UTF-8 …)`, with all that are known.
    BadCharset,
    /// `CANNOT`
    Cannot,
    /// `CAPABILITY`, with a list separated by spaces.
    Capability(&'a str),
    /// `CLIENTBUG`
    ClientBug,
    /// `CLOSED`
    Closed,
    /// `COMPRESSIONACTIVE` (RFC 4978)
    CompressionActive,
    /// `CONTACTADMIN`
    ContactAdmin,
    /// `COPYUID`
    CopyUid {
        /// Of the mailbox copied to.
        uid_validity: UidValidity,
        /// What was copied.
        source: &'a UidSet,
        /// Under which UIDs, in the same order.
        destination: &'a UidSet,
    },
    /// `CORRUPTION`
    Corruption,
    /// `EXPIRED`
    Expired,
    /// `EXPUNGEISSUED`
    ExpungeIssued,
    /// `HASCHILDREN`
    HasChildren,
    /// `HIGHESTMODSEQ`
    HighestModSeq(ModSeq),
    /// `INUSE`
    InUse,
    /// `LIMIT`
    Limit,
    /// `MAILBOXID` (RFC 8474)
    MailboxId(Guid),
    /// `MODIFIED`: these failed a STORE's UNCHANGEDSINCE; UIDs or sequence numbers as the command had.
    Modified(&'a UidSet),
    /// `NOMODSEQ`
    NoModSeq,
    /// `NONEXISTENT`
    NonExistent,
    /// `NOPERM`
    NoPerm,
    /// `NOTSAVED`
    NotSaved,
    /// `OVERQUOTA`
    OverQuota,
    /// `PARSE`
    Parse,
    /// `PERMANENTFLAGS`
    PermanentFlags {
        /// System flags that can be changed.
        flags: Flags,
        /// Keywords that can be changed.
        keywords: &'a [Keyword],
        /// Whether new keywords can be made (`\*`).
        creatable: bool,
    },
    /// `PRIVACYREQUIRED`
    PrivacyRequired,
    /// `READ-ONLY`
    ReadOnly,
    /// `READ-WRITE`
    ReadWrite,
    /// `SERVERBUG`
    ServerBug,
    /// `TOOBIG`
    TooBig,
    /// `TRYCREATE`
    TryCreate,
    /// `UIDNEXT`
    UidNext(Uid),
    /// `UIDNOTSTICKY`
    UidNotSticky,
    /// `UIDVALIDITY`
    UidValidity(UidValidity),
    /// `UNAVAILABLE`
    Unavailable,
    /// `UNKNOWN-CTE` (RFC 3516)
    UnknownCte,
    /// `UNSEEN`: the first message that is not seen (RFC 3501).
    Unseen(SeqNum),
    /// `USEATTR`: a special use that cannot be had (RFC 6154).
    UseAttr,
}

impl Code<'_> {
    /// The name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid { .. } => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset => "BADCHARSET",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::CompressionActive => "COMPRESSIONACTIVE",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::CopyUid { .. } => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HasChildren => "HASCHILDREN",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::MailboxId(_) => "MAILBOXID",
            Self::Modified(_) => "MODIFIED",
            Self::NoModSeq => "NOMODSEQ",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::NotSaved => "NOTSAVED",
            Self::OverQuota => "OVERQUOTA",
            Self::Parse => "PARSE",
            Self::PermanentFlags { .. } => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidNotSticky => "UIDNOTSTICKY",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::Unseen(_) => "UNSEEN",
            Self::UseAttr => "USEATTR",
        }
    }
}

/// Charsets that SEARCH, SORT and THREAD take, by the names that clients give them (RFC 3501 §7.1).
const CHARSETS: &str = "US-ASCII UTF-8 ISO-8859-1 ISO-8859-2 ISO-8859-3 ISO-8859-4 ISO-8859-5 ISO-8859-6 ISO-8859-7 \
     ISO-8859-8 ISO-8859-9 ISO-8859-10 ISO-8859-13 ISO-8859-14 ISO-8859-15 ISO-8859-16 WINDOWS-1250 WINDOWS-1251 \
     WINDOWS-1252 WINDOWS-1253 WINDOWS-1254 WINDOWS-1255 WINDOWS-1256 WINDOWS-1257 WINDOWS-1258 WINDOWS-874 KOI8-R \
     KOI8-U IBM866 MACINTOSH BIG5 EUC-JP SHIFT_JIS EUC-KR GBK GB18030";

/// Writes a code in its brackets.
pub fn code(out: &mut Vec<u8>, code: Code<'_>) {
    out.push(b'[');
    out.extend_from_slice(code.name().as_bytes());
    match code {
        Code::AppendUid { uid_validity, uids } => {
            number_after_space(out, uid_validity.value());
            set_after_space(out, uids);
        }
        Code::CopyUid { uid_validity, source, destination } => {
            number_after_space(out, uid_validity.value());
            set_after_space(out, source);
            set_after_space(out, destination);
        }
        Code::BadCharset => {
            out.extend_from_slice(b" (");
            out.extend_from_slice(CHARSETS.as_bytes());
            out.push(b')');
        }
        Code::Capability(list) => {
            out.push(b' ');
            out.extend_from_slice(list.as_bytes());
        }
        Code::HighestModSeq(mod_seq) => number_after_space(out, mod_seq.value()),
        Code::MailboxId(id) => {
            out.extend_from_slice(b" (");
            object_id(out, id);
            out.push(b')');
        }
        Code::Modified(set) => set_after_space(out, set),
        Code::PermanentFlags { flags, keywords, creatable } => {
            // The star comes last, after the keywords, as Dovecot writes it.
            out.push(b' ');
            flag_list_with(out, flags, None, keywords);
            if creatable {
                out.pop();
                out.extend_from_slice(if out.ends_with(b"(") { b"\\*)" } else { b" \\*)" });
            }
        }
        Code::UidNext(uid) => number_after_space(out, uid.value()),
        Code::UidValidity(uid_validity) => number_after_space(out, uid_validity.value()),
        Code::Unseen(seq) => number_after_space(out, seq.value()),
        _ => {}
    }
    out.push(b']');
}

fn number_after_space(out: &mut Vec<u8>, n: impl Into<u64>) {
    out.push(b' ');
    number(out, n);
}

fn set_after_space(out: &mut Vec<u8>, set: &UidSet) {
    out.push(b' ');
    uid_set(out, set);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(c: Code<'_>) -> String {
        let mut out = Vec::new();
        code(&mut out, c);
        String::from_utf8(out).unwrap()
    }

    fn set(uids: &[u32]) -> UidSet {
        let mut set = UidSet::new();
        uids.iter().for_each(|&uid| set.insert(Uid::new(uid).unwrap()));
        set
    }

    #[test]
    fn rfc_examples() {
        let uid_validity = UidValidity::new(38_505).unwrap();
        assert_eq!(written(Code::AppendUid { uid_validity, uids: &set(&[3955]) }), "[APPENDUID 38505 3955]");
        let (source, destination) = (set(&[304, 319, 320]), set(&[3956, 3957, 3958]));
        let copied = Code::CopyUid { uid_validity, source: &source, destination: &destination };
        assert_eq!(written(copied), "[COPYUID 38505 304,319:320 3956:3958]");
        assert_eq!(written(Code::HighestModSeq(ModSeq::new(715_194_045_007).unwrap())), "[HIGHESTMODSEQ 715194045007]");
        assert_eq!(written(Code::Modified(&set(&[7, 9]))), "[MODIFIED 7,9]");
        let id = Guid::parse(b"f2186ea5000000000000000000004c82").unwrap();
        assert_eq!(written(Code::MailboxId(id)), "[MAILBOXID (f2186ea5000000000000000000004c82)]");
        assert_eq!(written(Code::UseAttr), "[USEATTR]");
        let charsets = written(Code::BadCharset);
        assert!(charsets.starts_with("[BADCHARSET (US-ASCII UTF-8 ISO-8859-1 "), "{charsets}");
        assert!(charsets.ends_with(" GB18030)]"), "{charsets}");
        assert_eq!(written(Code::ReadWrite), "[READ-WRITE]");
        assert_eq!(written(Code::Capability("IMAP4rev1 IDLE")), "[CAPABILITY IMAP4rev1 IDLE]");
    }

    #[test]
    fn the_star_is_the_last_of_the_permanent_flags() {
        let keywords = [Keyword::new("$Junk").unwrap()];
        let all = Code::PermanentFlags { flags: Flags::from_bits(4), keywords: &keywords, creatable: true };
        assert_eq!(written(all), "[PERMANENTFLAGS (\\Deleted $Junk \\*)]");
        let star = Code::PermanentFlags { flags: Flags::NONE, keywords: &[], creatable: true };
        assert_eq!(written(star), "[PERMANENTFLAGS (\\*)]");
        let none = Code::PermanentFlags { flags: Flags::NONE, keywords: &[], creatable: false };
        assert_eq!(written(none), "[PERMANENTFLAGS ()]");
    }

    /// What is told is what is taken.
    #[test]
    fn the_charsets_told_are_known() {
        for charset in CHARSETS.split_ascii_whitespace() {
            let line = format!("a SEARCH CHARSET {charset} SUBJECT x\r\n");
            let mut decoder = crate::Decoder::new(crate::Limits::default());
            let event = decoder.next(&mut line.as_bytes());
            assert!(matches!(event, Ok(Some(crate::Event::Command { .. }))), "{charset}: {event:?}");
        }
    }
}
