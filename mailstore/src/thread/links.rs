//! Who answers whom: step 1 of REFERENCES (RFC 5256 §3), a message at a time.
//!
//! Message IDs are kept as keyed hashes of 64 bits: nobody can make two that are taken for one, and of a million the
//! chance that two are is one in thirty million.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
};

use mailmime::MessageIds;

use super::forest::{Forest, Node};

/// References of one message that are looked at: the first ones.
pub const THREAD_REFERENCES_MAX: usize = 10_000;

/// Message IDs that one threading keeps. IDs that come when there are so many are passed over, unless a message bears
/// them: its links are then as if its References were shorter.
pub const THREAD_IDS_MAX: usize = 2_000_000;

/// The ID table and its links.
#[derive(Debug, Default)]
pub(super) struct LinkTable {
    hasher: RandomState,
    nodes: HashMap<u64, Node>,
    forest: Forest,
    places: Vec<Place>,
}

/// What is known of a message ID.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) parent: Option<Node>,
    /// The message that bears it; a dummy without one.
    pub(super) message: Option<u32>,
    has_children: bool,
}

/// The header fields that make links: of each the first, unfolded or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdFields<'a> {
    pub(super) message_id: &'a [u8],
    pub(super) references: &'a [u8],
    pub(super) in_reply_to: &'a [u8],
}

impl LinkTable {
    /// Takes in a message. They come in the order of their sequence numbers.
    pub(super) fn add(&mut self, message: u32, fields: IdFields<'_>) {
        let own = self.own_node(message, fields.message_id);
        let last = self.link_references(fields);
        if let Some(parent) = self.place(own).parent {
            if Some(parent) == last {
                return;
            }
            self.forest.cut(own);
            self.set(own, |place| place.parent = None);
        }
        if let Some(last) = last {
            self.link(last, own);
        }
    }

    /// A message's node, and the node of the message or the dummy above it.
    pub(super) fn place(&self, node: Node) -> Place {
        self.places.get(node as usize).copied().unwrap_or_default()
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The node of a new message: that of its ID unless another message has that.
    fn own_node(&mut self, message: u32, message_id: &[u8]) -> Node {
        let hash = MessageIds::new(message_id).next().map(|id| self.hasher.hash_one(&*id));
        let known = hash.and_then(|hash| self.nodes.get(&hash).copied());
        let node = match known {
            Some(node) if self.place(node).message.is_none() => node,
            _ => {
                let node = self.new_node();
                if let (Some(hash), None) = (hash, known) {
                    self.nodes.insert(hash, node);
                }
                node
            }
        };
        self.set(node, |place| place.message = Some(message));
        node
    }

    /// Links the references with each other; the last is the message's parent.
    fn link_references(&mut self, fields: IdFields<'_>) -> Option<Node> {
        let mut last = None;
        for id in MessageIds::new(fields.references).take(THREAD_REFERENCES_MAX) {
            let Some(node) = self.node_of(&id) else { continue };
            if let Some(before) = last
                && self.place(node).parent.is_none()
            {
                self.link(before, node);
            }
            last = Some(node);
        }
        last.or_else(|| self.node_of(&MessageIds::new(fields.in_reply_to).next()?))
    }

    fn node_of(&mut self, id: &[u8]) -> Option<Node> {
        let hash = self.hasher.hash_one(id);
        if let Some(&node) = self.nodes.get(&hash) {
            return Some(node);
        }
        if self.places.len() >= THREAD_IDS_MAX {
            return None;
        }
        let node = self.new_node();
        self.nodes.insert(hash, node);
        Some(node)
    }

    fn new_node(&mut self) -> Node {
        self.places.push(Place::default());
        self.forest.add()
    }

    /// Links `child`, which has no parent, unless that would make a loop.
    fn link(&mut self, parent: Node, child: Node) {
        let makes_loop = parent == child || self.place(child).has_children && self.forest.root(parent) == child;
        if makes_loop {
            return;
        }
        self.forest.link(child, parent);
        self.set(child, |place| place.parent = Some(parent));
        self.set(parent, |place| place.has_children = true);
    }

    fn set(&mut self, node: Node, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.places.get_mut(node as usize) {
            change(place);
        }
    }
}
