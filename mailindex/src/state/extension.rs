//! Extensions: named data beside the base header and the base record (`docs/formats/index.md`, "Extension headers").

use std::sync::Arc;

use mailtypes::Guid;

/// Most header data an extension can have, in bytes.
pub const EXT_HDR_SIZE_MAX: u32 = (16 << 20) - 1;
/// Most header data that all extensions of an index can have together, in bytes. Dovecot's have some hundred.
pub const EXT_HDR_SIZE_SUM_MAX: u32 = 32 << 20;
/// Most bytes an extension can have in each record.
pub const EXT_RECORD_SIZE_MAX: u16 = 32767;
/// Most extensions that one index can have. Dovecot's own are about twenty.
pub const EXTENSIONS_MAX: usize = 64;

/// Names of extensions that this crate reads itself.
pub(crate) mod names {
    pub(crate) const KEYWORDS: &[u8] = b"keywords";
    pub(crate) const MODSEQ: &[u8] = b"modseq";
    pub(crate) const CACHE: &[u8] = b"cache";
}

/// One extension as a state has it. Its number is its position in the list; it never changes.
#[derive(Clone, Debug)]
pub struct Extension {
    pub(crate) name: Arc<[u8]>,
    pub(crate) reset_id: u32,
    pub(crate) hdr_size: u32,
    /// May be shorter than `hdr_size`; the rest is zero.
    pub(crate) hdr: Arc<Vec<u8>>,
    pub(crate) record_size: u16,
    pub(crate) record_align: u16,
}

impl Extension {
    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The generation of its data.
    pub fn reset_id(&self) -> u32 {
        self.reset_id
    }

    /// Bytes of header data.
    pub fn hdr_size(&self) -> u32 {
        self.hdr_size
    }

    /// The header data that is there; up to [`Self::hdr_size`] it goes on with zeros.
    pub fn hdr(&self) -> &[u8] {
        &self.hdr
    }

    /// `N` bytes of header data at an offset; `None` past [`Self::hdr_size`].
    pub fn hdr_bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset.checked_add(N)? > self.hdr_size as usize {
            return None;
        }
        let mut bytes = [0; N];
        let there = self.hdr.get(offset..).unwrap_or(&[]);
        bytes.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
        Some(bytes)
    }

    /// Bytes in each record; 0: none.
    pub fn record_size(&self) -> u16 {
        self.record_size
    }

    /// Alignment in each record.
    pub fn record_align(&self) -> u16 {
        self.record_align
    }
}

/// What a writer says of an extension before it writes into it (EXT_INTRO).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ExtensionSpec {
    /// The name; at most 64 bytes of ASCII, by custom.
    pub name: &'static str,
    /// Bytes of header data.
    pub hdr_size: u32,
    /// Bytes in each record.
    pub record_size: u16,
    /// Alignment in each record: 1, 2, 4 or 8; 0 without a field.
    pub record_align: u16,
    /// The sizes are minimums: larger ones that exist stay.
    pub no_shrink: bool,
}

impl ExtensionSpec {
    /// Offset of the newest cache record; `reset_id` is the cache file's number.
    pub const CACHE: Self = Self::record("cache", 4, 4);
    /// Modseqs; see [`crate::log::Transaction::enable_modseqs`].
    pub const MODSEQ: Self = Self { name: "modseq", hdr_size: 16, record_size: 8, record_align: 8, no_shrink: true };
    /// The header of an sdbox mailbox.
    pub const DBOX_HDR: Self = Self::header("dbox-hdr", 24);
    /// The header of an mdbox mailbox.
    pub const MDBOX_HDR: Self = Self::header("mdbox-hdr", 24);
    /// Where the body of an mdbox message is: number in the map, save date.
    pub const MDBOX: Self = Self::record("mdbox", 8, 4);
    /// GUIDs of messages, in mdbox.
    pub const GUID: Self = Self::record("guid", 16, 1);
    /// The map of an mdbox: highest file number and count of rebuilds; file, offset and size of each body.
    pub const MAP: Self = Self { name: "map", hdr_size: 8, record_size: 12, record_align: 4, no_shrink: true };
    /// How many messages refer to each body of the map.
    pub const REF: Self = Self::record("ref", 2, 2);
    /// Virtual size + 1 of each mail.
    pub const VSIZE: Self = Self::record("vsize", 4, 4);
    /// The mailbox's virtual size.
    pub const HDR_VSIZE: Self =
        Self { name: "hdr-vsize", hdr_size: 16, record_size: 0, record_align: 8, no_shrink: true };
    /// The highest UID that has a POP3 UIDL.
    pub const HDR_POP3_UIDL: Self = Self::header("hdr-pop3-uidl", 4);

    /// An extension with header data only.
    pub const fn header(name: &'static str, hdr_size: u32) -> Self {
        Self { name, hdr_size, record_size: 0, record_align: 0, no_shrink: true }
    }

    /// An extension with a field in each record only.
    pub const fn record(name: &'static str, record_size: u16, record_align: u16) -> Self {
        Self { name, hdr_size: 0, record_size, record_align, no_shrink: true }
    }
}

/// Header data of `mdbox-hdr` (`docs/formats/index.md`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MdboxHeader {
    /// UIDVALIDITY of the map that the messages' numbers are of; 0: not said yet.
    pub map_uid_validity: u32,
    /// The mailbox's GUID.
    pub guid: Guid,
    /// As in [`DboxHeader::flags`].
    pub flags: u8,
}

impl MdboxHeader {
    /// As stored.
    pub fn encode(&self) -> [u8; 24] {
        // The same fields, but for what the first number means.
        DboxHeader { rebuild_count: self.map_uid_validity, guid: self.guid, flags: self.flags }.encode()
    }

    /// As [`DboxHeader::decode`].
    pub fn decode(extension: &Extension) -> Option<Self> {
        let DboxHeader { rebuild_count, guid, flags } = DboxHeader::decode(extension)?;
        Some(Self { map_uid_validity: rebuild_count, guid, flags })
    }
}

/// Header data of `dbox-hdr` (sdbox; `docs/formats/index.md`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DboxHeader {
    /// How often the mailbox was rebuilt.
    pub rebuild_count: u32,
    /// The mailbox's GUID.
    pub guid: Guid,
    /// [`Self::HAS_POP3_UIDLS`], [`Self::HAS_POP3_ORDERS`].
    pub flags: u8,
}

impl DboxHeader {
    /// Flag: some mail has a POP3 UIDL of its own; without it Dovecot does not look.
    pub const HAS_POP3_UIDLS: u8 = 1;
    /// Flag: some mail has a POP3 order.
    pub const HAS_POP3_ORDERS: u8 = 2;
    /// Offset of the flags, for extension header updates.
    pub const FLAGS: u32 = 20;

    /// As stored.
    pub fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (count, rest) = bytes.split_at_mut(4);
        let (guid, rest) = rest.split_at_mut(16);
        count.copy_from_slice(&self.rebuild_count.to_le_bytes());
        guid.copy_from_slice(&self.guid.0);
        if let Some(flags) = rest.first_mut() {
            *flags = self.flags;
        }
        bytes
    }

    /// From an extension's header; a short one reads as zero where it ends, `None` if the GUID is not all there.
    pub fn decode(extension: &Extension) -> Option<Self> {
        Some(Self {
            rebuild_count: u32::from_le_bytes(extension.hdr_bytes(0)?),
            guid: Guid(extension.hdr_bytes(4)?),
            flags: extension.hdr_bytes(20).map_or(0, |[flags]| flags),
        })
    }
}
