//! The checks of [`crate::conformance`] for a backend that lies on disk: on the real one and on a simulated one.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{cell::Cell, path::Path, sync::Arc};

use mailfs::{RealDisk, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions, Fsync};
use mailstore::MailStorage;

use crate::conformance;

/// Makes an empty store in a folder that is not there yet.
pub type Create = fn(&Env, &Path) -> Arc<dyn MailStorage>;

/// Without syncs, which no check here can see; the crash runs are elsewhere. `but`: checks that the format cannot pass.
pub fn on_the_real_disk(create: Create, but: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let made = Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        let options = EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() };
        create(&Env::new(Arc::new(RealDisk::new()), options), &dir.path().join(format!("{}/mail", made.get())))
    };
    conformance::run(&make, but);
}

fn simulated(create: Create) -> Arc<dyn MailStorage> {
    let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
    create(&Env::new(SimDisk::new().as_file_system(), options), Path::new("/mail"))
}

pub fn on_a_simulated_disk(create: Create, but: &[&str]) {
    conformance::run(&|| simulated(create), but);
}

pub fn behaves_like_the_model(create: Create) {
    conformance::run_model(&|| simulated(create), 64);
}
