//! A line of a passwd-file: `user:password:uid:gid:gecos:home:shell:extra_fields`, where all behind the password may be
//! missing, and the last has fields `name=value` or `name` separated by spaces, and may have further colons.
//!
//! What is used of it: the password, the home, and of the extra fields `user`, `allow_nets`, `nopassword`, `nologin`,
//! `userdb_home` and `userdb_mail`. Numbers of users and groups are not: one process serves the mail of one system user.
//! What else a line says is reported as not looked at, so that nobody relies on it; gecos and shell, which Dovecot does
//! not look at either, are not.

use std::path::PathBuf;

use crate::{Network, Password, PasswordError, Scheme, User, UserName};

/// What a line says of a user.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) user: User,
    /// `None` where there is none, or one that cannot be used: then there is mail for him, and no login.
    pub(super) password: Option<Password>,
    /// Every password is right.
    pub(super) nopassword: bool,
    /// None is.
    pub(super) nologin: bool,
    /// Where the line is, counted from 1.
    pub(super) line: usize,
}

/// What is wrong with a line.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is nobody's.
    Name(crate::InvalidUserName),
    /// Its user cannot log in.
    Password(PasswordError),
    /// Its user cannot log in from anywhere.
    AllowNets,
    /// The field `user` names nobody.
    OtherName(crate::InvalidUserName),
    /// Something that means something to Dovecot means nothing here.
    NotLookedAt(Ignored),
}

/// What is not looked at.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Ignored {
    /// The number of another system user than this process's.
    SystemUser,
    /// An extra field.
    Field(String),
}

/// Longest name of an extra field that is told.
const FIELD_NAME_LEN_MAX: usize = 64;

impl std::fmt::Display for Ignored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SystemUser => f.write_str("uid of another system user: all mail belongs to the one that serves it"),
            Self::Field(name) => write!(f, "extra field {name} is not looked at"),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(error) => write!(f, "line passed over: {error}"),
            Self::Password(error) => write!(f, "no login for its user: {error}"),
            Self::AllowNets => f.write_str("no login for its user: allow_nets lists something else than networks"),
            Self::OtherName(error) => write!(f, "no login for its user: field user: {error}"),
            Self::NotLookedAt(what) => what.fmt(f),
        }
    }
}

impl Entry {
    /// Reads a line that is no comment: the name that logs in, and what is said of it.
    pub(super) fn parse(
        text: &str,
        line: usize,
        default: Scheme,
        mut report: impl FnMut(Fault),
    ) -> Option<(UserName, Self)> {
        let mut fields = text.splitn(8, ':');
        let name = match UserName::new(fields.next().unwrap_or_default()) {
            Ok(name) => name,
            Err(error) => {
                report(Fault::Name(error));
                return None;
            }
        };
        let stored = fields.next().unwrap_or_default();
        let uid = fields.next().unwrap_or_default();
        if is_anothers(uid) {
            report(Fault::NotLookedAt(Ignored::SystemUser));
        }
        let home = fields.nth(2).filter(|home| !home.is_empty()).map(PathBuf::from);
        let extra = fields.nth(1).unwrap_or_default();
        let user = User { home, ..User::new(name.clone()) };
        let mut entry = Self { user, password: None, nopassword: false, nologin: false, line };
        if !stored.is_empty() {
            match Password::parse(stored, default) {
                Ok(password) => entry.password = Some(password),
                Err(error) => report(Fault::Password(error)),
            }
        }
        for field in extra.split_ascii_whitespace() {
            if let Err(fault) = entry.extra(field) {
                entry.nologin |= !matches!(fault, Fault::NotLookedAt(_));
                report(fault);
            }
        }
        // A password beside `nopassword` is a contradiction; the stricter of the two holds.
        entry.nopassword &= stored.is_empty();
        Some((name, entry))
    }

    fn extra(&mut self, field: &str) -> Result<(), Fault> {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match name {
            "user" => self.user.name = UserName::new(value).map_err(Fault::OtherName)?,
            "allow_nets" => {
                let networks = Network::parse_list(value).map_err(|_| Fault::AllowNets)?;
                self.user.allow_nets = Some(networks.into());
            }
            "nopassword" => self.nopassword = true,
            "nologin" => self.nologin = true,
            "userdb_home" => self.user.home = Some(PathBuf::from(value)),
            "userdb_mail" => self.user.mail = Some(value.to_owned()),
            "userdb_uid" if is_anothers(value) => return Err(Fault::NotLookedAt(Ignored::SystemUser)),
            "userdb_uid" | "userdb_gid" => {}
            _ => {
                let name = name.chars().take(FIELD_NAME_LEN_MAX).collect();
                return Err(Fault::NotLookedAt(Ignored::Field(name)));
            }
        }
        Ok(())
    }
}

/// Whether a field of a uid names somebody else than the system user of this process.
fn is_anothers(uid: &str) -> bool {
    !uid.is_empty() && uid.parse() != Ok(rustix::process::geteuid().as_raw())
}
