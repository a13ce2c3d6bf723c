//! Where the mail of one user lies who has a place of his own: the `userdb_mail` of a passwd-file, in the words of
//! Dovecot's `mail_location`: `FORMAT:PATH`, then `:KEY=VALUE` as often as needed.
//!
//! What is not known is an error, never passed over: mail that is looked for in another place or form than Dovecot keeps
//! it looks like an empty mailbox, and clients would forget what they have.

use std::path::Path;

use culver_runtime::UserName;
use mailstore::{Format, ListLayout, ListOptions, StoreOptions, maildir::MaildirLayout};

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
    volatile: Option<Template>,
    private: Option<Template>,
    /// What it says of the list otherwise.
    list: ListOptions,
}

/// Why a mail location is of no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoLocation {
    /// A format, or something that is no format.
    #[error("{0:?} is no format of mail that is known here; sdbox, mdbox, maildir and mbox are")]
    Format(String),
    /// A key, or a value of one.
    #[error("{0:?} is not known here; {KNOWN_KEYS} are")]
    Key(String),
    /// A key that says what is not done here.
    #[error("{key:?}: {why}")]
    Refused {
        /// As it stands there.
        key: String,
        /// Why not.
        why: &'static str,
    },
    /// A path.
    #[error("{path:?}: {why}")]
    Path {
        /// As it stands there.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The keys of a location that are understood.
const KNOWN_KEYS: &str = "INDEX=, INDEXPVT=, CONTROL=, ALT=, INBOX=, VOLATILEDIR=, LAYOUT=, UTF-8, DIRNAME=, MAILBOXDIR=, SUBSCRIPTIONS=, \
                          LISTINDEX=, BROKENCHAR= and NO-NOSELECT";

/// What Dovecot calls the list index if nobody says otherwise.
const LIST_INDEX: &str = "dovecot.list.index";

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
        let path = template(path)?;
        let (index, control, alt, inbox, volatile, private) = (None, None, None, None, None, None);
        let list = ListOptions { layout: Some(ListLayout::Folders), ..ListOptions::default() };
        let mut location = Self { format, path, index, control, alt, inbox, volatile, private, list };
        for part in parts {
            location.key(part)?;
        }
        Ok(location)
    }

    fn key(&mut self, part: &str) -> Result<(), NoLocation> {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let is_maildir = matches!(self.format, Some(Format::Maildir(_)));
        let refused = |why| Err(NoLocation::Refused { key: part.to_owned(), why });
        match (key, value) {
            ("INDEX", "MEMORY") => return refused("indexes are files here"),
            ("INDEX", path) => self.index = Some(template(path)?),
            ("ALT", path) if !is_maildir => self.alt = Some(template(path)?),
            ("CONTROL", path) => self.control = Some(template(path)?),
            ("INBOX", path) => self.inbox = Some(template(path)?),
            ("VOLATILEDIR", path) => self.volatile = Some(template(path)?),
            ("LAYOUT", "index") if self.format == Some(Format::Mbox) => {
                return refused("mbox files are found by their names");
            }
            ("LAYOUT", "index") => {
                self.list.layout = Some(ListLayout::Index);
                if is_maildir {
                    self.format = Some(Format::Maildir(MaildirLayout::Fs));
                }
            }
            ("LAYOUT", "fs") if is_maildir => self.format = Some(Format::Maildir(MaildirLayout::Fs)),
            ("LAYOUT", "maildir++" | "Maildir++") if is_maildir => {}
            ("LAYOUT", "fs") if self.format.is_some() => {}
            ("DIRNAME" | "MAILBOXDIR", _) if self.format == Some(Format::Mbox) => {
                return refused("an mbox file lies where its name says");
            }
            ("LAYOUT", "none") => return refused("a store without a list of mailboxes is not opened"),
            ("UTF-8", "") => self.list.utf8 = true,
            ("NO-NOSELECT", "") => self.list.no_empty_levels = true,
            ("DIRNAME", name) if is_name(name) && !is_maildir => self.list.mails_dir = Some(name.to_owned()),
            ("MAILBOXDIR", name) if is_name(name) && !is_maildir => self.list.mailboxes_dir = Some(name.to_owned()),
            ("SUBSCRIPTIONS", name) if is_name(name) => self.list.subscriptions = Some(name.to_owned()),
            ("LISTINDEX", LIST_INDEX) => {}
            ("LISTINDEX", _) => return refused("the list index has the name that it has if nobody says otherwise"),
            ("BROKENCHAR", value) if value.len() == 1 => self.list.broken = value.chars().next(),
            ("INDEXPVT", path) => self.private = Some(template(path)?),
            ("INDEXCACHE", _) => return refused("the cache lies with the index"),
            ("ITERINDEX", _) => return refused("mailboxes are looked for where the mail is"),
            ("FULLDIRNAME", _) => return refused("control and index files lie in a level's own folder"),
            _ => return Err(NoLocation::Key(part.to_owned())),
        }
        Ok(())
    }

    /// Where that is for its user. `common` is what holds for all users.
    pub(super) fn place(&self, user: &UserName, home: Option<&Path>, common: &StoreOptions) -> Result<Place, NoPath> {
        let root = Path::new("/");
        let expand = |path: &Option<Template>| path.as_ref().map(|path| path.expand(root, user, home)).transpose();
        let (index, control) = (expand(&self.index)?, expand(&self.control)?);
        let (inbox, volatile) = (expand(&self.inbox)?, expand(&self.volatile)?);
        let (alt, private) = (expand(&self.alt)?, expand(&self.private)?);
        // Escapes are a matter of a plugin of Dovecot's, not of the location.
        let list = ListOptions { alt, inbox, volatile, private, escape: common.list.escape, ..self.list.clone() };
        let path = self.path.expand(root, user, home)?;
        Ok(Place { path, options: StoreOptions { format: self.format, index, control, list, ..common.clone() } })
    }
}

/// Whether something can be the name of a file or folder.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
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
    fn what_it_says_of_the_list() {
        let list = |keys: &str| place(&format!("sdbox:~/x:{keys}")).options.list;
        assert_eq!(list("LAYOUT=index").layout, Some(ListLayout::Index));
        assert_eq!(list("UTF-8").layout, Some(ListLayout::Folders));
        let all = list("UTF-8:NO-NOSELECT:DIRNAME=mails:MAILBOXDIR=boxes:SUBSCRIPTIONS=subs:BROKENCHAR=^");
        assert_eq!((all.utf8, all.no_empty_levels, all.broken), (true, true, Some('^')));
        assert_eq!((all.mails_dir.as_deref(), all.mailboxes_dir.as_deref()), (Some("mails"), Some("boxes")));
        assert_eq!(all.subscriptions.as_deref(), Some("subs"));
        let places = list("INBOX=~/in:VOLATILEDIR=/run/%u");
        assert_eq!(places.inbox.as_deref(), Some(Path::new("/home/ann/in")));
        assert_eq!(places.volatile.as_deref(), Some(Path::new("/run/ann@example.org")));
        assert_eq!(list("INDEXPVT=~/own").private.as_deref(), Some(Path::new("/home/ann/own")));
        assert_eq!(place("maildir:~/x:LAYOUT=index").options.format, Some(Format::Maildir(MaildirLayout::Fs)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["", "mdbox", "maildir", "maildir:", "sdbox:mail", "ann", "imapc:"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        for key in ["DIRNAME=x", "", "UTF-8=yes", "BROKENCHAR=", "BROKENCHAR=ab", "SUBSCRIPTIONS=a/b", "LAYOUT=x"] {
            let text = format!("maildir:~/Maildir:{key}");
            assert_eq!(Location::parse(&text), Err(NoLocation::Key(key.to_owned())), "{text}");
        }
        for key in ["INDEX=MEMORY", "LAYOUT=none", "LISTINDEX=x", "ITERINDEX", "FULLDIRNAME=x", "INDEXCACHE=/x"] {
            let text = format!("sdbox:~/sdbox:{key}");
            assert!(matches!(Location::parse(&text), Err(NoLocation::Refused { .. })), "{text}");
        }
        assert!(Location::parse("sdbox:~/sdbox:LAYOUT=maildir++").is_err());
        assert!(Location::parse("maildir:~/Maildir:INDEX=x").is_err());
        assert!(Location::parse("maildir:~/Maildir:ALT=/x").is_err());
    }
}
