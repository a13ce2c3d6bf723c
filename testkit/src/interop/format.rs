//! The formats of a shared store, and what can be done to each beyond what IMAP knows.

use std::path::{Path, PathBuf};

use crate::dovecot::Release;

/// What a shared store is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StoreFormat {
    /// sdbox.
    #[default]
    Sdbox,
    /// sdbox, its new bodies compressed.
    SdboxZstd,
    /// sdbox, mailboxes in folders by their GUIDs.
    SdboxIndex,
    /// sdbox with an alternate storage.
    SdboxAlt,
    /// mdbox. Its files are short, so that there are many.
    Mdbox,
    /// mdbox, its new bodies compressed.
    MdboxZstd,
    /// mdbox, mailboxes in folders by their GUIDs.
    MdboxIndex,
    /// mdbox with an alternate storage.
    MdboxAlt,
    /// Maildir++.
    Maildir,
    /// Maildir, layout `fs`.
    MaildirFs,
    /// mbox.
    Mbox,
}

impl StoreFormat {
    /// Those that Culver serves.
    pub const ALL: [Self; 11] = [
        Self::Sdbox,
        Self::SdboxZstd,
        Self::SdboxIndex,
        Self::SdboxAlt,
        Self::Mdbox,
        Self::MdboxZstd,
        Self::MdboxIndex,
        Self::MdboxAlt,
        Self::Maildir,
        Self::MaildirFs,
        Self::Mbox,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sdbox => "sdbox",
            Self::SdboxZstd => "sdbox-zstd",
            Self::SdboxIndex => "sdbox-index",
            Self::SdboxAlt => "sdbox-alt",
            Self::Mdbox => "mdbox",
            Self::MdboxZstd => "mdbox-zstd",
            Self::MdboxIndex => "mdbox-index",
            Self::MdboxAlt => "mdbox-alt",
            Self::Maildir => "maildir",
            Self::MaildirFs => "maildir-fs",
            Self::Mbox => "mbox",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Dovecot's `mail_location` for a store at a path.
    pub fn mail_location(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Sdbox | Self::SdboxZstd => format!("sdbox:{path}"),
            Self::SdboxIndex => format!("sdbox:{path}:LAYOUT=index"),
            Self::SdboxAlt => format!("sdbox:{path}:ALT={path}.alt"),
            Self::Mdbox | Self::MdboxZstd => format!("mdbox:{path}"),
            Self::MdboxIndex => format!("mdbox:{path}:LAYOUT=index"),
            Self::MdboxAlt => format!("mdbox:{path}:ALT={path}.alt"),
            Self::Maildir => format!("maildir:{path}"),
            Self::MaildirFs => format!("maildir:{path}:LAYOUT=fs"),
            Self::Mbox => format!("mbox:{path}:INBOX={path}/inbox"),
        }
    }

    /// What Dovecot's configuration says of it besides.
    pub fn dovecot_settings(self, release: &Release) -> String {
        let mut settings = String::new();
        if self.is_mdbox() {
            settings += "mdbox_rotate_size = 100k\n";
        }
        if matches!(self, Self::SdboxZstd | Self::MdboxZstd) {
            settings += match release {
                Release::V2_3 => "mail_plugins = $mail_plugins zlib\nplugin {\n  zlib_save = zstd\n}\n",
                Release::V2_4 { .. } => "mail_plugins {\n  mail_compress = yes\n}\nmail_compress_write_method = zstd\n",
            };
        }
        settings
    }

    /// Culver's settings for it.
    pub fn culver_settings(self) -> Vec<String> {
        let settings: &[&str] = match self {
            Self::Sdbox => &["format=sdbox"],
            Self::SdboxZstd => &["format=sdbox", "compression=zstd"],
            Self::SdboxIndex => &["format=sdbox", "list_layout=index"],
            Self::SdboxAlt => &["format=sdbox", "alt=mail/{user}.alt"],
            Self::Mdbox => &["format=mdbox", MDBOX_ROTATION],
            Self::MdboxZstd => &["format=mdbox", MDBOX_ROTATION, "compression=zstd"],
            Self::MdboxIndex => &["format=mdbox", MDBOX_ROTATION, "list_layout=index"],
            Self::MdboxAlt => &["format=mdbox", MDBOX_ROTATION, "alt=mail/{user}.alt"],
            Self::Maildir => &["format=maildir"],
            Self::MaildirFs => &["format=maildir-fs"],
            Self::Mbox => &["format=mbox"],
        };
        settings.iter().map(|setting| format!("storage.{setting}")).collect()
    }

    /// Whether others may change the files with nothing but `mv`, `rm` and `ln`.
    pub fn is_maildir(self) -> bool {
        matches!(self, Self::Maildir | Self::MaildirFs)
    }

    /// The folder of a mailbox in a Maildir store, as IMAP names it with `/` between levels.
    pub(super) fn maildir_folder(self, root: &Path, mailbox: &str) -> PathBuf {
        match mailbox {
            "INBOX" => root.to_owned(),
            name if self == Self::Maildir => root.join(format!(".{}", name.replace('/', "."))),
            name => root.join(name),
        }
    }

    /// The mailbox in a folder of a Maildir store; none if the folder is elsewhere.
    pub(super) fn maildir_mailbox(self, root: &Path, folder: &Path) -> Option<String> {
        let name = folder.strip_prefix(root).ok()?.to_str()?;
        Some(match name.strip_prefix('.') {
            _ if name.is_empty() => "INBOX".to_owned(),
            Some(levels) if self == Self::Maildir => levels.replace('.', "/"),
            _ => name.to_owned(),
        })
    }

    /// Whether bodies of expunged messages stay until a purge.
    pub fn is_mdbox(self) -> bool {
        matches!(self, Self::Mdbox | Self::MdboxZstd | Self::MdboxIndex | Self::MdboxAlt)
    }

    /// Whether messages can be moved to an alternate storage.
    pub fn has_alt(self) -> bool {
        matches!(self, Self::SdboxAlt | Self::MdboxAlt)
    }
}

/// Dovecot's own 10 MB would be one file for all that a run writes.
const MDBOX_ROTATION: &str = "mdbox_rotate_size=100 KiB";
