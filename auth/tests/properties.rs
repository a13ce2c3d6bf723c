//! Whatever a file or a client says: nothing panics, nothing is let in that should not be, and what is written is read
//! again as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc};

use auth::{
    Authenticator as _, Network, Password, PasswordFile, Scheme, ScramSha256, UserName,
    sasl::{ChannelBinding, Exchange, Mechanism, Next, decode_base64, decode_initial_response, encode_base64},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mailfs::{FileSystem, FileSystemExt as _, sim::SimDisk};
use proptest::{prelude::*, test_runner::RngSeed};
use sha2::{Digest as _, Sha256};

fn config(cases: u32, seed: u64) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

fn file_of(text: &[u8]) -> (Arc<dyn FileSystem>, PasswordFile) {
    let fs = SimDisk::new().as_file_system();
    fs.write_atomic(Path::new("/users"), text, 0o600, true).unwrap();
    let file = PasswordFile::on(Arc::clone(&fs), "/users", Scheme::Plain);
    (fs, file)
}

/// A line of a passwd-file that is nearly one. Only schemes that cost next to nothing.
fn line() -> impl Strategy<Value = String> {
    let name = "[a-cA-C@.#]{0,3}";
    let password = "(\\{(PLAIN|PLAIN.b64|SHA256|SSHA512.hex|CRYPT|ROT13|SCRAM-SHA-256|\\}|)\\})?[ -~]{0,12}";
    let extra =
        "( ?(user=|allow_nets=|nopassword|nologin|userdb_home=|userdb_mail=|userdb_uid=|x=)[a-c0-9./:, ]{0,9}){0,3}";
    let rest = prop_oneof![Just(String::new()), "[0-9]{0,2}:[0-9]{0,2}:g:/home/[a-z/.]{0,6}:/bin/sh".boxed()];
    (name, password, rest, extra).prop_map(|(name, password, rest, extra)| format!("{name}:{password}:{rest}:{extra}"))
}

/// A user as the tests know him.
#[derive(Clone, Debug)]
enum Change {
    Add(usize, String),
    Set(usize, String),
    Remove(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let password = "[ -9;-~]{1,12}|[^\\x00\\r\\n]{1,8}";
    prop_oneof![
        (0..NAMES.len(), password).prop_map(|(who, password)| Change::Add(who, password)),
        (0..NAMES.len(), password).prop_map(|(who, password)| Change::Set(who, password)),
        (0..NAMES.len()).prop_map(Change::Remove),
    ]
}

const NAMES: [&str; 4] = ["ann", "bob@example.org", "c-d", "ü"];

proptest! {
    #![proptest_config(config(400, 1))]

    /// Any bytes are a file of users: who is in it can be looked up, and nobody logs in by a password that nobody has.
    #[test]
    fn any_bytes_are_a_file_of_users(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (_, file) = file_of(&text);
        for name in file.names().unwrap() {
            prop_assert!(file.lookup(name.as_str()).unwrap().is_some());
            prop_assert!(file.find(&name).unwrap().is_some());
        }
    }

    /// Nearly well-formed ones too. Of several lines the first counts, and it is found where it stands.
    #[test]
    fn lines_that_are_nearly_right(lines in proptest::collection::vec(line(), 0..12)) {
        let (_, file) = file_of(lines.join("\n").as_bytes());
        for (user, scheme) in file.list().unwrap() {
            // A listed user is under the name that logs in, which the field `user` may have changed.
            prop_assert!(scheme.is_none() || !user.name.as_str().is_empty());
        }
        for name in file.names().unwrap() {
            let (_, at) = file.find(&name).unwrap().unwrap();
            let names = |line: &String| {
                let name = line.split(':').next().unwrap_or_default();
                UserName::new(name).ok().filter(|_| !line.starts_with('#'))
            };
            let first = lines.iter().position(|line| names(line).as_ref() == Some(&name)).unwrap();
            prop_assert_eq!(at, first + 1);
            let open = lines[first].split(':').nth(1) == Some("") && lines[first].contains("nopassword");
            prop_assert!(open || file.verify(name.as_str(), b"a password of nobody").unwrap().is_none());
            prop_assert!(open || file.verify(name.as_str(), b"").unwrap().is_none());
        }
    }

    /// Adding, changing and removing does what it says, and leaves all other bytes alone.
    #[test]
    fn changes_do_what_they_say(others in "(#[ -~]{0,10}\n|\n|[x-z]:[ -~]{0,10}\r?\n){0,4}", changes in proptest::collection::vec(change(), 1..8)) {
        let (fs, file) = file_of(others.as_bytes());
        let mut model = BTreeMap::new();
        for change in &changes {
            let stored = |text: &str| Password::hash(Scheme::Plain, text.as_bytes()).unwrap();
            let name = |who: usize| UserName::new(NAMES[who]).unwrap();
            match change {
                Change::Add(who, text) => {
                    let is_new = !model.contains_key(who);
                    prop_assert_eq!(file.add(&name(*who), &stored(text)).is_ok(), is_new);
                    model.entry(*who).or_insert(text);
                }
                Change::Set(who, text) => {
                    let set = file.set_password(&name(*who), &stored(text)).is_ok();
                    prop_assert_eq!(set, model.contains_key(who));
                    model.entry(*who).and_modify(|old| *old = text);
                }
                Change::Remove(who) => {
                    prop_assert_eq!(file.remove(&name(*who)).is_ok(), model.remove(who).is_some());
                }
            }
        }
        for (who, name) in NAMES.iter().enumerate() {
            let there = file.lookup(name).unwrap();
            prop_assert_eq!(there.is_some(), model.contains_key(&who));
            if let Some(text) = model.get(&who) {
                prop_assert!(file.verify(name, text.as_bytes()).unwrap().is_some(), "{text:?}");
                let other = format!("{text}x");
                prop_assert!(file.verify(name, other.as_bytes()).unwrap().is_none());
            }
        }
        let text = String::from_utf8(fs.read_all(Path::new("/users"), 1 << 20).unwrap()).unwrap();
        let is_ours = |line: &&str| NAMES.iter().any(|name| line.starts_with(&format!("{name}:")));
        let left: String = text.split_inclusive('\n').filter(|line| !is_ours(line)).collect();
        prop_assert_eq!(left, others);
    }

    /// Stored passwords: no text panics, what is read is written back as it was.
    #[test]
    fn any_text_is_a_stored_password_or_none(text in "(\\{[A-Z0-9a-z.-]{0,14}\\})?[$,=./a-zA-Z0-9{}:]{0,80}|.{0,40}", scheme in scheme()) {
        if let Ok(password) = Password::parse(&text, scheme) {
            prop_assert_eq!(password.as_str(), &text);
            prop_assert!(Password::parse(password.as_str(), scheme).is_ok_and(|again| again == password));
        }
    }

    /// Credentials of SCRAM in Dovecot's notation.
    #[test]
    fn scram_credentials_are_read_again(password in ".{0,12}", iterations in 1..40u32, noise in "[0-9a-zA-Z+/=,]{0,60}") {
        let made = ScramSha256::make(password.as_bytes(), NonZeroU32::new(iterations).unwrap()).unwrap();
        prop_assert_eq!(ScramSha256::parse(&made.to_string()).unwrap(), made.clone());
        prop_assert!(made.matches(password.as_bytes()));
        let other = format!("{password}x");
        prop_assert!(!made.matches(other.as_bytes()));
        let _ = ScramSha256::parse(&noise);
        let _ = ScramSha256::parse(&format!("{made},{noise}"));
    }

    #[test]
    fn networks_are_read(text in "[0-9a-f:./,a-l ]{0,40}", address in any::<[u8; 4]>(), prefix in 0..=32u32) {
        let _ = Network::parse_list(&text);
        let network: Network = format!("{}/{prefix}", std::net::Ipv4Addr::from(address)).parse().unwrap();
        prop_assert!(network.contains(Some(address.into())));
        let mut other = address;
        other[0] ^= 0x80;
        prop_assert_eq!(network.contains(Some(other.into())), prefix == 0);
    }

    #[test]
    fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..100), noise in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(decode_base64(encode_base64(&bytes).as_bytes()), Some(bytes.clone()));
        if let Some(decoded) = decode_initial_response(&noise) {
            prop_assert!(noise == b"=" || encode_base64(&decoded).as_bytes() == noise);
        }
    }

    /// No messages at all prove anything, and an exchange that is over stays over.
    #[test]
    fn no_noise_gets_in(mechanism in 0..4usize, messages in proptest::collection::vec(message(), 1..6)) {
        let binding = ChannelBinding { exporter: Some([7; 32]), server_end_point: None };
        let mut exchange = Exchange::new(Mechanism::ALL[mechanism], binding).unwrap();
        let mut is_over = false;
        for message in messages {
            let mut next = exchange.step(&message);
            if matches!(next, Next::FindScram { .. }) {
                next = exchange.scram(ScramSha256::decoy(b"secret", "ann", 1));
            }
            prop_assert!(next != Next::Proven);
            prop_assert!(!is_over || matches!(next, Next::Failed(_)), "{next:?}");
            is_over |= matches!(next, Next::Failed(_) | Next::CheckPassword { .. });
        }
    }

    /// PLAIN and LOGIN hand on name and password as they are.
    #[test]
    fn names_and_passwords_are_handed_on(name in "[^\\x00]{1,20}", password in "[^\\x00]{0,20}", twice in any::<bool>()) {
        let wanted = Next::CheckPassword { name: name.clone(), password: password.clone().into_bytes().into() };
        let mut plain = Exchange::new(Mechanism::Plain, ChannelBinding::default()).unwrap();
        let act_as = if twice { &name } else { "" };
        prop_assert_eq!(plain.step(format!("{act_as}\0{name}\0{password}").as_bytes()), wanted.clone());
        let mut login = Exchange::new(Mechanism::Login, ChannelBinding::default()).unwrap();
        prop_assert!(matches!(login.step(name.as_bytes()), Next::Challenge(_)));
        prop_assert_eq!(login.step(password.as_bytes()), wanted);
    }

    /// A client that knows the password proves it and hears the server's proof; whatever is changed on the way, not.
    #[test]
    fn scram_from_end_to_end(
        name in "[!-~]{1,12}",
        password in "[!-~]{1,16}",
        plus in any::<bool>(),
        nonce in "[!-+\\--~]{1,24}",
        flip in proptest::option::of((any::<prop::sample::Index>(), 1..=255u8)),
    ) {
        let binding = ChannelBinding { exporter: Some([9; 32]), server_end_point: None };
        let (mechanism, flag, data, binding) = match plus {
            true => (Mechanism::ScramSha256Plus, "p=tls-exporter", &[9u8; 32][..], binding),
            false => (Mechanism::ScramSha256, "n", &[][..], ChannelBinding::default()),
        };
        let credentials = ScramSha256::make(password.as_bytes(), NonZeroU32::new(3).unwrap()).unwrap();
        let mut server = Exchange::new(mechanism, binding).unwrap();
        let bare = format!("n={},r={nonce}", name.replace('=', "=3D").replace(',', "=2C"));
        let Next::FindScram { name: found } = server.step(format!("{flag},,{bare}").as_bytes()) else {
            return Err(TestCaseError::fail("no name"));
        };
        prop_assert_eq!(found, name);
        let Next::Challenge(challenge) = server.scram(credentials) else { return Err(TestCaseError::fail("no challenge")) };
        let challenge = String::from_utf8(challenge).unwrap();
        let client = Proof::new(&password, flag, data, &bare, &challenge);
        let mut message = client.message.into_bytes();
        if let Some((at, mask)) = flip {
            let at = at.index(message.len());
            message[at] ^= mask;
        }
        let answer = server.step(&message);
        match flip {
            None => {
                prop_assert_eq!(answer, Next::Challenge(client.servers_proof.into_bytes()));
                prop_assert_eq!(server.step(b""), Next::Proven);
            }
            Some(_) => prop_assert!(matches!(answer, Next::Failed(_)), "{answer:?}"),
        }
    }
}

fn scheme() -> impl Strategy<Value = Scheme> {
    use Scheme::{Argon2id, BlfCrypt, Crypt, Pbkdf2, Plain, ScramSha256, Sha1, Sha512Crypt, Ssha512};
    prop::sample::select(vec![Plain, Sha512Crypt, BlfCrypt, Crypt, Argon2id, Pbkdf2, ScramSha256, Ssha512, Sha1])
}

/// Something that a client may send.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(Vec::new()),
        "(n|y|p=tls-exporter|p=x),(a=ann)?,(m=x,)?n=[a-c=23CD]{0,6},r=[!-~]{0,8}(,x=y)?".prop_map(String::into_bytes),
        "c=(biws|eSws|[A-Za-z=]{0,8}),r=[!-~]{0,30},p=[A-Za-z0-9+/]{43}=".prop_map(String::into_bytes),
        "(ann)?\\x00ann\\x00[a-z\\x00]{0,6}".prop_map(String::into_bytes),
    ]
}

/// What a client answers (RFC 5802 §3), computed here anew.
struct Proof {
    message: String,
    servers_proof: String,
}

impl Proof {
    fn new(password: &str, flag: &str, data: &[u8], bare: &str, challenge: &str) -> Self {
        let attribute = |key: &str| challenge.split(',').find_map(|part| part.strip_prefix(key)).unwrap().to_owned();
        // A nonce may look like an attribute, but the first of each key is the one that counts.
        let nonce = challenge.split(",s=").next().unwrap().strip_prefix("r=").unwrap();
        let salt = BASE64_STANDARD.decode(challenge.rsplit(",s=").next().unwrap().split(',').next().unwrap()).unwrap();
        let iterations: u32 = attribute("i=").parse().unwrap();
        let mut salted = mac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
        let mut last = salted;
        for _ in 1..iterations {
            last = mac(password.as_bytes(), &last);
            salted.iter_mut().zip(last).for_each(|(byte, other)| *byte ^= other);
        }
        let client_key = mac(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", encode_base64(&[format!("{flag},,").as_bytes(), data].concat()));
        let signed = format!("{bare},{challenge},{without_proof}");
        let signature = mac(&Sha256::digest(client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
        let server_key = mac(&salted, b"Server Key");
        let servers_proof = format!("v={}", encode_base64(&mac(&server_key, signed.as_bytes())));
        Self { message: format!("{without_proof},p={}", encode_base64(&proof)), servers_proof }
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}
