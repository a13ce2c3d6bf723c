//! The tree of names in `dovecot.list.index` (`docs/formats/list.md`): read from its index, and changed in it.
//!
//! # Invariants
//!
//! 1. Nothing on disk makes reading fail, loop or grow: a node whose name or parent is lost is told apart
//!    ([`Nodes::lost`]), and a way upwards ends after [`MailboxName::LEVELS_MAX`] steps.
//! 2. A name id that is in use is never given to another name.

use std::collections::{BTreeMap, HashMap};

use mailindex::{
    engine::{CommitPoint, RebuildMessage},
    log::{FlagChange, Generation, Origin, Transaction},
    state::{ExtensionSpec, RawIndexHeader, RecordFlags, State},
};
use mailtypes::{Guid, MailboxName, Uid, UidSet, UidValidity};

/// The extension with names in its header and a node in each record.
const LIST: &str = "list";

/// Bytes of a node.
const NODE_LEN: u16 = 28;

/// Names in the header at most; as many as levels are listed.
pub(in super::super) const NAMES_MAX: usize = 200_000;

/// Smallest header that is made.
const HEADER_LEN_MIN: usize = 256;

/// Where names begin in the header: behind the mark that the tree is stale.
const NAMES_START: usize = 1;

/// What a record's flags say of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NodeFlags(pub(crate) u8);

impl NodeFlags {
    /// Nothing may lie below it.
    const NO_INFERIORS: u8 = 0x01;
    /// Seen in a scan; means nothing, and Dovecot sets it nearly everywhere in `LAYOUT=index`.
    const SEEN: u8 = 0x02;
    /// There is no such name, only such below it.
    const NON_EXISTENT: u8 = 0x04;
    /// Its name was unreadable and was replaced.
    const CORRUPTED_NAME: u8 = 0x08;
    /// It holds no messages.
    const NO_SELECT: u8 = 0x10;

    /// A mailbox.
    pub(crate) const MAILBOX: Self = Self(Self::SEEN);
    /// A level that leads to mailboxes.
    pub(crate) const LEVEL: Self = Self(Self::NON_EXISTENT);

    /// Whether messages can be in it.
    pub(crate) fn is_selectable(self) -> bool {
        self.0 & (Self::NON_EXISTENT | Self::NO_SELECT) == 0
    }

    /// Whether it is there only because of what lies below it.
    pub(crate) fn is_non_existent(self) -> bool {
        self.0 & Self::NON_EXISTENT != 0
    }

    /// All bits that have a meaning.
    const ALL: u8 = Self::NO_INFERIORS | Self::SEEN | Self::NON_EXISTENT | Self::CORRUPTED_NAME | Self::NO_SELECT;
}

/// A level of the hierarchy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Node {
    pub(crate) uid: Uid,
    pub(crate) flags: NodeFlags,
    pub(crate) name_id: u32,
    /// 0: it is one of the topmost.
    pub(crate) parent: u32,
    /// Zero where it holds no messages, or where nobody has looked yet.
    pub(crate) guid: Guid,
    pub(crate) uid_validity: Option<UidValidity>,
}

impl Node {
    fn encode(&self) -> [u8; NODE_LEN as usize] {
        let mut bytes = [0; NODE_LEN as usize];
        let uid_validity = self.uid_validity.map_or(0, UidValidity::value);
        let parts: [&[u8]; 4] =
            [&self.name_id.to_le_bytes(), &self.parent.to_le_bytes(), &self.guid.0, &uid_validity.to_le_bytes()];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn decode(uid: Uid, flags: u8, field: &[u8]) -> Option<Self> {
        let word = |at: usize| field.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        Some(Self {
            uid,
            flags: NodeFlags(flags & NodeFlags::ALL),
            name_id: word(0)?,
            parent: word(4)?,
            guid: Guid(field.get(8..24)?.try_into().ok()?),
            uid_validity: word(24).and_then(UidValidity::new),
        })
    }
}

/// The whole tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<Uid, Node>,
    names: BTreeMap<u32, Box<[u8]>>,
    below: HashMap<u32, Vec<Uid>>,
    /// Bytes of the header that are taken, and that there are.
    used: usize,
    capacity: usize,
    /// It is marked as to be looked over.
    is_stale: bool,
}

/// Names of a header, and where the next one would go.
fn decode_names(header: &[u8]) -> (BTreeMap<u32, Box<[u8]>>, usize) {
    let mut names = BTreeMap::new();
    let mut at = NAMES_START;
    let mut last = 0;
    while let Some((id, rest)) = header.get(at..).and_then(<[u8]>::split_first_chunk::<4>) {
        let id = u32::from_le_bytes(*id);
        // Ids ascend; anything else is the end, or no names any more.
        if id <= last || names.len() >= NAMES_MAX {
            break;
        }
        let Some(len) = rest.iter().position(|&byte| byte == 0) else { break };
        names.insert(id, Box::from(rest.get(..len).unwrap_or_default()));
        at += 4 + len + 1;
        last = id;
    }
    (names, at)
}

impl Nodes {
    /// The tree of a list index; empty where there is none in it yet.
    pub(crate) fn read(state: &State) -> Self {
        let (Some(list), Some(field)) = (state.extension(LIST), state.extension_index(LIST)) else {
            return Self { used: NAMES_START, ..Self::default() };
        };
        let (names, used) = decode_names(list.hdr());
        let is_stale = list.hdr().first().is_some_and(|mark| *mark != 0);
        let mut nodes = Self { names, used, capacity: list.hdr_size() as usize, is_stale, ..Self::default() };
        for record in state.records_from(0) {
            if let Some(node) = Node::decode(record.uid(), record.record_flags().0, record.field(field)) {
                nodes.put(node);
            }
        }
        nodes
    }

    fn put(&mut self, node: Node) {
        if let Some(before) = self.nodes.insert(node.uid, node) {
            self.unlink(&before);
        }
        self.below.entry(node.parent).or_default().push(node.uid);
    }

    fn unlink(&mut self, node: &Node) {
        if let Some(below) = self.below.get_mut(&node.parent) {
            below.retain(|uid| *uid != node.uid);
        }
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A node by its number.
    pub(crate) fn get(&self, uid: Uid) -> Option<&Node> {
        self.nodes.get(&uid)
    }

    /// The levels below a node (0: the topmost).
    pub(crate) fn below(&self, parent: u32) -> impl Iterator<Item = &Node> {
        self.below.get(&parent).into_iter().flatten().filter_map(|uid| self.nodes.get(uid))
    }

    /// Whether anything lies below a node.
    pub(crate) fn has_children(&self, uid: Uid) -> bool {
        self.below(uid.value()).next().is_some()
    }

    /// A node's own level as it is stored.
    pub(crate) fn level(&self, node: &Node) -> Option<&[u8]> {
        self.names.get(&node.name_id).map(|name| &**name)
    }

    /// The levels of a node as they are stored, outermost first; `None` where one of them, or the way to the root, is lost.
    pub(crate) fn levels(&self, node: &Node) -> Option<Vec<&[u8]>> {
        let mut levels = vec![self.level(node)?];
        let mut parent = node.parent;
        while parent != 0 {
            if levels.len() >= MailboxName::LEVELS_MAX {
                return None;
            }
            let above = self.nodes.get(&Uid::new(parent)?)?;
            levels.push(self.level(above)?);
            parent = above.parent;
        }
        levels.reverse();
        Some(levels)
    }

    /// The node with these levels, and how many of them there are nodes for.
    pub(crate) fn find(&self, levels: &[Vec<u8>]) -> (Option<&Node>, usize) {
        let (mut found, mut parent) = (None, 0);
        for (depth, level) in levels.iter().enumerate() {
            let Some(node) = self.below(parent).find(|node| self.level(node) == Some(level)) else {
                return (found, depth);
            };
            (found, parent) = (Some(node), node.uid.value());
        }
        (found, levels.len())
    }

    /// The node of a mailbox.
    pub(crate) fn of_guid(&self, guid: Guid) -> Option<&Node> {
        self.nodes.values().find(|node| node.guid == guid && !guid.is_zero())
    }

    /// Nodes that no name leads to.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| self.levels(node).is_none())
    }
}

/// Changes of the tree that go into one transaction.
pub(crate) struct NodesChange {
    nodes: Nodes,
    next_uid: u32,
    /// `None`: the last number is taken, by damage; gaps are used then.
    next_name: Option<u32>,
    /// Names are written anew as a whole: new ones do not belong behind the others, or could not be read there.
    rewrites_names: bool,
    /// Names that are new, in order of their ids.
    new_names: Vec<(u32, Vec<u8>)>,
    appended: Vec<Uid>,
    changed: Vec<Uid>,
    reflagged: Vec<Uid>,
    removed: Vec<Uid>,
    has_list: bool,
    is_new: bool,
    is_stale: bool,
}

impl NodesChange {
    /// Nothing changed yet.
    pub(crate) fn of(state: &State) -> Self {
        let nodes = Nodes::read(state);
        Self {
            next_uid: state.next_uid().value(),
            next_name: nodes.names.last_key_value().map_or(Some(1), |(id, _)| id.checked_add(1)),
            rewrites_names: nodes.names.len() >= NAMES_MAX,
            nodes,
            new_names: Vec::new(),
            appended: Vec::new(),
            changed: Vec::new(),
            reflagged: Vec::new(),
            removed: Vec::new(),
            has_list: state.extension(LIST).is_some(),
            is_new: state.uid_validity().is_none(),
            is_stale: false,
        }
    }

    /// The tree as it is with the changes so far.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    fn name(&mut self, level: &[u8]) -> u32 {
        let id = self.next_name.unwrap_or_else(|| {
            self.rewrites_names = true;
            // There are fewer names than numbers.
            (1..u32::MAX).find(|id| !self.nodes.names.contains_key(id)).unwrap_or(u32::MAX)
        });
        self.next_name = self.next_name.and_then(|id| id.checked_add(1));
        self.nodes.names.insert(id, level.into());
        self.new_names.push((id, level.to_vec()));
        id
    }

    fn append(&mut self, level: &[u8], parent: u32, flags: NodeFlags) -> Option<Uid> {
        let uid = Uid::new(self.next_uid).filter(|uid| *uid <= Uid::MAX_ON_DISK && self.nodes.len() < NAMES_MAX)?;
        self.next_uid += 1;
        let name_id = self.name(level);
        self.nodes.put(Node { uid, flags, name_id, parent, guid: Guid::ZERO, uid_validity: None });
        self.appended.push(uid);
        Some(uid)
    }

    /// The node with these levels, made with those above it as far as they are missing. `None`: there are no numbers left.
    pub(crate) fn make(&mut self, levels: &[Vec<u8>]) -> Option<Uid> {
        let (found, depth) = self.nodes.find(levels);
        let mut last = found.map(|node| node.uid);
        for level in levels.get(depth..).unwrap_or_default() {
            last = Some(self.append(level, last.map_or(0, Uid::value), NodeFlags::LEVEL)?);
        }
        last
    }

    /// Makes a node a mailbox, or with no identity a level.
    pub(crate) fn set(&mut self, uid: Uid, identity: Option<(Guid, UidValidity)>) {
        let Some(mut node) = self.nodes.get(uid).copied() else { return };
        node.guid = identity.map_or(Guid::ZERO, |(guid, _)| guid);
        node.uid_validity = identity.map(|(_, uid_validity)| uid_validity);
        node.flags = if identity.is_some() { NodeFlags::MAILBOX } else { NodeFlags(NodeFlags::NO_SELECT) };
        self.nodes.put(node);
        self.changed.push(uid);
        self.reflagged.push(uid);
    }

    /// Says which mailbox a node stands for, where that is not known.
    pub(crate) fn identify(&mut self, uid: Uid, guid: Guid, uid_validity: UidValidity) {
        let Some(mut node) = self.nodes.get(uid).copied() else { return };
        let is_known = node.guid == guid && node.uid_validity == Some(uid_validity);
        if is_known && node.flags.is_selectable() {
            return;
        }
        (node.guid, node.uid_validity) = (guid, Some(uid_validity));
        if !node.flags.is_selectable() {
            node.flags = NodeFlags(0);
            self.reflagged.push(uid);
        }
        self.nodes.put(node);
        self.changed.push(uid);
    }

    /// The tree must be looked over before it is used, when it is made.
    pub(crate) fn stale(mut self) -> Self {
        self.is_stale = true;
        self
    }

    /// Gives a node another name and another place.
    pub(crate) fn rename(&mut self, uid: Uid, parent: u32, level: &[u8]) {
        let Some(mut node) = self.nodes.get(uid).copied() else { return };
        node.name_id = self.name(level);
        self.nodes.unlink(&node);
        node.parent = parent;
        self.nodes.nodes.remove(&uid);
        self.nodes.put(node);
        self.changed.push(uid);
    }

    /// Moves a node, and all below it, from one name to another: nothing where there is no such node, or one of the new
    /// name already.
    pub(crate) fn move_to(&mut self, from: &[Vec<u8>], to: &[Vec<u8>]) {
        let (Some(uid), true) = (self.nodes.find(from).0.map(|node| node.uid), self.nodes.find(from).1 == from.len())
        else {
            return;
        };
        let Some((level, above)) = to.split_last().filter(|_| self.nodes.find(to).1 < to.len()) else { return };
        if above.is_empty() {
            self.rename(uid, 0, level);
        } else if let Some(parent) = self.make(above) {
            self.rename(uid, parent.value(), level);
        }
    }

    /// Takes a node out.
    pub(crate) fn remove(&mut self, uid: Uid) {
        if let Some(node) = self.nodes.nodes.remove(&uid) {
            self.nodes.unlink(&node);
            self.removed.push(uid);
        }
    }

    /// Takes those levels from here upwards out that are there only because of what was below them.
    pub(crate) fn remove_empty_levels(&mut self, from: u32) {
        let mut at = Uid::new(from);
        while let Some(uid) = at {
            let Some(node) = self.nodes.get(uid).copied() else { return };
            if !node.flags.is_non_existent() || self.nodes.has_children(uid) {
                return;
            }
            self.remove(uid);
            at = Uid::new(node.parent);
        }
    }

    /// Says it all to the log; durable when that is committed.
    pub(crate) fn commit(self, at: &mut CommitPoint<'_>, now: u32) {
        self.write(at.transaction(), now);
        at.require_sync();
    }

    /// Says it all for an index that is made anew: records, and what follows them.
    pub(crate) fn rebuilt(mut self, now: u32) -> (Vec<RebuildMessage>, Transaction) {
        let appended = std::mem::take(&mut self.appended);
        let there = appended.iter().filter_map(|uid| self.nodes.get(*uid));
        let messages = there.map(|node| RebuildMessage { uid: node.uid, flags: RecordFlags(node.flags.0) }).collect();
        (self.changed, self.reflagged) = (appended, Vec::new());
        let mut content = Transaction::new();
        self.write(&mut content, now);
        (messages, content)
    }

    /// Says it all.
    pub(crate) fn write(self, to: &mut Transaction, now: u32) {
        if self.is_new {
            // As Dovecot does; nothing asks for it.
            to.header_update_before(RawIndexHeader::UID_VALIDITY, &now.max(1).to_le_bytes());
        }
        let spec = self.write_names(to);
        let is_there = |uid: &Uid| self.nodes.get(*uid).is_some();
        for uid in self.appended.iter().filter(|uid| is_there(uid)) {
            let flags = self.nodes.get(*uid).map_or(0, |node| node.flags.0);
            to.append(*uid, RecordFlags(flags));
        }
        if let Some(last) = self.appended.last().filter(|uid| !is_there(uid)).and_then(|uid| uid.successor()) {
            to.header_update(RawIndexHeader::NEXT_UID, &last.value().to_le_bytes());
        }
        let is_new = |uid: &Uid| self.appended.contains(uid);
        for uid in self.reflagged.iter().filter(|uid| is_there(uid) && !is_new(uid)) {
            let flags = self.nodes.get(*uid).map_or(0, |node| node.flags.0);
            let change = FlagChange {
                add: RecordFlags(flags),
                remove: RecordFlags(!flags & NodeFlags::ALL),
                count_modseq: false,
            };
            to.flags(&[*uid].into_iter().collect::<UidSet>(), change, Origin::External);
        }
        let mut written = UidSet::new();
        for uid in self.appended.iter().chain(&self.changed) {
            if let Some(node) = self.nodes.get(*uid)
                && !written.contains(*uid)
            {
                to.ext_record(&spec, Generation::Current, *uid, &node.encode(), Origin::External);
                written.insert(*uid);
            }
        }
        let gone = self.removed.iter().filter(|uid| !is_new(uid));
        to.expunge_done(gone.map(|uid| (*uid, Guid::ZERO)));
    }

    /// New names go behind the others as long as there is room; then all that are in use are written into a larger header.
    fn write_names(&self, to: &mut Transaction) -> ExtensionSpec {
        let mut spec = ExtensionSpec {
            name: LIST,
            hdr_size: u32::try_from(self.nodes.capacity).unwrap_or(u32::MAX),
            record_size: NODE_LEN,
            record_align: 4,
            no_shrink: true,
        };
        let names = encode_names(self.new_names.iter().map(|(id, name)| (*id, &**name)));
        if self.has_list && names.is_empty() {
            return spec;
        }
        let has_room = self.nodes.used + names.len() + 4 <= self.nodes.capacity;
        if self.has_list && has_room && !self.rewrites_names {
            to.ext_header(&spec, self.nodes.used as u32, &[&*names, &[0; 4]].concat(), Origin::External);
            return spec;
        }
        let used: std::collections::BTreeSet<u32> = self.nodes.iter().map(|node| node.name_id).collect();
        let kept = self.nodes.names.iter().filter(|(id, _)| used.contains(id));
        // What was said of it stays.
        let stale = self.is_stale || self.nodes.is_stale;
        let mut header = vec![u8::from(stale); NAMES_START];
        header.extend(encode_names(kept.map(|(id, name)| (*id, &**name))));
        let capacity = (header.len() + 4).next_power_of_two().max(HEADER_LEN_MIN).max(self.nodes.capacity);
        // What was behind the names before is none any more.
        header.resize(capacity, 0);
        spec.hdr_size = u32::try_from(capacity).unwrap_or(u32::MAX);
        to.ext_header(&spec, 0, &header, Origin::External);
        spec
    }
}

fn encode_names<'a>(names: impl Iterator<Item = (u32, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, name) in names {
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
    }
    bytes
}
