//! Trees that are linked and cut, and asked for their roots: link-cut trees, so that each costs the logarithm of the number
//! of nodes, amortized, however deep the trees are. A chain of References that walks up step by step would cost the square
//! of its length, and anybody can send one.

/// A node's number.
pub(super) type Node = u32;

const NONE: Node = Node::MAX;

/// A forest; nodes are numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Links>,
}

/// A node's place in the binary tree of its path.
#[derive(Clone, Copy, Debug)]
struct Links {
    /// In that tree; or, of its root, the node above the path.
    up: Node,
    /// Nodes above on the path.
    left: Node,
    /// Nodes below on the path.
    right: Node,
}

impl Links {
    const ALONE: Self = Self { up: NONE, left: NONE, right: NONE };
}

impl Forest {
    /// A new tree of one node.
    pub(super) fn add(&mut self) -> Node {
        self.nodes.push(Links::ALONE);
        Node::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    /// The root of the tree that a node is in.
    pub(super) fn root(&mut self, node: Node) -> Node {
        self.expose(node);
        let mut root = node;
        while self.links(root).left != NONE {
            root = self.links(root).left;
        }
        self.splay(root);
        root
    }

    /// Makes a root the child of a node in another tree.
    pub(super) fn link(&mut self, root: Node, parent: Node) {
        self.expose(root);
        self.set(root, |links| links.up = parent);
    }

    /// Makes a node a root.
    pub(super) fn cut(&mut self, node: Node) {
        self.expose(node);
        let above = self.links(node).left;
        self.set(above, |links| links.up = NONE);
        self.set(node, |links| links.left = NONE);
    }

    fn links(&self, node: Node) -> Links {
        self.nodes.get(node as usize).copied().unwrap_or(Links::ALONE)
    }

    fn set(&mut self, node: Node, change: impl FnOnce(&mut Links)) {
        if let Some(links) = self.nodes.get_mut(node as usize) {
            change(links);
        }
    }

    /// Makes the way from the root to a node a path that ends with it.
    fn expose(&mut self, node: Node) {
        let (mut below, mut at) = (NONE, node);
        while at != NONE {
            self.splay(at);
            self.set(at, |links| links.right = below);
            below = at;
            at = self.links(at).up;
        }
        self.splay(node);
    }

    fn is_top(&self, node: Node) -> bool {
        let up = self.links(node).up;
        let above = self.links(up);
        up == NONE || above.left != node && above.right != node
    }

    /// Makes a node the root of its path's binary tree.
    fn splay(&mut self, node: Node) {
        while !self.is_top(node) {
            let up = self.links(node).up;
            if !self.is_top(up) {
                let straight = (self.links(self.links(up).up).left == up) == (self.links(up).left == node);
                self.rotate(if straight { up } else { node });
            }
            self.rotate(node);
        }
    }

    /// Moves a node one place up.
    fn rotate(&mut self, node: Node) {
        let up = self.links(node).up;
        let above = self.links(up).up;
        if !self.is_top(up) {
            let is_left = self.links(above).left == up;
            self.set(above, |links| if is_left { links.left = node } else { links.right = node });
        }
        let moved = if self.links(up).left == node {
            let moved = self.links(node).right;
            self.set(up, |links| links.left = moved);
            self.set(node, |links| links.right = up);
            moved
        } else {
            let moved = self.links(node).left;
            self.set(up, |links| links.right = moved);
            self.set(node, |links| links.left = up);
            moved
        };
        self.set(moved, |links| links.up = up);
        self.set(up, |links| links.up = node);
        self.set(node, |links| links.up = above);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn deep_chains_cost_little() {
        let mut forest = Forest::default();
        let nodes: Vec<Node> = (0..200_000).map(|_| forest.add()).collect();
        nodes.windows(2).for_each(|pair| forest.link(pair[1], pair[0]));
        forest.cut(nodes[100_000]);
        for (at, &node) in nodes.iter().enumerate().rev() {
            assert_eq!(forest.root(node), nodes[at / 100_000 * 100_000]);
        }
    }

    proptest! {
        #[test]
        fn roots_are_those_of_plain_trees(steps in prop::collection::vec((0u32..12, 0u32..12, any::<bool>()), 0..80)) {
            let mut forest = Forest::default();
            let mut parents: Vec<Option<Node>> = (0..12).map(|_| { forest.add(); None }).collect();
            let root = |parents: &[Option<Node>], mut node: Node| {
                while let Some(parent) = parents[node as usize] {
                    node = parent;
                }
                node
            };
            for (a, b, cut) in steps {
                prop_assert_eq!(forest.root(b), root(&parents, b));
                if cut {
                    forest.cut(a);
                    parents[a as usize] = None;
                } else if parents[a as usize].is_none() && root(&parents, b) != a {
                    forest.link(a, b);
                    parents[a as usize] = Some(b);
                }
            }
            for node in 0..12 {
                prop_assert_eq!(forest.root(node), root(&parents, node));
            }
        }
    }
}
