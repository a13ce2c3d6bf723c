//! What threading keeps of each message that was found.

use mailtypes::{SeqNum, Uid};

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadMessage {
    pub(super) uid: Uid,
    pub(super) seq: SeqNum,
    /// By which threads and answers are ordered, Unix seconds.
    pub(super) date: i64,
    /// Of its base subject; `None` if that is empty. Keyed: see `links`.
    pub(super) subject: Option<u64>,
    pub(super) is_reply_or_forward: bool,
}

/// The messages' numbers in the order of their dates, ties by sequence number.
pub(super) fn by_date(messages: &[ThreadMessage]) -> Vec<u32> {
    let mut order: Vec<(i64, u32)> = messages.iter().map(|message| message.date).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, message)| message).collect()
}
