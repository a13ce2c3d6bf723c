//! A data folder, and the program run on it as an administrator would.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use testkit::{
    culver::Culver,
    place::{MailUser, Place},
};

pub struct Host {
    place: Place,
}

impl Host {
    /// With these users, who have no mail yet.
    pub fn of(users: &[&str]) -> Self {
        let host = Self { place: Place::new("host").unwrap() };
        Culver::prepare(&host.path("data"), &MailUser::for_tests().unwrap(), users).unwrap();
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culver"));
        command.arg("--data").arg(self.path("data")).args(arguments).output().unwrap()
    }

    /// What a command that must succeed prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
