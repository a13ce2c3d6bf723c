//! What the host tells about itself and its processes, as dotlocks need it (`docs/formats/locking.md`, Dotlocks).

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
    system::uname,
};

/// In the environment, the name that Dovecot and we are to use instead of the system's.
const HOST_NAME_VARIABLE: &str = "DOVECOT_HOSTNAME";

/// In doubt yes: a lock of a process that we may not ask about is not ours to break.
pub(crate) fn process_exists(pid: u32) -> bool {
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => test_kill_process(pid) != Err(Errno::SRCH),
        None => false,
    }
}

pub(crate) fn host_name() -> String {
    match std::env::var(HOST_NAME_VARIABLE) {
        Ok(name) if !name.is_empty() => name,
        _ => uname().nodename().to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_exists_and_a_reaped_child_does_not() {
        assert!(process_exists(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().expect("spawn");
        let pid = child.id();
        child.wait().expect("wait");
        assert!(!process_exists(pid));
        assert!(!process_exists(0));
        assert!(!process_exists(u32::MAX));
    }
}
