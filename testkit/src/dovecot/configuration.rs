//! The same configuration in the words of each release.

use std::path::Path;

use super::{Release, Setup, location::settings_2_4};
use crate::place::MailUser;

/// Where a Dovecot listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) imap: u16,
    pub(super) lmtp: u16,
}

pub(super) fn configuration(
    release: &Release,
    folder: &Path,
    owner: &MailUser,
    setup: &Setup<'_>,
    ports: Ports,
) -> String {
    let (head, namespace) = match release {
        Release::V2_3 => (head_2_3(folder, owner, setup), ""),
        // Levels without a mailbox stay, as they do in 2.3 and Culver.
        Release::V2_4 { .. } => (head_2_4(folder, owner, setup), "  mailbox_list_drop_noselect = no\n"),
    };
    let folder = folder.display();
    let (extra, Ports { imap, lmtp }) = (setup.extra, ports);
    format!(
        r"{head}base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
log_timestamp =
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
first_valid_uid = 1
first_valid_gid = 1
auth_mechanisms = plain login
mail_max_userip_connections = 1000
postmaster_address = postmaster@test.example
namespace inbox {{
  inbox = yes
  separator = /
{namespace}}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
  chroot =
}}
service imap {{
  process_limit = 2000
}}
service lmtp {{
  inet_listener lmtp {{
    LISTEN = 127.0.0.1
    port = {lmtp}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
{extra}
"
    )
    .replace("LISTEN", if *release == Release::V2_3 { "address" } else { "listen" })
}

fn head_2_3(folder: &Path, owner: &MailUser, setup: &Setup<'_>) -> String {
    let folder = folder.display();
    let (MailUser { name, group, .. }, mail_location) = (owner, &setup.mail_location);
    format!(
        r"disable_plaintext_auth = no
mail_location = {mail_location}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = static
  args = uid={name} gid={group} home={folder}/home/%u
}}
"
    )
}

/// Version and storage version come first, as 2.4 demands.
fn head_2_4(folder: &Path, owner: &MailUser, setup: &Setup<'_>) -> String {
    let folder = folder.display();
    let (MailUser { name, group, .. }, location) = (owner, settings_2_4(&setup.mail_location));
    format!(
        r"dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
auth_allow_cleartext = yes
{location}passdb passwd-file {{
  default_password_scheme = PLAIN
  passwd_file_path = {folder}/users
}}
userdb static {{
  fields {{
    uid = {name}
    gid = {group}
    home = {folder}/home/%{{user}}
  }}
}}
"
    )
}
