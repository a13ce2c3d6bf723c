//! Users' files, stored passwords, and what clients say to prove who they are.

use std::path::Path;

use auth::{
    Password, PasswordFile, Scheme, ScramSha256, UserName,
    sasl::{ChannelBinding, Exchange, Mechanism, Next, decode_base64, decode_initial_response, encode_base64},
};
use mailfs::{FileSystemExt, sim::SimDisk};

/// Any bytes may be a users' file; adding a user to it and removing him leaves all other lines as they were.
pub fn passwd_file(data: &[u8]) {
    let disk = SimDisk::new();
    let path = Path::new("/users");
    disk.write_atomic(path, data, 0o600, false).expect("a disk in memory");
    let file = PasswordFile::on(disk.as_file_system(), path, Scheme::Crypt);
    let Ok(before) = file.names() else { return };
    let name = UserName::new("somebody-new").expect("a good name");
    let password = Password::parse("{PLAIN}x", Scheme::Plain).expect("a good password");
    if before.contains(&name) || file.add(&name, &password).is_err() {
        return;
    }
    let with = file.names().expect("still a file of users");
    assert!(with.contains(&name) && with.len() == before.len() + 1, "he is there, and so is everybody else");
    file.set_password(&name, &password).expect("he is there");
    file.remove(&name).expect("he is there");
    assert_eq!(file.names().expect("still a file of users"), before, "he is gone, and nobody else");
    let text = disk.read_all(path, u64::MAX).expect("the file is there");
    assert!(text.starts_with(data), "no line of others was touched");
}

/// Any bytes may be a stored password or a message of a client.
pub fn sasl(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(password) = Password::parse(text, Scheme::Plain) {
            let again = Password::parse(password.as_str(), Scheme::Plain).expect("what is written is read");
            assert_eq!(again.scheme(), password.scheme(), "a scheme survives");
        }
        let _ = ScramSha256::parse(text);
    }
    let encoded = encode_base64(data);
    assert_eq!(decode_base64(encoded.as_bytes()).as_deref(), Some(data), "base64 survives");
    let _ = (decode_base64(data), decode_initial_response(data));
    for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus] {
        let Ok(mut exchange) = Exchange::new(mechanism, ChannelBinding::default()) else { return };
        for message in data.split(|&byte| byte == 0xff).take(5) {
            let mut next = exchange.step(message);
            if let Next::FindScram { name } = &next {
                next = exchange.scram(ScramSha256::decoy(b"secret", name, 4096));
            }
            match next {
                Next::Challenge(challenge) => assert!(challenge.len() <= 16 * 1024, "a challenge is bounded"),
                Next::Proven => panic!("nobody knows the password of a decoy"),
                _ => break,
            }
        }
    }
}
