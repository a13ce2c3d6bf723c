//! Dovecot's `mail_location`, and the settings of 2.4 that took its place.

use std::fmt::Write as _;

/// The settings of 2.4 that mean what a `mail_location` of 2.3 does.
pub(super) fn settings_2_4(mail_location: &str) -> String {
    let mut parts = mail_location.split(':');
    let (driver, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut settings = format!("mail_driver = {driver}\nmail_path = {}\n", variables_2_4(path));
    let mut layout = if driver == "maildir" { "maildir++" } else { "fs" };
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("LAYOUT", value) => layout = value,
            ("UTF-8", _) => settings.push_str("mailbox_list_utf8 = yes\n"),
            (key, value) => {
                let name = match key {
                    "INBOX" => "mail_inbox_path",
                    "INDEX" => "mail_index_path",
                    "CONTROL" => "mail_control_path",
                    "ALT" => "mail_alt_path",
                    "VOLATILEDIR" => "mail_volatile_path",
                    "DIRNAME" => "mailbox_directory_name",
                    "SUBSCRIPTIONS" => "mailbox_subscriptions_filename",
                    other => other,
                };
                // A name that 2.4 does not have is refused by it, with its name.
                let _ = writeln!(settings, "{name} = {}", variables_2_4(value));
            }
        }
    }
    let _ = writeln!(settings, "mailbox_list_layout = {layout}");
    settings
}

fn variables_2_4(text: &str) -> String {
    text.replace("%u", "%{user}").replace("%h", "%{home}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_becomes_settings() {
        assert_eq!(
            settings_2_4("mdbox:/a/%u:ALT=/b/%u"),
            "mail_driver = mdbox\nmail_path = /a/%{user}\nmail_alt_path = /b/%{user}\nmailbox_list_layout = fs\n"
        );
        assert!(settings_2_4("maildir:~/x").ends_with("mailbox_list_layout = maildir++\n"));
        assert!(settings_2_4("maildir:~/x:LAYOUT=fs").ends_with("mailbox_list_layout = fs\n"));
        assert!(settings_2_4("mbox:~/mail:INBOX=~/mail/inbox").contains("mail_inbox_path = ~/mail/inbox\n"));
    }
}
