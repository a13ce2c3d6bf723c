//! One LMTP session over a mail store
