//! A transaction that is to be written: what a caller wants changed, and its encoding.
//!
//! The order of the calls does not matter, but among changes of the same kind to the same message: the records are
//! put in the order of `docs/formats/log.md`, appends before everything that speaks of the new UIDs, expunges last.

mod encode;
mod extension;
mod messages;
mod restrict;
mod write;

use mailtypes::{Guid, ModSeq, Uid, UidSet};

pub use encode::{EncodedTransaction, TRANSACTION_SIZE_TARGET, TransactionError};
use extension::ExtensionChanges;
pub use extension::Generation;
use messages::{FlagRecord, KeywordChange};

use super::Origin;
use crate::state::{ExtensionSpec, RecordFlags};

/// An attribute of the mailbox that was set or unset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttributeUpdate {
    /// Set; otherwise unset.
    pub set: bool,
    /// Shared between users; otherwise private.
    pub shared: bool,
    /// The attribute's name, without NULs.
    pub name: Vec<u8>,
    /// When, Unix seconds.
    pub timestamp: u32,
    /// Bytes of the value; 0 when unset.
    pub value_len: u32,
}

/// How flags change: new = (old without `remove`) with `add`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct FlagChange {
    /// Flags set.
    pub add: RecordFlags,
    /// Flags removed.
    pub remove: RecordFlags,
    /// Counts as a change for modseqs even if clients see none.
    pub count_modseq: bool,
}

impl FlagChange {
    /// Sets flags.
    pub fn add(flags: impl Into<RecordFlags>) -> Self {
        Self { add: flags.into(), ..Self::default() }
    }

    /// Removes flags.
    pub fn remove(flags: impl Into<RecordFlags>) -> Self {
        Self { remove: flags.into(), ..Self::default() }
    }

    /// Sets exactly these of the five that clients know.
    pub fn replace(flags: mailtypes::Flags) -> Self {
        let others = mailtypes::Flags::ALL.without(flags);
        Self { add: flags.into(), remove: others.into(), count_modseq: false }
    }
}

/// Whether a keyword is set or removed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeywordAction {
    /// Set.
    Add,
    /// Removed.
    Remove,
}

/// Where a HEADER_UPDATE stands in the transaction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum HeaderPlace {
    Before,
    After,
}

/// Changes that are to be written together.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    undelete: Option<Origin>,
    extensions: Vec<ExtensionChanges>,
    header_before: Vec<(u16, Vec<u8>)>,
    header_after: Vec<(u16, Vec<u8>)>,
    attributes: Vec<AttributeUpdate>,
    appends: Vec<(Uid, RecordFlags)>,
    appends_origin: Origin,
    flags: Vec<FlagRecord>,
    keywords: Vec<KeywordChange>,
    modseqs: Vec<(Uid, ModSeq)>,
    min_modseq: Option<ModSeq>,
    expunge_requests: UidSet,
    expunges: Vec<(Uid, Guid)>,
    delete: Option<Origin>,
    enable_modseqs: bool,
    move_tail: bool,
    keep_whole: bool,
}

impl Transaction {
    /// Nothing changed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        !self.has_changes() && !self.move_tail
    }

    /// Whether messages come or go by it, or get other flags or keywords.
    pub fn concerns_messages(&self) -> bool {
        !self.appends.is_empty()
            || !self.flags.is_empty()
            || !self.keywords.is_empty()
            || !self.expunges.is_empty()
            || !self.expunge_requests.is_empty()
    }

    /// A new message (external: its body is in the store). UIDs must ascend from call to call.
    pub fn append(&mut self, uid: Uid, flags: impl Into<RecordFlags>) {
        self.appends.push((uid, flags.into()));
    }

    /// Whether the new messages are external, as they are unless this says otherwise. The map of an mdbox has internal ones
    /// alone.
    pub fn append_as(&mut self, origin: Origin) {
        self.appends_origin = origin;
    }

    /// The base header's `uid_validity`, `next_uid`, day table …: `data` at `offset` of `docs/formats/index.md`,
    /// written behind the message changes.
    pub fn header_update(&mut self, offset: u16, data: &[u8]) {
        self.put_header(HeaderPlace::After, offset, data);
    }

    /// The same, written ahead of the message changes (a UID validity that they need).
    pub fn header_update_before(&mut self, offset: u16, data: &[u8]) {
        self.put_header(HeaderPlace::Before, offset, data);
    }

    fn put_header(&mut self, place: HeaderPlace, offset: u16, data: &[u8]) {
        let list = match place {
            HeaderPlace::Before => &mut self.header_before,
            HeaderPlace::After => &mut self.header_after,
        };
        list.push((offset, data.to_vec()));
    }

    /// Gives a message a modseq, if its own is not higher already, and raises the counter to it.
    pub fn modseq(&mut self, uid: Uid, modseq: ModSeq) {
        self.modseqs.push((uid, modseq));
    }

    /// Raises the counter.
    pub fn min_modseq(&mut self, modseq: ModSeq) {
        self.min_modseq = self.min_modseq.max(Some(modseq));
    }

    /// Starts to keep modseqs for each message, unless the state does already: the extension, with the counter's
    /// present value for all messages that are there (`docs/formats/index.md`, "modseq").
    pub fn enable_modseqs(&mut self) {
        self.enable_modseqs = true;
    }

    /// Asks whoever syncs the mailbox next to delete these mails. They stay until then.
    pub fn request_expunge(&mut self, uids: &UidSet) {
        self.expunge_requests = self.expunge_requests.union(uids);
    }

    /// The first message that is appended.
    pub fn first_appended(&self) -> Option<Uid> {
        self.appends.iter().map(|(uid, _)| *uid).min()
    }

    /// These mails are gone from the store. sdbox gives no GUID.
    pub fn expunge_done(&mut self, expunged: impl IntoIterator<Item = (Uid, Guid)>) {
        self.expunges.extend(expunged);
    }

    /// The mailbox is deleted (external) or asked to be (internal).
    pub fn index_deleted(&mut self, origin: Origin) {
        self.delete = Some(origin);
    }

    /// It is not, after all.
    pub fn index_undeleted(&mut self, origin: Origin) {
        self.undelete = Some(origin);
    }

    /// Announces a change of a mailbox attribute.
    pub fn attribute_update(&mut self, update: AttributeUpdate) {
        self.attributes.push(update);
    }

    /// A tail record directly behind: everything up to its own end is in the mail store.
    pub fn move_tail(&mut self) {
        self.move_tail = true;
    }

    /// Never split this transaction, however large: all of it or nothing. A crash in the middle of a large write
    /// leaves a torn end that has to be cut before Dovecot sees it.
    pub fn keep_whole(&mut self) {
        self.keep_whole = true;
    }
}

impl ExtensionSpec {
    /// The flags of its introduction.
    fn intro_flags(&self) -> u16 {
        if self.no_shrink { super::ExtIntro::NO_SHRINK } else { 0 }
    }
}
