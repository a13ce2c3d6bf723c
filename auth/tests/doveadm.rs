//! Stored passwords of the real doveadm are understood here, and ours there. Passed over where there is no doveadm.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::process::{Command, Output};

use auth::{Password, Scheme};

const PASSWORD: &str = "Ga\u{df}:ei m+/=\"x";

fn doveadm(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("doveadm").arg("-O").arg("pw").args(arguments).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        output => Some(output.unwrap()),
    }
}

/// What doveadm stores; `None` where there is no doveadm or it does not know the scheme.
fn stored_by_doveadm(scheme: &str, more: &[&str]) -> Option<String> {
    let output = doveadm(&[&["-s", scheme, "-p", PASSWORD], more].concat())?;
    let text = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    output.status.success().then_some(text)
}

fn check(stored: &str) {
    let password = Password::parse(stored, Scheme::Crypt).unwrap_or_else(|error| panic!("{stored}: {error}"));
    assert!(password.matches(PASSWORD.as_bytes()), "{stored}");
    for wrong in [&PASSWORD[..PASSWORD.len() - 1], &format!("{PASSWORD}\0")] {
        assert!(!password.matches(wrong.as_bytes()), "{stored} takes {wrong:?}");
    }
    assert_eq!(password.as_str(), stored);
}

#[test]
fn what_doveadm_stores_is_understood() {
    for scheme in Scheme::names() {
        let Some(stored) = stored_by_doveadm(scheme, &[]) else { continue };
        check(&stored);
        for encoding in ["b64", "HEX"] {
            let Some(stored) = stored_by_doveadm(&format!("{scheme}.{encoding}"), &[]) else { continue };
            check(&stored);
        }
    }
    for (scheme, rounds) in [("SHA512-CRYPT", "10000"), ("SHA256-CRYPT", "6000"), ("BLF-CRYPT", "8")] {
        let Some(stored) = stored_by_doveadm(scheme, &["-r", rounds]) else { continue };
        check(&stored);
        // Without the scheme, as a file has it whose default is CRYPT.
        check(stored.split_once('}').unwrap().1);
    }
}

#[test]
fn digests_in_hexadecimal_digits_need_no_name_for_it() {
    for scheme in ["SHA512", "SHA256", "SHA1"] {
        let Some(stored) = stored_by_doveadm(&format!("{scheme}.hex"), &[]) else { continue };
        let bare = stored.replace(".HEX", "").replace(".hex", "");
        assert_ne!(bare, stored);
        check(&bare);
        assert!(doveadm(&["-t", &bare, "-p", PASSWORD]).unwrap().status.success(), "{bare}");
    }
}

#[test]
fn doveadm_understands_what_is_stored_here() {
    for name in Scheme::names() {
        let scheme = Scheme::from_name(name).unwrap();
        let stored = Password::hash(scheme, PASSWORD.as_bytes()).unwrap();
        check(stored.as_str());
        for (password, is_right) in [(PASSWORD, true), ("x", false)] {
            let Some(output) = doveadm(&["-t", stored.as_str(), "-p", password]) else { return };
            assert_eq!(output.status.success(), is_right, "{}: {output:?}", stored.as_str());
        }
    }
}

/// What costs too much here may be written by doveadm.
#[test]
fn costs_are_bounded() {
    for stored in [
        "{SHA512-CRYPT}$6$rounds=999999999$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "{BLF-CRYPT}$2y$31$AxpVuQ5I4vgb2VihNHgqyucHpvQstbzB2DmIkmU7k2OipX3R7DxKW",
        "{ARGON2ID}$argon2id$v=19$m=4194304,t=1,p=1$Y2k3gEd9kml+zqRS0FXllw$D5E/OjRqZkMRdA+TIh5WqpgP6iS+p3rhGeRUbdcV75I",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=4294967295,p=1$Y2k3gEd9kml+zqRS0FXllw$D5E/OjRqZkMRdA+TIh5WqpgP6iS+p3rhGeRUbdcV75I",
        "{PBKDF2}$1$ZzXOPSEwCOh3Za.N$4000000000$d93c6e600de4b5a6312172cc8ee2f819aded9ae6",
        "{SCRAM-SHA-256}4000000000,GjFucivgfjE8I89mAoXaJg==,7A05LDrX3tpQqzq5RZf7HywAQpoEXnhTlNB6nGtYnyQ=,ek04OuPMsIv+xvQUtRniG1wlHrxMUyi3ispKK29+LC4=",
    ] {
        let error = Password::parse(stored, Scheme::Crypt).unwrap_err();
        assert!(matches!(error, auth::PasswordError::TooCostly { .. }), "{stored}: {error}");
    }
}

#[test]
fn malformed_ones_are_refused_and_not_told() {
    for stored in [
        "hunter2",
        "{hunter2",
        "{SHA512-CRYPT}$5$x",
        "{SHA512-CRYPT}$6$salt$hunter2",
        "{SHA512-CRYPT}$6$rounds=x$salt$hunter2",
        "{BLF-CRYPT}$2y$05$hunter2",
        "{BLF-CRYPT}$2x$05$AxpVuQ5I4vgb2VihNHgqyucHpvQstbzB2DmIkmU7k2OipX3R7DxKW",
        "{CRYPT}$9$hunter2",
        "{ARGON2ID}$argon2d$v=19$m=64,t=1,p=1$Y2k3gEd9kml$hunter2",
        "{ARGON2ID}hunter2",
        "{SSHA512}hunter2",
        "{SSHA512}jYR+AdIrqpafcfo2K03iHJ4Tx4grzqE7pcaorg1x/IyXAMguAIemXIs3vSn1NnR/KMlnK+wcrndi0snza2AT8g==",
        "{SHA512}eCQ7j+PkXk7w+f+ypZ9xJ0qzsvtZIlOyppsGT4XFfXypHPeHCam2UpjX+E613J9Jld4hxInVw9HgSMD2dh+JPSwMp24=",
        "{PBKDF2}$1$hunter2",
        "{PBKDF2}$1$salt$0$d93c6e600de4b5a6312172cc8ee2f819aded9ae6",
        "{SCRAM-SHA-256}4096,hunter2",
        "{PLAIN.b64}hunter2!",
        "{PLAIN.rot13}hunter2",
    ] {
        let error = Password::parse(stored, Scheme::Crypt).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    // Who has an empty password has none.
    for stored in ["{PLAIN}", "{PLAIN.b64}"] {
        assert!(!Password::parse(stored, Scheme::Crypt).unwrap().matches(b""));
    }
}
