//! The limits of the configuration as the servers take them.

use std::time::Duration;

use culver_runtime::Limits;

use crate::config::tables;

/// The servers' limits.
pub(crate) fn limits(of: &tables::Limits) -> Limits {
    let bytes = |size: &crate::config::value::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Limits {
        line_len_max: bytes(&of.line_len_max),
        literal_len_max: bytes(&of.literal_len_max),
        prelogin_literal_len_max: bytes(&of.prelogin_literal_len_max),
        message_len_max: of.message_len_max.0,
        multiappend_count_max: *of.multiappend_count_max,
        search_depth_max: *of.search_depth_max,
        connections_max: *of.connections_max,
        connections_per_address_max: *of.connections_per_address_max,
        connections_per_user_max: *of.connections_per_user_max,
        login_timeout: of.login_timeout.0,
        idle_timeout: of.idle_timeout.0,
        stall_timeout: of.stall_timeout.0,
        search_timeout: match of.search_timeout.0 {
            Duration::ZERO => Duration::MAX,
            time => time,
        },
        output_step_len: bytes(&of.output_step_len),
        input_step_len: bytes(&of.input_step_len),
        bad_commands_max: count(*of.bad_commands_max),
        failed_logins_max: count(*of.failed_logins_max),
        failed_login_delay: of.failed_login_delay.0,
        stop_timeout: of.stop_timeout.0,
        session_memory_max: bytes(&of.session_memory_max),
        user_memory_max: bytes(&of.user_memory_max),
        pipelined_commands_max: count(*of.pipelined_commands_max),
        recipients_max: *of.recipients_max,
        open_storages_max: *of.open_storages_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn the_documented_defaults_are_the_servers() {
        assert_eq!(limits(&tables::Limits::defaults()), Limits::default());
    }
}
