//! The words of mail that storage and protocol share: UIDs, flags, sets, names; no I/O
