//! The server's answers, appended to a buffer (RFC 9051 §7).
//!
//! Every function writes whole tokens or whole lines, whatever it is given: what cannot stand in a quoted string becomes
//! a literal, and text for people loses its control characters. None allocates but the buffer's own growth, apart from
//! mailbox names beyond ASCII.

mod code;
mod data;
mod fetch;
mod status;
mod strings;
mod thread;

pub use code::{Code, code};
pub use data::{
    EsearchResult, ListAttribute, Vanished, capability, enabled, esearch, exists, expunge, flags, id, list, list_root,
    list_with_child_info, lsub, namespace, recent, search, status, vanished,
};
pub use fetch::{FetchWriter, section_label};
pub use status::{
    Status, bad, bye, command_error, continuation, greeting, no, ok, preauth, tagged, untagged, untagged_status,
};
pub use strings::{
    astring, flag_list, flag_list_with, literal_head, mailbox, nstring, number, quoted, string, uid_set,
};

pub use thread::{ThreadNode, thread_list};

pub(crate) use fetch::{section_head, section_part};
pub(crate) use strings::{is_plain_astring, is_quotable};
