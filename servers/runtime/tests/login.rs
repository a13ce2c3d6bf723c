//! Logging in by every mechanism, and what failing costs.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{fs, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use culver_runtime::{
    CannotStart, Client, Exchange, Limits, LoginOptions, Logins, PasswordFile, PoolOptions, SaslStep, StoragePool,
    TlsInfo, TlsVersion,
    sasl::{ChannelBinding, Mechanism},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

struct Host {
    _folder: tempfile::TempDir,
    logins: Logins,
}

impl Host {
    fn new(users: &str) -> Self {
        Self::with(users, |options| options)
    }

    fn with(users: &str, change: impl FnOnce(LoginOptions) -> LoginOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, users).unwrap();
        let file = PasswordFile::new(path);
        file.names().unwrap();
        let pool = StoragePool::new(PoolOptions::passwords());
        let options = change(LoginOptions::new(&Limits::default()));
        Self { _folder: folder, logins: Logins::with_options(Arc::new(file), pool, options) }
    }

    fn names(&self, client: &Client) -> Vec<&'static str> {
        self.logins.mechanisms(client).into_iter().map(Mechanism::name).collect()
    }
}

fn binding() -> ChannelBinding {
    ChannelBinding { exporter: Some([7; 32]), server_end_point: Some(vec![1, 2, 3]) }
}

fn encrypted() -> Client {
    let tls = TlsInfo {
        version: TlsVersion::V1_3,
        cipher: "TLS13_AES_256_GCM_SHA384",
        server_name: None,
        channel_binding: binding(),
    };
    Client { address: Some([192, 0, 2, 1].into()), tls: Some(tls), plaintext_allowed: false, connected: None }
}

fn local() -> Client {
    Client { plaintext_allowed: true, ..Client::default() }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().into()
}

/// A client of SCRAM-SHA-256, written from RFC 5802 §3: what the server says of this password, and whether it proves
/// itself.
async fn scram(exchange: &mut Exchange, gs2: &str, bound: &[u8], name: &str, password: &str) -> SaslStep {
    let bare = format!("n={name},r=0123456789");
    let first = exchange.step(format!("{gs2}{bare}").as_bytes()).await.unwrap();
    let SaslStep::Challenge(challenge) = first else { return first };
    let challenge = String::from_utf8(challenge).unwrap();
    let parts: Vec<_> = challenge.split(',').map(|part| part.split_at(2)).collect();
    let [("r=", nonce), ("s=", salt), ("i=", iterations)] = parts[..] else { panic!("{challenge}") };
    assert!(nonce.starts_with("0123456789") && nonce.len() > 30);
    // PBKDF2 of one block, spelled out.
    let mut salt = BASE64_STANDARD.decode(salt).unwrap();
    salt.extend([0, 0, 0, 1]);
    let mut block = mac(password.as_bytes(), &salt);
    let mut salted = block;
    for _ in 1..iterations.parse::<u32>().unwrap() {
        block = mac(password.as_bytes(), &block);
        salted.iter_mut().zip(block).for_each(|(a, b)| *a ^= b);
    }
    let without_proof = format!("c={},r={nonce}", BASE64_STANDARD.encode([gs2.as_bytes(), bound].concat()));
    let signed = format!("{bare},{challenge},{without_proof}");
    let client_key = mac(&salted, b"Client Key");
    let mut proof = mac(&Sha256::digest(client_key), signed.as_bytes());
    proof.iter_mut().zip(client_key).for_each(|(a, b)| *a ^= b);
    let last = exchange.step(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)).as_bytes()).await.unwrap();
    let SaslStep::Challenge(signature) = last else { return last };
    let expected = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
    assert_eq!(signature, format!("v={}", BASE64_STANDARD.encode(expected)).into_bytes());
    exchange.step(b"").await.unwrap()
}

fn is_done(step: &SaslStep, name: &str) -> bool {
    matches!(step, SaslStep::Done(user) if user.name.as_str() == name)
}

#[tokio::test]
async fn what_is_offered_depends_on_the_channel_and_the_users() {
    let host = Host::new("ann:{PLAIN}secret\n");
    assert_eq!(host.names(&local()), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    assert_eq!(host.names(&encrypted()), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    assert_eq!(host.names(&Client::default()), ["SCRAM-SHA-256"]);
    let start = |mechanism, client: &Client| host.logins.start(mechanism, client).map(|_| ());
    assert!(matches!(start("plain", &Client::default()), Err(CannotStart::PrivacyRequired)));
    assert!(matches!(start("SCRAM-SHA-256-PLUS", &local()), Err(CannotStart::Unknown)));
    assert!(matches!(start("CRAM-MD5", &local()), Err(CannotStart::Unknown)));

    // Who has only a hash could not use it, and would be told of nothing else that his client likes better.
    let host = Host::new("ann:{PLAIN}secret\nbob:{SHA256}rdsPXngmyFfXN20b2bwzwMVEeQourJYUSoryKxKYyUA=\n");
    assert_eq!(host.names(&encrypted()), ["PLAIN", "LOGIN"]);
    assert!(matches!(host.logins.start("SCRAM-SHA-256", &encrypted()), Err(CannotStart::Unknown)));

    let only = Some(vec![Mechanism::Login]);
    let host = Host::with("ann:{PLAIN}secret\n", |options| LoginOptions { mechanisms: only, ..options });
    assert_eq!(host.names(&encrypted()), ["LOGIN"]);
}

#[tokio::test(start_paused = true)]
async fn passwords() {
    let host = Host::new("ann:{PLAIN}secret\n");
    let mut plain = host.logins.start("PLAIN", &local()).unwrap();
    assert_eq!(plain.first_challenge(), b"");
    assert!(is_done(&plain.step(b"\0ann\0secret").await.unwrap(), "ann"));
    let mut login = host.logins.start("LOGIN", &local()).unwrap();
    assert_eq!(login.first_challenge(), b"Username:");
    assert_eq!(login.step(b"Ann").await.unwrap(), SaslStep::Challenge(b"Password:".to_vec()));
    assert!(is_done(&login.step(b"secret").await.unwrap(), "ann"));
    for message in [&b"\0ann\0wrong"[..], b"\0bob\0secret", b"bob\0ann\0secret", b"", b"\0\0", b"\0ann\0secret\0"] {
        let began = Instant::now();
        let mut plain = host.logins.start("PLAIN", &local()).unwrap();
        assert_eq!(plain.step(message).await.unwrap(), SaslStep::Failed, "{message:?}");
        assert_eq!(began.elapsed(), Limits::default().failed_login_delay, "every failure takes the same time");
        assert_eq!(plain.step(b"\0ann\0secret").await.unwrap(), SaslStep::Failed, "there is no second try");
    }
}

#[tokio::test(start_paused = true)]
async fn scram_with_and_without_a_channel() {
    let stored = culver_runtime::Password::hash(culver_runtime::Scheme::ScramSha256, b"geheim").unwrap();
    let host = Host::new(&format!("ann:{{PLAIN}}secret\nbob:{}\n", stored.as_str()));
    let client = encrypted();
    let start = |mechanism| host.logins.start(mechanism, &client).unwrap();
    for (name, password) in [("ann", "secret"), ("BOB", "geheim")] {
        let step = scram(&mut start("SCRAM-SHA-256"), "n,,", b"", name, password).await;
        assert!(is_done(&step, &name.to_lowercase()), "{step:?}");
        let exporter = scram(&mut start("SCRAM-SHA-256-PLUS"), "p=tls-exporter,,", &[7; 32], name, password).await;
        assert!(is_done(&exporter, &name.to_lowercase()), "{exporter:?}");
        let end_point =
            scram(&mut start("SCRAM-SHA-256-PLUS"), "p=tls-server-end-point,,", &[1, 2, 3], name, password).await;
        assert!(is_done(&end_point, &name.to_lowercase()), "{end_point:?}");
    }
    for (mechanism, gs2, bound, name, password) in [
        ("SCRAM-SHA-256", "n,,", &b""[..], "ann", "wrong"),
        ("SCRAM-SHA-256", "n,,", b"", "nobody", "secret"),
        ("SCRAM-SHA-256", "y,,", b"", "ann", "secret"),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", &[8; 32], "ann", "secret"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,", &[7; 32], "ann", "secret"),
    ] {
        let mut exchange = start(mechanism);
        assert_eq!(scram(&mut exchange, gs2, bound, name, password).await, SaslStep::Failed, "{gs2}{name}");
    }
}

/// A name that nobody has gets a salt like the others, and the same again.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_apart() {
    let host = Host::new("ann:{PLAIN}secret\n");
    let mut seen = Vec::new();
    for name in ["ann", "nobody", "nobody", "NOBODY", "anybody"] {
        let mut exchange = host.logins.start("SCRAM-SHA-256", &local()).unwrap();
        let step = exchange.step(format!("n,,n={name},r=0").as_bytes()).await.unwrap();
        let SaslStep::Challenge(challenge) = step else { panic!("{step:?}") };
        let challenge = String::from_utf8(challenge).unwrap();
        seen.push(challenge.split_once(",s=").unwrap().1.to_owned());
    }
    assert_eq!(seen[1], seen[2]);
    assert_eq!(seen[1], seen[3]);
    assert_ne!(seen[1], seen[4]);
    assert!(seen.iter().all(|salt| salt.len() == seen[0].len() && salt.ends_with(",i=4096")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn networks_bound_who_may_come() {
    let host = Host::new("ann:{PLAIN}secret::::::allow_nets=198.51.100.0/24\n");
    for (address, may) in [([198, 51, 100, 9], true), ([192, 0, 2, 1], false)] {
        let client = Client { address: Some(address.into()), ..encrypted() };
        let verified = host.logins.verify(&client, "ann", b"secret".to_vec()).await.unwrap();
        assert_eq!(verified.is_some(), may);
        let mut exchange = host.logins.start("SCRAM-SHA-256", &client).unwrap();
        assert_eq!(is_done(&scram(&mut exchange, "n,,", b"", "ann", "secret").await, "ann"), may);
    }
}

/// An address that fails waits before it is heard again; a success ends that.
#[tokio::test(start_paused = true)]
async fn an_address_that_fails_waits() {
    let host = Host::new("ann:{PLAIN}secret\n");
    let client = encrypted();
    let mut waited = Vec::new();
    for n in 0..6 {
        let began = Instant::now();
        assert!(host.logins.verify(&client, "ann", format!("wrong{n}").into_bytes()).await.unwrap().is_none());
        waited.push(began.elapsed().as_secs());
    }
    // 2 seconds each, and before it nothing, 4, 8 and at most 15.
    assert_eq!(waited, [2, 6, 10, 17, 17, 17]);
    let others = Client { address: Some([192, 0, 2, 2].into()), ..encrypted() };
    for (client, seconds) in [(&others, 0), (&client, 15), (&client, 0)] {
        let began = Instant::now();
        assert!(host.logins.verify(client, "ann", b"secret".to_vec()).await.unwrap().is_some());
        assert_eq!(began.elapsed(), Duration::from_secs(seconds));
    }
}

/// With TLS 1.2 there is a binding that nobody is told of; who says that he could bind is right that we cannot.
#[tokio::test(start_paused = true)]
async fn old_tls_does_not_bind() {
    let host = Host::new("ann:{PLAIN}secret\n");
    let mut client = encrypted();
    if let Some(tls) = &mut client.tls {
        tls.version = TlsVersion::V1_2;
        tls.channel_binding.exporter = None;
    }
    assert_eq!(host.names(&client), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    assert!(matches!(host.logins.start("SCRAM-SHA-256-PLUS", &client), Err(CannotStart::Unknown)));
    let mut exchange = host.logins.start("SCRAM-SHA-256", &client).unwrap();
    assert!(is_done(&scram(&mut exchange, "y,,", b"", "ann", "secret").await, "ann"));
}
