//! Where the mail of one user lies who has a place of his own: the `userdb_mail` of a passwd-file, in the words of
//! Dovecot's `mail_location`: `FORMAT:PATH`, then `:KEY=VALUE` as often as needed.
//!
//! What is not known is an error, never passed over: mail that is looked for in another place or form than Dovecot keeps
//! it looks like an empty mailbox, and clients would forget what they have.

use std::path::Path;

use culver_runtime::UserName;
use mailstore::{Format, ListOptions, StoreOptions, maildir::MaildirLayout};

use crate::{
    config::{
        problem::Wrong,
        template::{NoPath, Template},
    },
    stores::Place,
};

/// A mail location that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Location {
    format: Option<Format>,
    path: Template,
    index: Option<Template>,
    control: Option<Template>,
    alt: Option<Template>,
    inbox: Option<Template>,
}

/// Why a mail location is of no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoLocation {
    /// A format, or something that is no format.
    #[error("{0:?} is no format of mail that is known here; sdbox, mdbox, maildir and mbox are")]
    Format(String),
    /// A key, or a value of one.
    #[error("{0:?} is not known here; INDEX=, CONTROL=, ALT=, LAYOUT=fs and for mbox INBOX= are")]
    Key(String),
    /// A path.
    #[error("{path:?}: {why}")]
    Path {
        /// As it stands there.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Location {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, NoLocation> {
        let mut parts = text.split(':');
        let first = parts.next().unwrap_or_default();
        // Without a format it is whatever is found there.
        let (format, path) = match first.starts_with(['/', '~', '%']) {
            true => (None, first),
            false => {
                let format = match first.to_ascii_lowercase().as_str() {
                    "sdbox" => Format::Sdbox,
                    "mdbox" => Format::Mdbox,
                    "maildir" => Format::Maildir(MaildirLayout::PlusPlus),
                    "mbox" => Format::Mbox,
                    _ => return Err(NoLocation::Format(first.to_owned())),
                };
                (Some(format), parts.next().unwrap_or_default())
            }
        };
        let mut location = Self { format, path: template(path)?, index: None, control: None, alt: None, inbox: None };
        for part in parts {
            location.key(part)?;
        }
        Ok(location)
    }

    fn key(&mut self, part: &str) -> Result<(), NoLocation> {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let is_maildir = matches!(self.format, Some(Format::Maildir(_)));
        match (key, value) {
            ("INDEX", path) if path != "MEMORY" => self.index = Some(template(path)?),
            ("ALT", path) if !is_maildir => self.alt = Some(template(path)?),
            ("CONTROL", path) => self.control = Some(template(path)?),
            ("LAYOUT", "fs") if is_maildir => self.format = Some(Format::Maildir(MaildirLayout::Fs)),
            ("LAYOUT", "maildir++" | "Maildir++") if is_maildir => {}
            ("INBOX", path) if self.format == Some(Format::Mbox) => self.inbox = Some(template(path)?),
            ("LAYOUT", "fs") if matches!(self.format, Some(Format::Sdbox | Format::Mdbox | Format::Mbox)) => {}
            _ => return Err(NoLocation::Key(part.to_owned())),
        }
        Ok(())
    }

    /// Where that is for its user. `common` is what holds for all users.
    pub(super) fn place(&self, user: &UserName, home: Option<&Path>, common: &StoreOptions) -> Result<Place, NoPath> {
        let root = Path::new("/");
        let expand = |path: &Option<Template>| path.as_ref().map(|path| path.expand(root, user, home)).transpose();
        let (index, control) = (expand(&self.index)?, expand(&self.control)?);
        let (alt, inbox) = (expand(&self.alt)?, expand(&self.inbox)?);
        let list = ListOptions { alt, inbox, ..common.list.clone() };
        let path = self.path.expand(root, user, home)?;
        Ok(Place { path, options: StoreOptions { format: self.format, index, control, list, ..common.clone() } })
    }
}

fn template(path: &str) -> Result<Template, NoLocation> {
    let wrong = |Wrong { message, .. }| NoLocation::Path { path: path.to_owned(), why: message };
    Template::of_dovecot(path).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        let user = UserName::new("ann@example.org").unwrap();
        let home = Path::new("/home/ann");
        Location::parse(text).unwrap().place(&user, Some(home), &StoreOptions::default()).unwrap()
    }

    #[test]
    fn what_dovecot_writes() {
        let found = place("maildir:~/Maildir:INDEX=/var/index/%u:CONTROL=/var/control/%n:LAYOUT=fs");
        assert_eq!(found.path, Path::new("/home/ann/Maildir"));
        assert_eq!(found.options.format, Some(Format::Maildir(MaildirLayout::Fs)));
        assert_eq!(found.options.index.as_deref(), Some(Path::new("/var/index/ann@example.org")));
        assert_eq!(found.options.control.as_deref(), Some(Path::new("/var/control/ann")));
        let found = place("sdbox:/srv/%d/%n");
        assert_eq!(
            (found.path.as_path(), found.options.format),
            (Path::new("/srv/example.org/ann"), Some(Format::Sdbox))
        );
        assert_eq!(
            place("sdbox:~/x:INDEX=/i/%u:LAYOUT=fs").options.index.as_deref(),
            Some(Path::new("/i/ann@example.org"))
        );
        let found = place("sdbox:~/sdbox:ALT=/cold/%u");
        assert_eq!(found.options.list.alt.as_deref(), Some(Path::new("/cold/ann@example.org")));
        let found = place("mdbox:~/mdbox:INDEX=/i/%n:LAYOUT=fs");
        assert_eq!((found.path.as_path(), found.options.format), (Path::new("/home/ann/mdbox"), Some(Format::Mdbox)));
        let found = place("%h/mail");
        assert_eq!((found.path.as_path(), found.options.format), (Path::new("/home/ann/mail"), None));
        let found = place("mbox:~/mail:INBOX=/var/mail/%n");
        assert_eq!((found.path.as_path(), found.options.format), (Path::new("/home/ann/mail"), Some(Format::Mbox)));
        assert_eq!(found.options.list.inbox.as_deref(), Some(Path::new("/var/mail/ann")));
        assert_eq!(place("Maildir:/a").options.format, Some(Format::Maildir(MaildirLayout::PlusPlus)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["", "mdbox", "maildir", "maildir:", "sdbox:mail", "ann", "imapc:"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        for key in
            ["INBOX=/x", "INDEX=MEMORY", "LAYOUT=index", "UTF-8", "DIRNAME=x", "", "VOLATILEDIR=/x", "NO-NOSELECT"]
        {
            let text = format!("maildir:~/Maildir:{key}");
            assert_eq!(Location::parse(&text), Err(NoLocation::Key(key.to_owned())), "{text}");
        }
        assert!(Location::parse("sdbox:~/sdbox:LAYOUT=maildir++").is_err());
        assert!(Location::parse("maildir:~/Maildir:INDEX=x").is_err());
        assert!(Location::parse("maildir:~/Maildir:ALT=/x").is_err());
    }
}
