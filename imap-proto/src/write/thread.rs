//! Threads (RFC 5256 `thread-list`). Does not recurse, however deep a thread is.

use super::strings::number;

/// A message in a thread. The messages of a thread are given parents first, each followed by all its descendants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ThreadNode {
    /// How many ancestors it has in its thread: 0 for the root.
    pub depth: u32,
    /// Its UID or sequence number. `None` for a message that is not there and that others answer: only for a root, and
    /// only with several children.
    pub number: Option<u32>,
}

/// Writes one thread: `(2)`, `(3 6 (4 23)(44 7 96))`, `((3)(5))`. A thread without messages writes nothing. Costs
/// nothing but the nodes' number, and memory for the branches that are open.
pub fn thread_list(out: &mut Vec<u8>, nodes: &[ThreadNode]) {
    if nodes.is_empty() {
        return;
    }
    out.push(b'(');
    // The depths at which a parenthesis is open.
    let mut open: Vec<u32> = Vec::new();
    let has_siblings = siblings(nodes);
    let mut begins = true;
    for (node, &is_branch) in nodes.iter().zip(&has_siblings) {
        while open.last().is_some_and(|&depth| depth >= node.depth) {
            open.pop();
            out.push(b')');
        }
        if is_branch {
            if !begins && !out.ends_with(b")") {
                out.push(b' ');
            }
            out.push(b'(');
            open.push(node.depth);
            begins = true;
        }
        if let Some(n) = node.number {
            if !begins {
                out.push(b' ');
            }
            number(out, n);
            begins = false;
        }
    }
    out.extend(open.iter().map(|_| b')'));
    out.push(b')');
}

/// Which nodes are one of several children of their parent.
fn siblings(nodes: &[ThreadNode]) -> Vec<bool> {
    let mut has_siblings = vec![false; nodes.len()];
    // The last node at each depth of the branch that is looked at.
    let mut last: Vec<usize> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let depth = node.depth as usize;
        if depth > 0
            && let Some(&before) = last.get(depth)
        {
            for place in [before, at] {
                if let Some(it) = has_siblings.get_mut(place) {
                    *it = true;
                }
            }
        }
        last.truncate(depth);
        last.resize(depth, at);
        last.push(at);
    }
    has_siblings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(nodes: &[(u32, u32)]) -> String {
        let node = |&(depth, n): &(u32, u32)| ThreadNode { depth, number: (n > 0).then_some(n) };
        let nodes: Vec<ThreadNode> = nodes.iter().map(node).collect();
        let mut out = Vec::new();
        thread_list(&mut out, &nodes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc_examples() {
        assert_eq!(written(&[(0, 2)]), "(2)");
        let branched = [(0, 3), (1, 6), (2, 4), (3, 23), (2, 44), (3, 7), (4, 96)];
        assert_eq!(written(&branched), "(3 6 (4 23)(44 7 96))");
        assert_eq!(written(&[(0, 0), (1, 3), (1, 5)]), "((3)(5))");
        assert_eq!(written(&[(0, 1), (1, 2), (1, 3), (2, 4), (1, 5)]), "(1 (2)(3 4)(5))");
        assert_eq!(written(&[(0, 1), (1, 2), (2, 3), (2, 4), (1, 5)]), "(1 (2 (3)(4))(5))");
        assert_eq!(written(&[(0, 0), (1, 3), (2, 4), (2, 6), (1, 5)]), "((3 (4)(6))(5))");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn depth_costs_no_stack() {
        let nodes: Vec<ThreadNode> = (0..200_000).map(|depth| ThreadNode { depth, number: Some(depth + 1) }).collect();
        let mut out = Vec::new();
        thread_list(&mut out, &nodes);
        assert!(out.starts_with(b"(1 2 3") && out.ends_with(b" 200000)"));
    }
}
