//! Crash runner, fixtures, and the runner that puts a real Dovecot beside Culver
