//! A Culver of its own for one test, and a Dovecot on the same store for a second opinion.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use crate::{
    clients::{Peer, Program},
    culver::{Culver, Start},
    dovecot::{Dovecot, PASSWORD, Setup},
    imap::{Imap, quote},
    lmtp::Lmtp,
    observe::{Depth, Shown},
    place::{MailUser, Place},
};

/// Where a client is tried. Dropped, it ends both servers and removes the files.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order: the servers go before their files.
    culver: Culver,
    witness: Dovecot,
    owner: MailUser,
    place: Place,
}

/// What a stage's mail is kept in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StoreFormat {
    /// Dovecot's sdbox.
    #[default]
    Sdbox,
    /// Maildir++, its levels separated by `/` for clients.
    Maildir,
}

/// A certificate in PEM, and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, and those between it and a root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Stage {
    /// Sets up both servers for `users`, who have no mail yet.
    pub fn new(what: &str, program: &Path, format: StoreFormat, users: &[&str]) -> anyhow::Result<Self> {
        Self::build(what, program, format, users, None)
    }

    /// The same, with POP3 and TLS for both; [`Stage::certificate`] is what a client has to trust.
    pub fn with_tls(what: &str, program: &Path, format: StoreFormat, users: &[&str]) -> anyhow::Result<Self> {
        Self::with_certificate(what, program, format, users, make_certificate)
    }

    /// The same, with a certificate that is made in the folder that is given.
    pub fn with_certificate(
        what: &str,
        program: &Path,
        format: StoreFormat,
        users: &[&str],
        make: impl FnOnce(&Path) -> anyhow::Result<Certificate>,
    ) -> anyhow::Result<Self> {
        Self::build(what, program, format, users, Some(Box::new(make)))
    }

    fn build(
        what: &str,
        program: &Path,
        format: StoreFormat,
        users: &[&str],
        make: Option<Box<MakeCertificate<'_>>>,
    ) -> anyhow::Result<Self> {
        let place = Place::new(what)?;
        let owner = MailUser::for_tests()?;
        let data = place.folder_of(&owner, "data")?;
        Culver::prepare(&data, &owner, users)?;
        let (settings, driver): (&[&str], _) = match format {
            StoreFormat::Sdbox => (&[], "sdbox"),
            StoreFormat::Maildir => (&["storage.format=maildir", "storage.separator=/"], "maildir"),
        };
        let culver = match make {
            None => Culver::start_set(program, &data, &owner, settings)?,
            Some(make) => {
                let folder = data.with_file_name("tls");
                fs::create_dir_all(&folder)?;
                let made = make(&folder)?;
                owner.own(&folder)?;
                let tls = Some((made.certificate.as_path(), made.key.as_path()));
                Culver::start_with(program, &data, &owner, Start { pop3: true, tls, settings })?
            }
        };
        let mail_location = format!("{driver}:{}/mail/%u", data.display());
        let witness = Dovecot::start(place.path(), &owner, &Setup { mail_location, users, extra: "" })?;
        Ok(Self { culver, witness, owner, place })
    }

    /// The certificate of a server with TLS, which nobody signed but itself; it names `localhost`.
    pub fn certificate(&self) -> PathBuf {
        self.place.path().join("tls/certificate.pem")
    }

    /// The server.
    pub fn culver(&self) -> &Culver {
        &self.culver
    }

    /// Whom the mail belongs to.
    pub fn owner(&self) -> &MailUser {
        &self.owner
    }

    /// A folder for a client's own files.
    pub fn home(&self, name: &str) -> anyhow::Result<PathBuf> {
        let home = self.place.path().join(name);
        fs::create_dir_all(&home)?;
        Ok(home)
    }

    /// A client, to be run in the folder `home`.
    pub fn client(&self, peer: Peer, home: &Path) -> anyhow::Result<Program> {
        let path = peer.path().with_context(|| format!("{peer:?} is not installed"))?;
        Ok(Program::new(&path, home))
    }

    /// An interpreter, with a script that is put into the folder `home`.
    pub fn script(&self, peer: Peer, home: &Path, name: &str, text: &str) -> anyhow::Result<Program> {
        let path = home.join(name);
        fs::write(&path, text)?;
        Ok(self.client(peer, home)?.args([path]))
    }

    /// Our own client, logged in at Culver.
    pub fn imap(&self, user: &str) -> anyhow::Result<Imap> {
        login(self.culver.imap, user)
    }

    /// Our own client, logged in at Dovecot.
    pub fn witness(&self, user: &str) -> anyhow::Result<Imap> {
        login(self.witness.imap, user)
    }

    /// Shows Dovecot a user's mail under another name, for names that Dovecot takes no login for.
    pub fn alias(&self, user: &str, name: &str) -> anyhow::Result<()> {
        let mail = self.place.path().join("data/mail");
        Ok(std::os::unix::fs::symlink(mail.join(user), mail.join(name))?)
    }

    /// Runs `doveadm` on the store.
    pub fn doveadm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.witness.doveadm(arguments)?).into_owned())
    }

    /// Delivers messages to a user, each of which must be taken.
    pub fn deliver<'a>(&self, user: &str, messages: impl IntoIterator<Item = &'a [u8]>) -> anyhow::Result<()> {
        let mut lmtp = Lmtp::connect(self.culver.lmtp)?;
        for message in messages {
            let replies = lmtp.deliver(&[user], message)?;
            ensure!(replies.iter().all(|(code, _)| *code == 250), "{replies:?}");
        }
        Ok(())
    }

    /// All of a user's mail, as both servers show it: an error if they differ, or if Dovecot found fault with the store.
    pub fn shown(&self, user: &str) -> anyhow::Result<Shown> {
        let ours = Shown::by(&mut self.imap(user)?, Depth::Bodies)?;
        let theirs = Shown::by(&mut self.witness(user)?, Depth::Bodies)?;
        let differences = ours.differences(&theirs);
        ensure!(differences.is_empty(), "Culver and Dovecot show different mail\n{}", differences.join("\n"));
        let complaints = self.witness.complaints()?;
        ensure!(complaints.is_empty(), "Dovecot complains\n{}", complaints.join("\n"));
        Ok(theirs)
    }
}

fn login(address: SocketAddr, user: &str) -> anyhow::Result<Imap> {
    let mut imap = Imap::connect(address)?;
    imap.ok(&format!("LOGIN {} {PASSWORD}", quote(user)))?;
    Ok(imap)
}

type MakeCertificate<'a> = dyn FnOnce(&Path) -> anyhow::Result<Certificate> + 'a;

/// Makes a key and a certificate for `localhost` that signs itself.
fn make_certificate(folder: &Path) -> anyhow::Result<Certificate> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let openssl = Peer::OpenSsl.path().context("openssl is not installed")?;
    let request = Program::new(&openssl, folder);
    let request = request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    let request = request.args(["-days", "2", "-subj", "/CN=localhost"]);
    let request = request.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    request.args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()]).ok()?;
    Ok(Certificate { certificate, key })
}
