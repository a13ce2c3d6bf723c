//! Maildir does what every backend must do, on the real disk and on a simulated one.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod conformance;

use std::{path::Path, sync::Arc};

use mailfs::{RealDisk, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions, Fsync};
use mailstore::{
    MailStorage,
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
};

/// Without syncs, which no check here can see; the crash runs are elsewhere.
fn real() -> Arc<dyn MailStorage> {
    let options = EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() };
    let env = Env::new(Arc::new(RealDisk::new()), options);
    // Stays until the end of the run: the storage outlives this function.
    let dir = tempfile::Builder::new().prefix("maildir").tempdir().unwrap().keep();
    Arc::new(Temporary {
        storage: MaildirStorage::create(&env, &dir.join("mail"), &MaildirPlaces::default(), MaildirOptions::default())
            .unwrap(),
        dir,
    })
}

/// Removes the store when the last handle goes.
#[derive(Debug)]
struct Temporary {
    storage: MaildirStorage,
    dir: std::path::PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl MailStorage for Temporary {
    fn list(&self, pattern: &mailstore::ListPattern) -> mailstore::Result<Vec<mailstore::MailboxInfo>> {
        self.storage.list(pattern)
    }
    fn mailbox(&self, name: &mailtypes::MailboxName) -> mailstore::Result<Arc<dyn mailstore::Mailbox>> {
        self.storage.mailbox(name)
    }
    fn create(&self, name: &mailtypes::MailboxName) -> mailstore::Result<()> {
        self.storage.create(name)
    }
    fn delete(&self, name: &mailtypes::MailboxName) -> mailstore::Result<()> {
        self.storage.delete(name)
    }
    fn rename(&self, from: &mailtypes::MailboxName, to: &mailtypes::MailboxName) -> mailstore::Result<()> {
        self.storage.rename(from, to)
    }
    fn subscribe(&self, name: &mailtypes::MailboxName) -> mailstore::Result<()> {
        self.storage.subscribe(name)
    }
    fn unsubscribe(&self, name: &mailtypes::MailboxName) -> mailstore::Result<()> {
        self.storage.unsubscribe(name)
    }
    fn subscriptions(&self) -> mailstore::Result<Vec<mailtypes::MailboxName>> {
        self.storage.subscriptions()
    }
}

fn simulated() -> Arc<dyn MailStorage> {
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    let env = Env::new(SimDisk::new().as_file_system(), options);
    Arc::new(
        MaildirStorage::create(&env, Path::new("/mail"), &MaildirPlaces::default(), MaildirOptions::default()).unwrap(),
    )
}

#[test]
fn on_the_real_disk() {
    conformance::run(&real);
}

#[test]
fn on_a_simulated_disk() {
    conformance::run(&simulated);
}

#[test]
fn behaves_like_the_model() {
    conformance::run_model(&simulated, 64);
}
