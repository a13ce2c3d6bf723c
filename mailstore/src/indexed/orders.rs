//! Orders of messages by a text ([`SortOrder`]), kept for all who have a mailbox open or will have it; and those that Dovecot
//! has left in the index (`docs/formats/index.md`, `sort-s` and its siblings).
//!
//! # Invariants
//!
//! 1. An order is of one incarnation of one mailbox, whose messages never change: it is right or lacks messages.
//! 2. What is kept is bounded in bytes; the one that was not used for longest goes first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailindex::state::State;
use mailtypes::{Guid, SortKey, UidValidity};

use super::Indexed;
use crate::sort::SortOrder;

/// Bytes of all orders together.
const ORDERS_LEN_MAX: usize = 32 << 20;

/// Bytes of a message's place.
const PLACE_LEN: usize = 8;

/// The extensions in which Dovecot keeps such orders.
const EXTENSIONS: [(SortKey, &str); 6] = [
    (SortKey::Subject, "sort-s"),
    (SortKey::From, "sort-f"),
    (SortKey::To, "sort-t"),
    (SortKey::Cc, "sort-c"),
    (SortKey::DisplayFrom, "sort-df"),
    (SortKey::DisplayTo, "sort-dt"),
];

/// Which order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    /// Device and inode of the index's folder.
    folder: (u64, u64),
    guid: Guid,
    uid_validity: UidValidity,
    text: SortKey,
}

impl Key {
    fn new(mailbox: &Indexed, text: SortKey) -> Self {
        let Indexed { guid, uid_validity, .. } = *mailbox;
        Self { folder: mailbox.index.folder(), guid, uid_validity, text }
    }
}

/// All that are kept in an `Env`, least recently used first.
#[derive(Debug, Default)]
struct Orders(Mutex<VecDeque<(Key, Arc<SortOrder>)>>);

impl Orders {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(Key, Arc<SortOrder>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Option<Arc<SortOrder>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|(there, _)| there == key)?;
        let found = kept.remove(at)?;
        let order = Arc::clone(&found.1);
        kept.push_back(found);
        Some(order)
    }

    fn keep(&self, key: Key, order: &Arc<SortOrder>) {
        let len = |order: &SortOrder| order.len() * PLACE_LEN;
        if len(order) > ORDERS_LEN_MAX {
            return;
        }
        let mut kept = self.kept();
        kept.retain(|(there, _)| *there != key);
        kept.push_back((key, Arc::clone(order)));
        let mut total: usize = kept.iter().map(|(_, order)| len(order)).sum();
        while total > ORDERS_LEN_MAX {
            let Some((_, oldest)) = kept.pop_front() else { break };
            total -= len(&oldest);
        }
    }
}

/// See [`View::sort_order`](crate::View::sort_order).
pub(super) fn find(mailbox: &Indexed, state: &State, text: SortKey) -> Option<Arc<SortOrder>> {
    let orders = mailbox.index.env().companion::<Orders>();
    let key = Key::new(mailbox, text);
    if let Some(order) = orders.find(&key) {
        return Some(order);
    }
    let order = Arc::new(left_by_dovecot(state, text)?);
    orders.keep(key, &order);
    Some(order)
}

/// See [`View::keep_sort_order`](crate::View::keep_sort_order).
pub(super) fn keep(mailbox: &Indexed, text: SortKey, order: &Arc<SortOrder>) {
    mailbox.index.env().companion::<Orders>().keep(Key::new(mailbox, text), order);
}

/// Zero: the message has no number yet.
fn left_by_dovecot(state: &State, text: SortKey) -> Option<SortOrder> {
    let (_, name) = EXTENSIONS.iter().find(|(key, _)| *key == text)?;
    let field = state.extension_index(name)?;
    let numbers = state.records_from(0).map(|record| (record.uid(), record.field_u32(field)));
    let order = SortOrder::new(numbers.filter(|(_, number)| *number != 0).collect());
    (!order.is_empty()).then_some(order)
}
