//! Mailbox names, dates and sequence sets as they stand on the wire.

use imap_proto::{Mailbox, parse_date, parse_date_time, write_date, write_date_time};
use mailtypes::{Guid, Keyword, MailboxName, mutf7};

/// What is read as a name or a date is written the same, or as something that is read as the same.
pub fn names(data: &[u8]) {
    if let Ok(name) = mutf7::decode(data) {
        assert_eq!(mutf7::encode(&name).as_bytes(), data, "only the canonical form is read");
    }
    if let Ok(name) = Mailbox::from_wire(data).name('/') {
        check_name(&name);
    }
    if let Ok((name, _)) = Mailbox::from_wire(data).name_to_create('/') {
        check_name(&name);
    }
    dates(data);
    if let Ok(guid) = Guid::parse(data) {
        assert!(guid.to_string().as_bytes().eq_ignore_ascii_case(data), "a GUID is its 32 digits");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_eq!(mutf7::decode(mutf7::encode(text).as_bytes()).as_deref(), Ok(text), "every text can be written");
    if let Ok(name) = MailboxName::new(text) {
        check_name(&name);
    }
    if let Ok(keyword) = Keyword::new(text) {
        assert_eq!(keyword.as_str(), text, "keywords keep their spelling");
    }
}

fn check_name(name: &MailboxName) {
    assert_eq!(MailboxName::new(name.as_str()).as_ref(), Ok(name), "a name is a name again");
    assert_eq!(Mailbox::from(name).name('/').as_ref(), Ok(name), "a name survives the wire");
    let good = |level: &str| !level.is_empty() && level != "." && level != ".." && !level.contains(['/', '\0', '\n']);
    assert!(name.levels().all(good), "no name climbs or breaks a line");
    assert_eq!(name.levels().collect::<Vec<_>>().join("/"), name.as_str(), "the levels are the name");
    if let Some(parent) = name.parent() {
        assert!(name.is_below(&parent), "a name lies below its parent");
        assert_eq!(name.rebased(&parent, &parent).as_ref(), Some(name), "moved to where it was, a name is the same");
    }
}

fn dates(data: &[u8]) {
    let mut written = Vec::new();
    if let Ok(date) = parse_date(data) {
        write_date(&mut written, date);
        assert_eq!(parse_date(&written), Ok(date), "a date survives the wire");
    }
    written.clear();
    if let Ok(date) = parse_date_time(data) {
        write_date_time(&mut written, date);
        assert_eq!(parse_date_time(&written), Ok(date), "a date and time survives the wire");
        let _ = date.day();
    }
}
