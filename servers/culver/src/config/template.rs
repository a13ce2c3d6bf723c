//! Where a user's mail lies: a path with the user's name in it.
//!
//! Invariant: whatever the name is, the path stays below what stands before the first variable. A name that would lead
//! out (`..`, a slash, a NUL) or to a hidden folder is refused, not changed: two users never get the same path by it.
//! `{home}` is what the file of users says, so it is trusted; it stands first, and is an absolute path without `..`.

use std::{
    ffi::OsString,
    fmt,
    ops::Range,
    path::{Component, Path, PathBuf},
};

use culver_runtime::UserName;
use toml::de::DeValue;

use super::{
    problem::{Wrong, did_you_mean},
    value::{Value, quoted},
};

/// A path with variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Variable {
    User,
    Local,
    Domain,
    Home,
}

const VARIABLES: [(&str, Variable); 4] =
    [("user", Variable::User), ("local", Variable::Local), ("domain", Variable::Domain), ("home", Variable::Home)];
const KNOWN: &str = "{user}, {local}, {domain} and {home}";

/// Why a user has no path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NoPath {
    #[error("user {user} has no {variable}, and the path {template:?} needs one")]
    Missing { user: UserName, variable: &'static str, template: String },
    #[error("user {user} cannot be part of the path {template:?}")]
    Unsafe { user: UserName, template: String },
    #[error("the home {home:?} of user {user} is no absolute path without `..`")]
    Home { user: UserName, home: PathBuf },
}

impl Template {
    /// Reads a template.
    pub(crate) fn new(text: &str) -> Result<Self, Wrong> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(Wrong::new("a { without a }").meant(format!("variables are {KNOWN}")));
            };
            let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
                let meant = match did_you_mean(name, VARIABLES.iter().map(|(known, _)| *known)) {
                    Some(known) => format!("did you mean {{{known}}}?"),
                    None => format!("there are {KNOWN}"),
                };
                return Err(Wrong::new(format!("unknown variable {{{name}}}")).meant(meant));
            };
            pieces.extend([Piece::Text(before.to_owned()), Piece::Variable(*variable)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        let has = |variable| pieces.contains(&Piece::Variable(variable));
        if let Some(percent) = text.find('%').and_then(|at| text.get(at..at + 2)) {
            let meant = match percent {
                "%n" => "did you mean {local}?",
                "%d" => "did you mean {domain}?",
                "%h" => "did you mean {home}?",
                _ => "did you mean {user}?",
            };
            return Err(Wrong::new(format!("{percent} is no variable here")).meant(meant));
        }
        if pieces.iter().skip(1).any(|piece| *piece == Piece::Variable(Variable::Home)) {
            return Err(Wrong::new("{home} is a whole path: nothing can stand before it"));
        }
        if text.starts_with("~") {
            return Err(Wrong::new("~ is no variable here").meant("did you mean {home}?"));
        }
        if ![Variable::User, Variable::Local, Variable::Home].into_iter().any(has) {
            return Err(Wrong::new("all users would have the same path").meant("it needs {user}, {local} or {home}"));
        }
        if text.contains('\0') || Path::new(text).components().any(|part| part == Component::ParentDir) {
            return Err(Wrong::new("a path with .. in it is not taken"));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Reads a path as Dovecot writes it in a mail location: `~/`, `%u`, `%n`, `%d`, `%h` and their long names. It is one
    /// user's, so nobody's name need be in it; and it is absolute.
    pub(crate) fn of_dovecot(text: &str) -> Result<Self, Wrong> {
        let mut pieces = Vec::new();
        let mut rest = text;
        if let Some(below) = text.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/')) {
            pieces.push(Piece::Variable(Variable::Home));
            rest = below;
        }
        while let Some((before, after)) = rest.split_once('%') {
            let (name, after) = dovecot_variable(after);
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match name {
                "%" => Piece::Text("%".to_owned()),
                "u" | "Lu" | "user" | "username" => Piece::Variable(Variable::User),
                "n" | "Ln" => Piece::Variable(Variable::Local),
                "d" | "Ld" | "domain" => Piece::Variable(Variable::Domain),
                "h" | "home" => Piece::Variable(Variable::Home),
                name => return Err(Wrong::new(format!("the variable %{name} is not known here"))),
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        let is_absolute = match pieces.first() {
            Some(Piece::Text(text)) => text.starts_with('/'),
            first => first == Some(&Piece::Variable(Variable::Home)),
        };
        if !is_absolute || pieces.iter().skip(1).any(|piece| *piece == Piece::Variable(Variable::Home)) {
            return Err(Wrong::new("a path begins with /, ~/ or %h"));
        }
        if text.contains('\0') || Path::new(text).components().any(|part| part == Component::ParentDir) {
            return Err(Wrong::new("a path with .. in it is not taken"));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Whether users of two domains with the same local part share a path.
    pub(crate) fn joins_domains(&self) -> bool {
        let has = |variable| self.pieces.contains(&Piece::Variable(variable));
        !has(Variable::User) && !has(Variable::Domain) && !has(Variable::Home)
    }

    /// Whether users' homes are looked at.
    pub(crate) fn uses_home(&self) -> bool {
        self.pieces.contains(&Piece::Variable(Variable::Home))
    }

    /// The path of a user, below `base` unless it is absolute.
    pub(crate) fn expand(&self, base: &Path, user: &UserName, home: Option<&Path>) -> Result<PathBuf, NoPath> {
        let name = user.as_str();
        let missing = |variable| NoPath::Missing { user: user.clone(), variable, template: self.text.clone() };
        let (local, domain) = name.split_once('@').map_or((name, None), |(local, domain)| (local, Some(domain)));
        let refused = || NoPath::Unsafe { user: user.clone(), template: self.text.clone() };
        let mut path = OsString::new();
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(text) => {
                    path.push(text);
                    continue;
                }
                Piece::Variable(Variable::Home) => {
                    let home = home.ok_or_else(|| missing("home"))?;
                    if !home.is_absolute() || home.components().any(|part| part == Component::ParentDir) {
                        return Err(NoPath::Home { user: user.clone(), home: home.to_owned() });
                    }
                    path.push(home);
                    continue;
                }
                Piece::Variable(Variable::User) => name,
                Piece::Variable(Variable::Local) => local,
                Piece::Variable(Variable::Domain) => domain.ok_or_else(|| missing("domain"))?,
            };
            if value.is_empty() || value.starts_with('.') || value.contains(['/', '\0']) {
                return Err(refused());
            }
            path.push(value);
        }
        let path = base.join(path);
        match path.components().any(|part| part == Component::ParentDir) {
            true => Err(refused()),
            false => Ok(path),
        }
    }

    /// The folder that all users' paths lie in: what stands before the first variable; `base` where it is the home.
    pub(crate) fn parent(&self, base: &Path) -> PathBuf {
        let before = self.text.split('{').next().unwrap_or_default();
        let folder = before.rfind('/').map_or("", |at| &before[..=at]);
        base.join(folder)
    }
}

/// The name of a variable of which the `%` is read, with its modifier, and what stands behind it.
fn dovecot_variable(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, after);
    }
    let modifiers = text.chars().take_while(|&c| c == 'L').count();
    let end = text.char_indices().nth(modifiers + 1).map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Value for Template {
    fn type_name() -> String {
        "path template".to_owned()
    }
    fn read(value: &DeValue<'_>, span: Range<usize>) -> Result<Self, Wrong> {
        Self::new(&String::read(value, span)?)
    }
    fn show(&self) -> String {
        quoted(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    #[test]
    fn names_become_paths() {
        let base = Path::new("/data");
        let expand = |template: &str, name: &str| Template::new(template).unwrap().expand(base, &user(name), None);
        assert_eq!(expand("mail/{user}", "ann").unwrap(), Path::new("/data/mail/ann"));
        assert_eq!(
            expand("/var/mail/{domain}/{local}", "Ann@Example.org").unwrap(),
            Path::new("/var/mail/example.org/ann")
        );
        assert!(matches!(expand("{domain}/{local}", "ann"), Err(NoPath::Missing { variable: "domain", .. })));
        for name in ["ann@..", "ann@", "ann@.x", "a@b@.."] {
            if let Ok(name) = UserName::new(name) {
                let joined = Template::new("/m/{domain}/{local}").unwrap().expand(base, &name, None);
                assert!(!joined.is_ok_and(|path| path.components().any(|c| c == Component::ParentDir)), "{name}");
            }
        }
        assert!(expand("/m/{domain}/{local}", "ann@..").is_err());
    }

    #[test]
    fn templates_that_cannot_be_meant_are_refused() {
        for (template, word) in [
            ("mail", "{user}"),
            ("mail/{domain}", "{user}"),
            ("mail/{usr}", "{user}"),
            ("mail/{user", "{user}"),
            ("mail/%u", "{user}"),
            ("mail/%d/%n", "{domain}"),
            ("%h/mail", "{home}"),
            ("~/mail", "{home}"),
        ] {
            let wrong = Template::new(template).unwrap_err();
            assert!(wrong.meant.clone().unwrap().contains(word), "{template}: {wrong:?}");
        }
        assert!(Template::new("../{user}").is_err());
        assert!(Template::new("/srv/{home}").is_err());
    }

    #[test]
    fn dovecots_variables() {
        let expand = |text: &str| {
            let template = Template::of_dovecot(text)?;
            let path = template.expand(Path::new("/data"), &user("ann@example.org"), Some(Path::new("/home/ann")));
            Ok::<_, Wrong>(path.unwrap().to_str().unwrap().to_owned())
        };
        for (text, path) in [
            ("~/Maildir", "/home/ann/Maildir"),
            ("~", "/home/ann"),
            ("%h/mail", "/home/ann/mail"),
            ("/srv/%d/%n/mail", "/srv/example.org/ann/mail"),
            ("/srv/%Lu", "/srv/ann@example.org"),
            ("/srv/%{user}/%%x", "/srv/ann@example.org/%x"),
            ("/srv/ann", "/srv/ann"),
        ] {
            assert_eq!(expand(text).unwrap(), path, "{text}");
        }
        for text in
            ["", "Maildir", "~ann/Maildir", "/srv/%h", "/srv/%Hu", "/srv/%{ldap:x}", "/srv/%", "/srv/../%u", "%u/mail"]
        {
            assert!(expand(text).is_err(), "{text}");
        }
    }

    #[test]
    fn homes_are_whole_paths() {
        let expand = |template: &str, home: Option<&str>| {
            Template::new(template).unwrap().expand(Path::new("/data"), &user("ann@example.org"), home.map(Path::new))
        };
        assert_eq!(expand("{home}/mail", Some("/home/ann")).unwrap(), Path::new("/home/ann/mail"));
        assert_eq!(expand("{home}/{local}", Some("/home/ann/")).unwrap(), Path::new("/home/ann/ann"));
        assert_eq!(expand("/m/{user}", Some("/home/ann")).unwrap(), Path::new("/m/ann@example.org"));
        assert!(matches!(expand("{home}/mail", None), Err(NoPath::Missing { variable: "home", .. })));
        for home in ["home/ann", "", "/home/../ann", "~/x"] {
            assert!(matches!(expand("{home}/mail", Some(home)), Err(NoPath::Home { .. })), "{home}");
        }
        assert!(Template::new("{home}/mail").unwrap().uses_home() && !Template::new("{user}").unwrap().uses_home());
    }

    #[test]
    fn the_common_folder_is_what_stands_before_the_name() {
        let parent = |template: &str| Template::new(template).unwrap().parent(Path::new("/data"));
        assert_eq!(parent("mail/{user}"), Path::new("/data/mail/"));
        assert_eq!(parent("/var/mail/{domain}/{local}"), Path::new("/var/mail/"));
        assert_eq!(parent("/home/u-{user}/mail"), Path::new("/home/"));
        assert_eq!(parent("{user}"), Path::new("/data/"));
    }

    proptest! {
        /// No name leads out of the folder.
        #[test]
        fn no_way_out(name in "[a-z./@\\-]{1,20}") {
            let Ok(name) = UserName::new(&name) else { return Ok(()) };
            for template in ["/m/{user}", "/m/{domain}/{local}", "/m/{local}/x", "/m/x{domain}{local}"] {
                let Ok(path) = Template::new(template).unwrap().expand(Path::new("/"), &name, None) else { continue };
                prop_assert!(path.starts_with("/m"));
                prop_assert!(path.components().all(|c| c != Component::ParentDir && c != Component::CurDir));
                let depth = template.split('/').count();
                prop_assert_eq!(path.to_str().unwrap().split('/').count(), depth);
            }
        }
    }
}
