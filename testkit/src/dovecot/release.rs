//! Which Dovecot is meant: the one that is installed, or one in a root of its own.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, bail, ensure};

/// A Dovecot by its version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Release {
    /// 2.3, as Debian 12 installs it.
    #[default]
    V2_3,
    /// 2.4 in a root that `scripts/dovecot-2.4` made. It runs there by `chroot`, for which one must be root; its files are
    /// kept below the root's `/tmp`, and a link in the root gives them the same names inside as outside.
    V2_4 {
        /// The root.
        root: PathBuf,
    },
}

static CHOSEN: OnceLock<Release> = OnceLock::new();

/// The variable that chooses, as `--dovecot` of `interop` does.
const VARIABLE: &str = "CULVER_DOVECOT";

impl Release {
    /// What stands beside Culver in all runs of this process: what [`Release::choose`] or `CULVER_DOVECOT` says
    /// (`2.4=ROOT`), else 2.3.
    pub fn chosen() -> anyhow::Result<&'static Self> {
        if let Some(chosen) = CHOSEN.get() {
            return Ok(chosen);
        }
        let release = match std::env::var(VARIABLE) {
            Ok(text) => Self::parse(&text).context(VARIABLE)?,
            Err(_) => Self::V2_3,
        };
        Ok(CHOSEN.get_or_init(|| release))
    }

    /// Chooses for this process; fails if something has been started already.
    pub fn choose(self) -> anyhow::Result<()> {
        CHOSEN.set(self).map_err(|_| anyhow::anyhow!("which Dovecot is meant has been chosen already"))
    }

    /// `2.3`, or `2.4=ROOT`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("2.3", "") => Ok(Self::V2_3),
            ("2.4", root) if !root.is_empty() => {
                let root = std::fs::canonicalize(root).with_context(|| format!("the root {root}"))?;
                let release = Self::V2_4 { root };
                ensure!(release.is_installed(), "{release}: make it with scripts/dovecot-2.4");
                Ok(release)
            }
            _ => bail!("{text:?}: there are 2.3 and 2.4=ROOT"),
        }
    }

    /// Whether all of these programs are there.
    pub(super) fn has(&self, programs: &[&str]) -> bool {
        programs.iter().all(|program| self.outside(Path::new(program)).exists())
    }

    /// Whether dovecot-core, -imapd and -lmtpd are there.
    pub fn is_installed(&self) -> bool {
        self.has(&["/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/lmtp"])
    }

    fn outside(&self, path: &Path) -> PathBuf {
        match self {
            Self::V2_3 => path.to_owned(),
            Self::V2_4 { root } => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    /// Where files must lie that it is to see.
    pub fn folder_for_places(&self) -> PathBuf {
        match self {
            Self::V2_3 => std::env::temp_dir(),
            Self::V2_4 { root } => root.join("tmp"),
        }
    }

    /// One of its programs, to be given arguments.
    pub fn command(&self, program: &str) -> Command {
        match self {
            Self::V2_3 => Command::new(program),
            Self::V2_4 { root } => {
                let mut command = Command::new("/usr/sbin/chroot");
                command.arg(root).arg(program);
                // The caller's libraries and temporary files are not there.
                command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
                command
            }
        }
    }

    /// What `dovecot --version` says.
    pub fn version(&self) -> anyhow::Result<String> {
        let output = self.command("/usr/sbin/dovecot").arg("--version").output()?;
        ensure!(output.status.success(), "dovecot --version: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2_3 => f.write_str("Dovecot 2.3"),
            Self::V2_4 { root } => write!(f, "Dovecot 2.4 in {}", root.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_chosen() {
        assert_eq!(Release::parse("2.3").unwrap(), Release::V2_3);
        for wrong in ["", "2.4", "2.4=", "2.4=/nowhere/at/all", "2.3=/", "2.5=/"] {
            assert!(Release::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
