//! Changes of extensions.

use mailtypes::Uid;

use super::Transaction;
use crate::{log::Origin, state::ExtensionSpec};

/// Which generation of an extension's data a change belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Generation {
    /// Whichever is in force in the state (or will be, after a reset in the same transaction).
    Current,
    /// This one: if another is in force when the log is read, the change is void.
    Only(u32),
}

/// A new generation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reset {
    pub(super) new_reset_id: u32,
    pub(super) preserve: bool,
}

/// Everything about one extension and one generation.
#[derive(Clone, Debug)]
pub(super) struct ExtensionChanges {
    pub(super) spec: ExtensionSpec,
    pub(super) generation: Generation,
    pub(super) origin: Origin,
    /// An introduction is wanted even if nothing follows.
    pub(super) intro: bool,
    pub(super) reset: Option<Reset>,
    pub(super) header: Vec<(u32, Vec<u8>)>,
    pub(super) records: Vec<(Uid, Vec<u8>)>,
    pub(super) increments: Vec<(Uid, i32)>,
}

impl ExtensionChanges {
    pub(super) fn is_empty(&self) -> bool {
        !self.has_prologue() && self.records.is_empty() && self.increments.is_empty()
    }

    /// Whether something of it stands ahead of the message changes.
    pub(super) fn has_prologue(&self) -> bool {
        self.intro || self.reset.is_some() || !self.header.is_empty()
    }
}

impl Transaction {
    fn extension(&mut self, spec: &ExtensionSpec, generation: Generation, origin: Origin) -> &mut ExtensionChanges {
        let same = |e: &ExtensionChanges| e.spec == *spec && e.generation == generation && e.origin == origin;
        let at = self.extensions.iter().position(same).unwrap_or(self.extensions.len());
        if at == self.extensions.len() {
            self.extensions.push(ExtensionChanges {
                spec: *spec,
                generation,
                origin,
                intro: false,
                reset: None,
                header: Vec::new(),
                records: Vec::new(),
                increments: Vec::new(),
            });
        }
        &mut self.extensions[at]
    }

    /// Creates the extension, or brings it to its size.
    pub fn ext_intro(&mut self, spec: &ExtensionSpec, origin: Origin) {
        self.extension(spec, Generation::Current, origin).intro = true;
    }

    /// Starts a new generation of the extension's data. Changes of `Generation::Current` and of the new one in this
    /// transaction are written into it.
    pub fn ext_reset(&mut self, spec: &ExtensionSpec, new_reset_id: u32, preserve: bool, origin: Origin) {
        self.extension(spec, Generation::Current, origin).reset = Some(Reset { new_reset_id, preserve });
    }

    /// Header data of the extension.
    pub fn ext_header(&mut self, spec: &ExtensionSpec, offset: u32, data: &[u8], origin: Origin) {
        self.extension(spec, Generation::Current, origin).header.push((offset, data.to_vec()));
    }

    /// A message's field, `spec.record_size` bytes (fewer: the rest is zero). The last of several wins.
    pub fn ext_record(&mut self, spec: &ExtensionSpec, generation: Generation, uid: Uid, data: &[u8], origin: Origin) {
        self.extension(spec, generation, origin).records.push((uid, data.to_vec()));
    }

    /// Adds to a message's field. Several add up.
    pub fn ext_increment(&mut self, spec: &ExtensionSpec, uid: Uid, diff: i32, origin: Origin) {
        self.extension(spec, Generation::Current, origin).increments.push((uid, diff));
    }
}
