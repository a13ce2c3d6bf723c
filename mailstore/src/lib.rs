//! A mail store on disk compatible with Dovecot, as a library
