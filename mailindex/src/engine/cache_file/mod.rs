//! The cache file: values that can be computed again from the messages (`docs/formats/cache.md`).

mod values;

pub(super) use self::values::Fills;
pub use self::values::{CacheValue, CacheValues};
