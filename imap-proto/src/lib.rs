//! IMAP as bytes to commands and responses to bytes, sans I/O
