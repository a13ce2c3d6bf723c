//! The text of a passwd-file, changed line by line: comments, empty lines, lines that cannot be understood and the order
//! stay as they are.

use crate::{Password, UserName};

/// Its lines, each with its end.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

/// A line without its end. Spaces there are part of it: a password may end with one.
fn content_of(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whose line it is.
fn name_of(line: &[u8]) -> Option<UserName> {
    let line = content_of(line);
    if line.starts_with(b"#") {
        return None;
    }
    let name = line.split(|&byte| byte == b':').next()?;
    UserName::new(std::str::from_utf8(name).ok()?).ok()
}

/// With a line more at the end.
pub(super) fn with(text: &[u8], name: &UserName, password: &Password) -> Vec<u8> {
    let mut new = text.to_vec();
    if !new.is_empty() && !new.ends_with(b"\n") {
        new.push(b'\n');
    }
    new.extend_from_slice(format!("{name}:{}\n", password.as_str()).as_bytes());
    new
}

/// With another password in the user's first line, which is the one that counts. `None` if he has none.
pub(super) fn with_password(text: &[u8], name: &UserName, password: &Password) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(text.len() + password.as_str().len());
    let mut found = false;
    for line in lines(text) {
        if found || name_of(line).as_ref() != Some(name) {
            new.extend_from_slice(line);
            continue;
        }
        found = true;
        let content = content_of(line);
        let end = line.get(content.len()..).unwrap_or_default();
        let mut fields = content.splitn(3, |&byte| byte == b':');
        new.extend_from_slice(fields.next().unwrap_or_default());
        new.push(b':');
        new.extend_from_slice(password.as_str().as_bytes());
        if let Some(rest) = fields.nth(1) {
            new.push(b':');
            new.extend_from_slice(rest);
        }
        new.extend_from_slice(end);
    }
    found.then_some(new)
}

/// Without all lines of a user. `None` if he has none.
pub(super) fn without(text: &[u8], name: &UserName) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(text.len());
    lines(text).filter(|line| name_of(line).as_ref() != Some(name)).for_each(|line| new.extend_from_slice(line));
    (new.len() != text.len()).then_some(new)
}

/// Whether a user has a line.
pub(super) fn has(text: &[u8], name: &UserName) -> bool {
    lines(text).any(|line| name_of(line).as_ref() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scheme;

    const TEXT: &[u8] = b"# staff\nann:{PLAIN}a:1000:1000::/home/ann::userdb_mail=maildir:~/Maildir\r\n\n\xff\xfe\n#bob:x\nBOB\nann:{PLAIN}old";

    #[test]
    fn what_is_not_changed_stays() {
        let password = Password::parse("{PLAIN}new", Scheme::Plain).unwrap();
        let name = |name| UserName::new(name).unwrap();
        let (ann, bob, eve) = (name("ann"), name("bob"), name("eve"));
        assert!(has(TEXT, &ann) && has(TEXT, &bob) && !has(TEXT, &eve));

        let changed = with_password(TEXT, &ann, &password).unwrap();
        let expected = b"# staff\nann:{PLAIN}new:1000:1000::/home/ann::userdb_mail=maildir:~/Maildir\r\n\n\xff\xfe\n#bob:x\nBOB\nann:{PLAIN}old";
        assert_eq!(changed, expected);
        let changed = with_password(TEXT, &bob, &password).unwrap();
        assert!(changed.windows(19).any(|part| part == b"\nBOB:{PLAIN}new\nann"), "{changed:?}");
        assert_eq!(with_password(TEXT, &eve, &password), None);

        let spaces = b"bob:{PLAIN}ends with a space \n";
        assert_eq!(with_password(spaces, &bob, &password).unwrap(), b"bob:{PLAIN}new\n");

        let mut longer = TEXT.to_vec();
        longer.extend_from_slice(b"\neve:{PLAIN}new\n");
        assert_eq!(with(TEXT, &eve, &password), longer);
        assert_eq!(with(b"", &eve, &password), b"eve:{PLAIN}new\n");

        assert_eq!(without(TEXT, &ann).unwrap(), b"# staff\n\n\xff\xfe\n#bob:x\nBOB\n");
        assert_eq!(without(TEXT, &eve), None);
    }
}
