//! From links to threads: steps 2 to 6 of REFERENCES (RFC 5256 §3), and ORDEREDSUBJECT.
//!
//! Trees are arrays of parents, so that no step recurses; each costs some nanoseconds a message and Message-ID.

use std::collections::HashMap;

use super::{
    forest::Node,
    links::LinkTable,
    messages::{ThreadMessage, by_date},
    tree::Parent,
};

/// Steps 2 and 3: each message's parent among the messages. Dummies are gone, but for those that would leave several
/// messages at the beginning of a thread.
pub(super) fn without_dummies(links: &LinkTable, message_count: usize) -> Vec<Parent> {
    let above = Above::of(links);
    let mut parents = vec![Parent::Root; message_count];
    // How many messages stand under each dummy that is left, and its number then.
    let mut dummies: HashMap<Node, (u32, u32)> = HashMap::new();
    for node in 0..links.len() as Node {
        if links.place(node).message.is_some()
            && let Found::Dummy(dummy) = above.found(links, node)
        {
            dummies.entry(dummy).or_default().0 += 1;
        }
    }
    let kept = dummies.values_mut().filter(|(count, _)| *count > 1);
    kept.zip(0..).for_each(|((_, number), n)| *number = n);
    for node in 0..links.len() as Node {
        let Some(message) = links.place(node).message else { continue };
        let parent = match above.found(links, node) {
            Found::Message(parent) => Parent::Message(parent),
            Found::Dummy(dummy) => match dummies.get(&dummy) {
                Some(&(count, number)) if count > 1 => Parent::Dummy(number),
                _ => Parent::Root,
            },
            Found::Nothing => Parent::Root,
        };
        if let Some(place) = parents.get_mut(message as usize) {
            *place = parent;
        }
    }
    parents
}

/// The next message above each node, or the topmost dummy.
struct Above(Vec<Option<Found>>);

#[derive(Clone, Copy, Debug)]
enum Found {
    Nothing,
    Message(u32),
    Dummy(Node),
}

impl Above {
    /// Each dummy is walked over once.
    fn of(links: &LinkTable) -> Self {
        let mut found: Vec<Option<Found>> = vec![None; links.len()];
        let mut way = Vec::new();
        for node in 0..links.len() as Node {
            let mut at = node;
            let end = loop {
                if let Some(known) = found.get(at as usize).copied().flatten() {
                    break known;
                }
                let place = links.place(at);
                if let Some(message) = place.message {
                    break Found::Message(message);
                }
                way.push(at);
                match place.parent {
                    Some(parent) => at = parent,
                    None => break Found::Dummy(at),
                }
            };
            for dummy in way.drain(..) {
                if let Some(place) = found.get_mut(dummy as usize) {
                    *place = Some(end);
                }
            }
        }
        Self(found)
    }

    /// For a message's node.
    fn found(&self, links: &LinkTable, node: Node) -> Found {
        let Some(parent) = links.place(node).parent else { return Found::Nothing };
        match links.place(parent).message {
            Some(message) => Found::Message(message),
            None => self.0.get(parent as usize).copied().flatten().unwrap_or(Found::Nothing),
        }
    }
}

/// A thread's beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Root {
    Message(u32),
    Dummy(u32),
}

/// Steps 4 and 5: joins threads with the same base subject. `order` is that of the messages' dates.
pub(super) fn join_subjects(parents: &mut [Parent], messages: &[ThreadMessage], order: &[u32]) {
    let roots = Roots::of(parents, order);
    let mut join = Join { messages, table: HashMap::new(), dummies: roots.dummies, joined: HashMap::new() };
    for &(root, first) in &roots.list {
        join.note(root, first);
    }
    for &(root, first) in &roots.list {
        join.merge(root, first, parents);
    }
    // Dummies whose children went to others.
    for parent in parents {
        if let Parent::Dummy(dummy) = parent
            && let Some(&into) = join.joined.get(dummy)
        {
            *parent = Parent::Dummy(into);
        }
    }
}

struct Roots {
    /// In order, each with the message whose date and subject it has: itself, or its first child.
    list: Vec<(Root, u32)>,
    dummies: u32,
}

impl Roots {
    fn of(parents: &[Parent], order: &[u32]) -> Self {
        let mut roots = Self { list: Vec::new(), dummies: 0 };
        let mut seen = Vec::new();
        for &message in order {
            match parents.get(message as usize) {
                Some(Parent::Root) => roots.list.push((Root::Message(message), message)),
                Some(&Parent::Dummy(dummy)) => {
                    if seen.len() <= dummy as usize {
                        seen.resize(dummy as usize + 1, false);
                    }
                    if let Some(seen) = seen.get_mut(dummy as usize).filter(|seen| !**seen) {
                        *seen = true;
                        roots.list.push((Root::Dummy(dummy), message));
                    }
                    roots.dummies = roots.dummies.max(dummy + 1);
                }
                _ => {}
            }
        }
        roots
    }
}

/// Step 5 under way.
struct Join<'a> {
    messages: &'a [ThreadMessage],
    /// The subject table.
    table: HashMap<u64, Root>,
    /// The number that the next dummy has.
    dummies: u32,
    /// Dummies that are no more, and whose children theirs are now.
    joined: HashMap<u32, u32>,
}

impl Join<'_> {
    fn subject(&self, first: u32) -> Option<u64> {
        self.messages.get(first as usize).and_then(|message| message.subject)
    }

    fn is_reply(&self, message: u32) -> bool {
        self.messages.get(message as usize).is_some_and(|message| message.is_reply_or_forward)
    }

    /// (B)
    fn note(&mut self, root: Root, first: u32) {
        let Some(subject) = self.subject(first) else { return };
        let replaces = match self.table.get(&subject) {
            None => true,
            Some(Root::Dummy(_)) => false,
            Some(&Root::Message(known)) => match root {
                Root::Dummy(_) => true,
                Root::Message(message) => self.is_reply(known) && !self.is_reply(message),
            },
        };
        if replaces {
            self.table.insert(subject, root);
        }
    }

    /// (C)
    fn merge(&mut self, root: Root, first: u32, parents: &mut [Parent]) {
        let Some(subject) = self.subject(first) else { return };
        let Some(&known) = self.table.get(&subject) else { return };
        if known == root {
            return;
        }
        let mut put = |message: u32, under: Parent| {
            if let Some(parent) = parents.get_mut(message as usize) {
                *parent = under;
            }
        };
        match (known, root) {
            (Root::Dummy(known), Root::Dummy(dummy)) => {
                self.joined.insert(dummy, known);
            }
            (Root::Dummy(known), Root::Message(message)) => put(message, Parent::Dummy(known)),
            (Root::Message(known), Root::Message(message)) => {
                if self.is_reply(message) && !self.is_reply(known) {
                    put(message, Parent::Message(known));
                } else {
                    put(message, Parent::Dummy(self.dummies));
                    put(known, Parent::Dummy(self.dummies));
                    self.table.insert(subject, Root::Dummy(self.dummies));
                    self.dummies += 1;
                }
            }
            // (B) has put every dummy in the place of messages.
            (Root::Message(_), Root::Dummy(_)) => {}
        }
    }
}

/// ORDEREDSUBJECT: the first message of each base subject, and all others of it under that.
pub(super) fn by_subject(messages: &[ThreadMessage]) -> (Vec<Parent>, Vec<u32>) {
    let order = by_date(messages);
    let mut parents = vec![Parent::Root; messages.len()];
    let mut firsts: HashMap<Option<u64>, u32> = HashMap::new();
    for &message in &order {
        let subject = messages.get(message as usize).and_then(|message| message.subject);
        let first = *firsts.entry(subject).or_insert(message);
        if first != message
            && let Some(parent) = parents.get_mut(message as usize)
        {
            *parent = Parent::Message(first);
        }
    }
    (parents, order)
}
