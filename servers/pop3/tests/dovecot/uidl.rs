//! Unique ids, in every format that both have.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use culver_pop3::{Options, UidlFormat};
use fastrand::Rng;
use mailstore::Store;
use testkit::{
    dovecot::{self, PASSWORD},
    lmtp::Lmtp,
    place::{MailUser, Place, copy_tree},
    pop3::Pop3,
    skip,
};

use crate::pair::{Pair, Server, dovecot};

#[test]
fn the_same_unique_ids_from_both() {
    if !dovecot::has_pop3() {
        return skip("unique ids beside Dovecot's", "dovecot-pop3d");
    }
    for format in ["%08Xu%08Xv", "%u.%v", "%g", "%Ug", "%12g-%Xu", "%010u"] {
        let options = Options { uidl_format: UidlFormat::parse(format).unwrap(), ..Options::default() };
        let extra = format!("pop3_uidl_format = {format}");
        let mut rng = Rng::with_seed(7);
        let mut pair = Pair::new("pop3-uidl", &mut rng, 20, options, &extra);
        pair.expunge_behind_their_backs(&mut rng);
        let [ours, theirs] = [pair.ours(), pair.theirs].map(|address| {
            let mut pop3 = Pop3::login(address, "ann", PASSWORD).unwrap();
            let one = pop3.command("UIDL 7").unwrap();
            let all = pop3.command("UIDL").unwrap();
            (one, all.lines.unwrap())
        });
        assert_eq!(ours, theirs, "{format}");
        assert_eq!(ours.1.len(), 19);
    }
}

fn ids(address: SocketAddr) -> Vec<String> {
    let answer = Pop3::login(address, "ann", PASSWORD).unwrap().command("UIDL").unwrap();
    answer.lines.unwrap().into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
}

/// What Culver says of a copy of a store.
fn our_ids(store: &Path, format: &str) -> Vec<String> {
    let options = Options { uidl_format: UidlFormat::parse(format).unwrap(), ..Options::default() };
    let storage = Arc::clone(Store::open(store).unwrap().storage());
    ids(Server::start(storage, options).address)
}

/// A Maildir whose unique ids Dovecot saved, in two formats, and the sdbox that it made of it.
#[test]
fn saved_unique_ids_are_kept() {
    if !dovecot::has_pop3() {
        return skip("unique ids that Dovecot saved", "dovecot-pop3d");
    }
    let place = Place::new("pop3-saved").unwrap();
    let owner = MailUser::for_tests().unwrap();
    let mail = place.folder_of(&owner, "mail").unwrap();
    let deliver = |at: SocketAddr| {
        let replies = (0..3).map(|n| {
            let message = format!("Subject: {n}\r\n\r\n");
            Lmtp::connect(at).unwrap().deliver(&["ann"], message.as_bytes()).unwrap()[0].0
        });
        assert!(replies.eq([250; 3]));
    };
    let settings = [
        "pop3_save_uidl = yes\npop3_uidl_format = OLD%u",
        "pop3_save_uidl = yes\npop3_uidl_format = %f",
        "pop3_uidl_format = %g",
    ];
    let mut theirs = Vec::new();
    for (n, settings) in settings.into_iter().enumerate() {
        let folder = place.path().join(format!("dovecot{n}"));
        fs::create_dir_all(&folder).unwrap();
        let (dovecot, pop3) = dovecot(&folder, &owner, format!("maildir:{}/%u", mail.display()), settings);
        deliver(dovecot.lmtp);
        theirs = ids(pop3);
        if n == 2 {
            dovecot.doveadm(&["backup", "-u", "ann", &format!("sdbox:{}/sdbox", mail.display())]).unwrap();
        }
    }
    assert!(theirs[0] == "1 OLD1" && theirs.len() == 9, "{theirs:?}");
    for (store, name) in [("ann", "ours"), ("sdbox", "ours-sdbox")] {
        copy_tree(&mail.join(store), &place.path().join(name), &owner).unwrap();
    }
    assert_eq!(our_ids(&place.path().join("ours"), "%g"), theirs);
    assert_eq!(our_ids(&place.path().join("ours"), "%f"), theirs, "the GUID of a file is its name");
    let converted = our_ids(&place.path().join("ours-sdbox"), "%08Xu%08Xv");
    assert_eq!(converted[..6], theirs[..6], "what was saved came along");
    assert_eq!(converted[6].len(), 2 + 16);
}
