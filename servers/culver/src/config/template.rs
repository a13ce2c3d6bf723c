//! Where a user's mail lies: a path with the user's name in it.
//!
//! Invariant: whatever the name is, the path stays below what stands before the first variable. A name that would lead
//! out (`..`, a slash, a NUL) or to a hidden folder is refused, not changed: two users never get the same path by it.

use std::{
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
}

const VARIABLES: [(&str, Variable); 3] =
    [("user", Variable::User), ("local", Variable::Local), ("domain", Variable::Domain)];

/// Why a user has no path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NoPath {
    #[error("user {user} has no {variable}, and the path {template:?} needs one")]
    Missing { user: UserName, variable: &'static str, template: String },
    #[error("user {user} cannot be part of the path {template:?}")]
    Unsafe { user: UserName, template: String },
}

impl Template {
    /// Reads a template.
    pub(crate) fn new(text: &str) -> Result<Self, Wrong> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(Wrong::new("a { without a }").meant("variables are {user}, {local} and {domain}"));
            };
            let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
                let meant = match did_you_mean(name, VARIABLES.iter().map(|(known, _)| *known)) {
                    Some(known) => format!("did you mean {{{known}}}?"),
                    None => "there are {user}, {local} and {domain}".to_owned(),
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
                _ => "did you mean {user}?",
            };
            return Err(Wrong::new(format!("{percent} is no variable here")).meant(meant));
        }
        if !has(Variable::User) && !has(Variable::Local) {
            return Err(Wrong::new("all users would have the same path").meant("it needs {user} or {local}"));
        }
        if text.contains('\0') || Path::new(text).components().any(|part| part == Component::ParentDir) {
            return Err(Wrong::new("a path with .. in it is not taken"));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Whether users of two domains with the same local part share a path.
    pub(crate) fn joins_domains(&self) -> bool {
        let has = |variable| self.pieces.contains(&Piece::Variable(variable));
        !has(Variable::User) && !has(Variable::Domain)
    }

    /// The path of a user, below `base` unless it is absolute.
    pub(crate) fn expand(&self, base: &Path, user: &UserName) -> Result<PathBuf, NoPath> {
        let name = user.as_str();
        let (local, domain) = name.split_once('@').map_or((name, None), |(local, domain)| (local, Some(domain)));
        let refused = || NoPath::Unsafe { user: user.clone(), template: self.text.clone() };
        let mut path = String::new();
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(text) => {
                    path.push_str(text);
                    continue;
                }
                Piece::Variable(Variable::User) => name,
                Piece::Variable(Variable::Local) => local,
                Piece::Variable(Variable::Domain) => domain.ok_or_else(|| NoPath::Missing {
                    user: user.clone(),
                    variable: "domain",
                    template: self.text.clone(),
                })?,
            };
            if value.is_empty() || value.starts_with('.') || value.contains(['/', '\0']) {
                return Err(refused());
            }
            path.push_str(value);
        }
        let path = base.join(path);
        match path.components().any(|part| part == Component::ParentDir) {
            true => Err(refused()),
            false => Ok(path),
        }
    }

    /// The folder that all users' paths lie in: what stands before the first variable.
    pub(crate) fn parent(&self, base: &Path) -> PathBuf {
        let before = self.text.split('{').next().unwrap_or_default();
        let folder = before.rfind('/').map_or("", |at| &before[..=at]);
        base.join(folder)
    }
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
        let expand = |template: &str, name: &str| Template::new(template).unwrap().expand(base, &user(name));
        assert_eq!(expand("mail/{user}", "ann").unwrap(), Path::new("/data/mail/ann"));
        assert_eq!(
            expand("/var/mail/{domain}/{local}", "Ann@Example.org").unwrap(),
            Path::new("/var/mail/example.org/ann")
        );
        assert!(matches!(expand("{domain}/{local}", "ann"), Err(NoPath::Missing { variable: "domain", .. })));
        for name in ["ann@..", "ann@", "ann@.x", "a@b@.."] {
            if let Ok(name) = UserName::new(name) {
                let joined = Template::new("/m/{domain}/{local}").unwrap().expand(base, &name);
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
        ] {
            let wrong = Template::new(template).unwrap_err();
            assert!(wrong.meant.clone().unwrap().contains(word), "{template}: {wrong:?}");
        }
        assert!(Template::new("../{user}").is_err());
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
                let Ok(path) = Template::new(template).unwrap().expand(Path::new("/"), &name) else { continue };
                prop_assert!(path.starts_with("/m"));
                prop_assert!(path.components().all(|c| c != Component::ParentDir && c != Component::CurDir));
                let depth = template.split('/').count();
                prop_assert_eq!(path.to_str().unwrap().split('/').count(), depth);
            }
        }
    }
}
