//! Mail programs that others wrote, run against Culver: where they are, a place for them to run in, and a real Dovecot
//! on the same store that says what they did.
//!
//! `scripts/peers` installs them. In CI a missing one is an error, elsewhere the test says so and is skipped.

mod maildir;
mod peer;
mod postfix;
mod program;
mod stage;

pub use maildir::{MaildirMessage, maildir_folders, read_maildir};
pub use peer::{Peer, missing};
pub use postfix::{Postfix, SentMessage};
pub use program::{Program, Ran};
pub use stage::{Certificate, Stage, StoreFormat};
