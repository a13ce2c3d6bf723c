//! The file of users: what is read of it, that changes are seen, and that changing it is all or nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use auth::{Authenticator as _, Network, NewUser, Password, PasswordFile, PasswordFileError, Scheme, User, UserName};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("users")
    }

    fn with(text: &str) -> (Self, PasswordFile) {
        let place = Self::new();
        fs::write(place.path(), text).unwrap();
        let file = PasswordFile::new(place.path());
        (place, file)
    }
}

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn plain(password: &str) -> Password {
    Password::parse(&format!("{{PLAIN}}{password}"), Scheme::Plain).unwrap()
}

#[test]
fn fields_are_those_of_dovecot() {
    let (_place, file) = Place::with(
        "# a comment\n\
         ann:{PLAIN}secret:1000:1000:Ann Other:/home/ann:/bin/sh:userdb_mail=maildir:~/Maildir quota_rule=*:storage=1G\r\n\
         \n\
         Bob@Example.org:{PLAIN}b\n\
         carl:{PLAIN}c::::::allow_nets=192.0.2.0/24,local nologin=yes\n\
         dora::::::: nopassword\n\
         emil:{PLAIN}e::::::user=dora allow_nets=192.0.2.0/24 userdb_home=/srv/emil\n\
         fred:{MD5-CRYPT}$1$x$y\n\
         gina:{PLAIN}g::::::allow_nets=everywhere\n\
         hans\n\
         ann:{PLAIN}other\n\
         ../ivan:{PLAIN}i\n",
    );
    let verify = |name: &str, password: &str| file.verify(name, password.as_bytes()).unwrap();
    let ann =
        User { home: Some("/home/ann".into()), mail: Some("maildir:~/Maildir".to_owned()), ..User::new(name("ann")) };
    assert_eq!(verify("ANN", "secret"), Some(ann.clone()));
    assert_eq!(verify("ann", "other"), None, "of two lines the first counts");
    assert_eq!(verify("bob@example.org", "b"), Some(User::new(name("bob@example.org"))));
    assert_eq!(verify("bob", "b"), None);
    assert_eq!(verify("carl", "c"), None, "nologin");
    assert_eq!(verify("dora", "anything"), Some(User::new(name("dora"))));
    let emil = verify("emil", "e").unwrap();
    assert_eq!((emil.name.as_str(), emil.home.as_deref()), ("dora", Some("/srv/emil".as_ref())));
    assert_eq!(emil.allow_nets.as_deref(), Some(&["192.0.2.0/24".parse::<Network>().unwrap()][..]));
    assert!(emil.may_log_in_from(Some([192, 0, 2, 9].into())) && !emil.may_log_in_from(None));
    for (name, password) in [("fred", "x"), ("gina", "g"), ("hans", ""), ("../ivan", "i"), ("nobody", ""), ("", "")] {
        assert_eq!(verify(name, password), None, "{name}");
    }
    // Mail comes for all whose names can be.
    for (name, there) in
        [("ann", true), ("carl", true), ("fred", true), ("gina", true), ("hans", true), ("ivan", false)]
    {
        assert_eq!(file.lookup(name).unwrap().is_some(), there, "{name}");
    }
    assert_eq!(file.names().unwrap().len(), 8);
    let list = file.list().unwrap();
    assert_eq!(list.first(), Some(&(ann, Some(Scheme::Plain))));
    assert!(!file.offers_scram(), "dora has no password that would serve");
}

#[test]
fn scram_is_offered_where_all_can_use_it() {
    let scram = Password::hash(Scheme::ScramSha256, b"secret").unwrap();
    let (place, file) = Place::with(&format!("ann:{}\nbob:{{PLAIN}}b\n", scram.as_str()));
    assert!(!file.offers_scram(), "nobody has looked yet");
    let found = file.scram_sha256("Ann", b"salt secret").unwrap().unwrap();
    assert!(file.offers_scram());
    assert_eq!(found.user.name, name("ann"));
    assert!(found.credentials.matches(b"secret"));
    let credentials = |name| file.scram_sha256(name, b"salt secret").unwrap().map(|found| found.credentials);
    assert_eq!(credentials("bob"), credentials("BOB"), "the salt of one name is always the same");
    assert!(credentials("bob").unwrap().matches(b"b"));
    assert_eq!(credentials("eve"), None);

    let hashed = Password::hash(Scheme::Ssha512, b"secret").unwrap();
    PasswordFile::new(place.path()).add(&name("eve"), &hashed).unwrap();
    assert_eq!(file.scram_sha256("eve", b"salt secret").unwrap().map(|found| found.credentials), None);
    assert!(!file.offers_scram());
}

#[test]
fn changes_by_others_are_seen_at_once() {
    let (place, file) = Place::with("ann:{PLAIN}1\n");
    for n in 1..200 {
        assert!(file.verify("ann", n.to_string().as_bytes()).unwrap().is_some(), "{n}");
        // As long as before, often within one tick of the clock.
        fs::write(place.path(), format!("ann:{{PLAIN}}{}\n", n + 1)).unwrap();
    }
    fs::remove_file(place.path()).unwrap();
    assert!(file.verify("ann", b"200").unwrap().is_none());
    assert!(file.names().unwrap().is_empty());
}

#[test]
fn users_are_added_changed_and_removed() {
    let (place, file) = Place::with("# of the house\nann:{PLAIN}a:1:2::/home/ann\n");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o640)).unwrap();
    file.add(&name("bob"), &plain("b")).unwrap();
    assert!(matches!(file.add(&name("bob"), &plain("c")), Err(PasswordFileError::Exists(_))));
    file.set_password(&name("ann"), &plain("new")).unwrap();
    assert!(matches!(file.set_password(&name("eve"), &plain("e")), Err(PasswordFileError::NoSuchUser(_))));
    let text = fs::read_to_string(place.path()).unwrap();
    assert_eq!(text, "# of the house\nann:{PLAIN}new:1:2::/home/ann\nbob:{PLAIN}b\n");
    file.remove(&name("bob")).unwrap();
    assert!(matches!(file.remove(&name("bob")), Err(PasswordFileError::NoSuchUser(_))));
    assert!(file.verify("ann", b"new").unwrap().is_some());
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o640);
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["users"]);
}

#[test]
fn the_first_user_is_made_once() {
    let place = Place::new();
    let file = PasswordFile::new(place.path());
    let made = file.create_first_user(&name("culver")).unwrap().unwrap();
    assert_eq!(made.password.len(), 20);
    assert!(!format!("{made:?}").contains(&made.password));
    assert!(file.create_first_user(&name("culver")).unwrap().is_none());
    assert!(file.verify("culver", made.password.as_bytes()).unwrap().is_some());
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(NewUser::make(name("ann")).unwrap().password, made.password);
}

/// Everybody who changes the file at the same time gets what he wants.
#[test]
fn changes_at_the_same_time_are_all_there() {
    let place = Place::new();
    let file = Arc::new(PasswordFile::new(place.path()));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let file = Arc::clone(&file);
            std::thread::spawn(move || {
                (0..5).for_each(|n| file.add(&name(&format!("user{thread}{n}")), &plain("x")).unwrap());
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(file.names().unwrap().len(), 20);
}
