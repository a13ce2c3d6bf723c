//! Threads made: from each message's parent to lists of children, and from these to the tokens of an answer.

use mailtypes::{SeqNum, Uid};

use super::messages::ThreadMessage;

/// What is above a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Parent {
    /// Nothing: it begins a thread.
    Root,
    /// A message.
    Message(u32),
    /// A message that is not there, whose answers begin a thread together.
    Dummy(u32),
}

/// A piece of an answer, as RFC 5256 §4 has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ThreadToken {
    /// `(`
    Open,
    /// A message; those that follow before a parenthesis are each the only answer to the one before.
    Message {
        /// Its identity.
        uid: Uid,
        /// Its place in the view.
        seq: SeqNum,
    },
    /// `)`
    Close,
}

/// Threads, told piece by piece; however deep they are, nothing recurses.
#[derive(Debug, Default)]
pub struct Threads {
    messages: Vec<ThreadMessage>,
    /// Children of all nodes: those of node `n` from `starts[n]` to `starts[n + 1]`. Behind the messages come the dummies.
    children: Vec<u32>,
    starts: Vec<u32>,
    roots: std::vec::IntoIter<u32>,
    /// What is still to be told of the thread that was begun; the next last.
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
enum Open {
    /// In parentheses of its own.
    Branch(u32),
    Node(u32),
    Close,
}

impl Threads {
    /// Threads of `messages`, each under its parent. Siblings, and the roots, come in the order of `order`; a dummy stands
    /// where the first of its children does.
    pub(super) fn new(messages: Vec<ThreadMessage>, parents: &[Parent], order: &[u32]) -> Self {
        let count = messages.len() as u32;
        let node_of = |dummy: u32| count.saturating_add(dummy);
        let dummies = parents.iter().map(|parent| if let Parent::Dummy(dummy) = parent { dummy + 1 } else { 0 }).max();
        let node_count = node_of(dummies.unwrap_or_default()) as usize;
        let parent_of = |message: u32| match parents.get(message as usize) {
            Some(&Parent::Message(parent)) => Some(parent),
            Some(&Parent::Dummy(dummy)) => Some(node_of(dummy)),
            _ => None,
        };
        // Counted first, then filled in order: `ends[n]` is where the next child of `n` goes.
        let mut starts = vec![0u32; node_count + 1];
        for parent in (0..count).filter_map(parent_of) {
            add(&mut starts, parent as usize + 1, 1);
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut ends = starts.clone();
        let mut children = vec![0u32; sum as usize];
        let mut roots = Vec::new();
        for &message in order {
            let Some(parent) = parent_of(message) else {
                roots.push(message);
                continue;
            };
            let (start, end) = (at(&starts, parent as usize), at(&ends, parent as usize));
            if let Some(place) = children.get_mut(end as usize) {
                *place = message;
            }
            add(&mut ends, parent as usize, 1);
            if parent >= count && start == end {
                roots.push(parent);
            }
        }
        Self { messages, children, starts, roots: roots.into_iter(), open: Vec::new() }
    }

    /// Puts the threads into the order of the newest message of each. Those with equally new ones stay as they are; with
    /// Dovecot they stand in an order of its index of Message-IDs.
    pub(super) fn newest_last(mut self) -> Self {
        let mut roots: Vec<_> = self.roots.as_slice().iter().map(|&root| (self.newest(root), root)).collect();
        roots.sort_by_key(|&(newest, _)| newest);
        self.roots = roots.into_iter().map(|(_, root)| root).collect::<Vec<_>>().into_iter();
        self
    }

    /// The date of the newest message of a thread.
    fn newest(&self, root: u32) -> Option<i64> {
        let (mut newest, mut open) = (None, vec![root]);
        while let Some(node) = open.pop() {
            newest = newest.max(self.messages.get(node as usize).map(|message| message.date));
            open.extend(self.children_of(node));
        }
        newest
    }

    fn children_of(&self, node: u32) -> &[u32] {
        let range = at(&self.starts, node as usize) as usize..at(&self.starts, node as usize + 1) as usize;
        self.children.get(range).unwrap_or_default()
    }

    /// Opens what follows a node. Returns its own token, if it is no dummy.
    fn enter(&mut self, node: u32) -> Option<ThreadToken> {
        let message = self.messages.get(node as usize).copied();
        let children = self.children_of(node).to_vec();
        match children.as_slice() {
            [child] if message.is_some() => self.open.push(Open::Node(*child)),
            children => self.open.extend(children.iter().rev().map(|&child| Open::Branch(child))),
        }
        message.map(|message| ThreadToken::Message { uid: message.uid, seq: message.seq })
    }
}

impl Iterator for Threads {
    type Item = ThreadToken;

    fn next(&mut self) -> Option<ThreadToken> {
        loop {
            let open = match self.open.pop() {
                Some(open) => open,
                None => Open::Branch(self.roots.next()?),
            };
            match open {
                Open::Close => return Some(ThreadToken::Close),
                Open::Branch(node) => {
                    self.open.extend([Open::Close, Open::Node(node)]);
                    return Some(ThreadToken::Open);
                }
                Open::Node(node) => {
                    if let Some(token) = self.enter(node) {
                        return Some(token);
                    }
                }
            }
        }
    }
}

fn at(numbers: &[u32], place: usize) -> u32 {
    numbers.get(place).copied().unwrap_or_default()
}

fn add(numbers: &mut [u32], place: usize, more: u32) {
    if let Some(number) = numbers.get_mut(place) {
        *number += more;
    }
}
