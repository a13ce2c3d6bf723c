//! The numbers that name messages. None of them is ever zero.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $nonzero:ident, $int:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name($nonzero);

        impl $name {
            /// The smallest.
            pub const MIN: Self = Self($nonzero::MIN);
            /// `None` for 0.
            pub const fn new(n: $int) -> Option<Self> {
                match $nonzero::new(n) {
                    Some(n) => Some(Self(n)),
                    None => None,
                }
            }
            /// The number itself.
            pub const fn value(self) -> $int {
                self.0.get()
            }
            /// The next one; `None` after the largest.
            pub const fn successor(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(n) => Some(Self(n)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for $int {
            fn from(n: $name) -> $int {
                n.value()
            }
        }
    };
}

number! {
    /// A message's unique identifier within one mailbox and one [`UidValidity`] (RFC 9051 §2.3.1.1). Never reused,
    /// ascending in message sequence number order. On disk 0xffffffff is not used either ([`Uid::MAX_ON_DISK`]).
    Uid, NonZeroU32, u32
}

number! {
    /// Which incarnation of a mailbox its UIDs belong to (RFC 9051 §2.3.1.1).
    UidValidity, NonZeroU32, u32
}

number! {
    /// A message's position in one view, from 1 (RFC 9051 §2.3.1.2). Means nothing in another view.
    SeqNum, NonZeroU32, u32
}

number! {
    /// A mod-sequence (RFC 7162): grows with every change of a mailbox.
    ModSeq, NonZeroU64, u64
}

impl Uid {
    /// The largest UID that a Dovecot store can hold.
    pub const MAX_ON_DISK: Self = match Self::new(0xffff_fffe) {
        Some(uid) => uid,
        None => Self::MIN,
    };
    /// The largest number a UID set can name; `*` bounds are stored as this.
    pub const MAX: Self = match Self::new(u32::MAX) {
        Some(uid) => uid,
        None => Self::MIN,
    };
}

impl SeqNum {
    /// From a zero-based index.
    pub const fn from_index(index: u32) -> Option<Self> {
        match index.checked_add(1) {
            Some(n) => Self::new(n),
            None => None,
        }
    }

    /// The zero-based index.
    pub const fn index(self) -> u32 {
        self.0.get() - 1
    }
}
