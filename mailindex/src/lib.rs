//! Dovecot's transaction log, index and cache, to the byte
