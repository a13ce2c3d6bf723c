//! One IMAP session over a mail store
