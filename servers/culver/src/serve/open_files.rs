//! How many files the process may have open: a connection is one, a selected mailbox a few more.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Files besides connections: logs and indexes of mailboxes, messages that are read, the program's own.
const OTHER_FILES: u64 = 4_096;

/// Raises the limit as far as it goes, and says so where that is not far enough for these connections.
pub(crate) fn raise_limit(connections_max: usize) {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return warn!(%error, "cannot find out how many files may be open"),
    };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        return warn!(%error, soft, hard, "cannot raise the number of files that may be open");
    }
    let needed = connections_max as u64 + OTHER_FILES;
    if hard < needed {
        warn!(
            open_files = hard,
            needed,
            "fewer files may be open than limits.connections_max asks for: raise LimitNOFILE= of the unit, or `ulimit -Hn`"
        );
    } else {
        debug!(open_files = hard, "limit of open files raised");
    }
}
