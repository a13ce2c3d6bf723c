//! USER, PASS, AUTH, CAPA, and who may not come in.

use std::time::Duration;

use culver_pop3::Options;
use culver_runtime::{Client as Who, Limits};

use crate::common::Host;

#[tokio::test]
async fn capabilities_before_and_after() {
    let options = Options { login_delay: Duration::from_secs(5), ..Options::default() };
    let host = Host::with(Limits::default(), options);
    let mut client = host.connect().await;
    let both = ["CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"];
    let ends = ["LOGIN-DELAY 5", "EXPIRE NEVER", "IMPLEMENTATION Culver"];
    let before = client.list("CAPA").await;
    assert_eq!(before, [&both[..], &["USER", "SASL PLAIN LOGIN"], &ends].concat());
    assert_eq!(client.list("AUTH").await, ["PLAIN", "LOGIN"]);
    client.check(&[("USER ann", "+OK"), ("PASS secret word", "+OK")]).await;
    assert_eq!(client.list("CAPA").await, [&both[..], &ends].concat());
}

#[tokio::test]
async fn passwords_right_and_wrong() {
    let mut client = Host::new().connect().await;
    client.check(&[("STAT", "-ERR"), ("PASS secret word", "-ERR"), ("USER ann", "+OK")]).await;
    client.check(&[("PASS secret", "-ERR [AUTH]"), ("PASS secret word", "-ERR No username")]).await;
    client.check(&[("USER nobody", "+OK"), ("PASS secret word", "-ERR [AUTH]")]).await;
    client.check(&[("USER broken", "+OK"), ("PASS x", "-ERR [SYS/TEMP]")]).await;
    client.check(&[("USER ann", "+OK"), ("pass secret word", "+OK"), ("STAT", "+OK 0 0")]).await;
    client.check(&[("USER ann", "-ERR"), ("AUTH PLAIN", "-ERR"), ("STLS", "-ERR")]).await;
}

#[tokio::test]
async fn sasl_with_and_without_initial_response() {
    let host = Host::new();
    let plain = "AGFubgBzZWNyZXQgd29yZA==";
    let mut client = host.connect().await;
    client.check(&[("AUTH FROB", "-ERR [AUTH]"), ("AUTH PLAIN !", "-ERR [AUTH]"), ("AUTH PLAIN", "+ ")]).await;
    client.check(&[("*", "-ERR"), ("AUTH PLAIN =", "-ERR [AUTH]"), ("AUTH plain", "+ ")]).await;
    client.check(&[(plain, "+OK"), ("STAT", "+OK 0 0")]).await;
    let mut client = host.connect().await;
    client.check(&[(&format!("AUTH PLAIN {plain}"), "+OK Logged in.")]).await;
    let mut client = host.connect().await;
    client.check(&[("AUTH LOGIN", "+ VXNlcm5hbWU6"), ("YW5u", "+ UGFzc3dvcmQ6")]).await;
    client.check(&[("c2VjcmV0IHdvcmQ=", "+OK Logged in.")]).await;
    let mut client = host.connect().await;
    client.check(&[("AUTH PLAIN AGFubgB3cm9uZw==", "-ERR [AUTH] Authentication failed.")]).await;
}

#[tokio::test]
async fn no_password_without_encryption() {
    let mut host = Host::new();
    host.ctx.client = Who::default();
    let mut client = host.connect().await;
    let capabilities = client.list("CAPA").await;
    assert!(!capabilities.iter().any(|line| line.contains("USER") || line.contains("SASL")), "{capabilities:?}");
    client.check(&[("USER ann", "-ERR [AUTH]"), ("PASS x", "-ERR [AUTH]"), ("AUTH PLAIN", "-ERR [AUTH]")]).await;
    client.check(&[("STLS", "-ERR"), ("QUIT", "+OK")]).await;
}

#[tokio::test]
async fn too_many_failures_end_the_session() {
    let limits = Limits { failed_logins_max: 2, ..Limits::default() };
    let mut client = Host::with(limits, Options::default()).connect().await;
    client.check(&[("USER ann", "+OK"), ("PASS x", "-ERR [AUTH]"), ("USER ann", "+OK")]).await;
    client.check(&[("PASS x", "-ERR [AUTH]")]).await;
    assert_eq!(client.rest().await, "-ERR Too many failed logins.\r\n");
}

#[tokio::test]
async fn one_session_or_several() {
    let host = Host::new();
    let (_one, _two) = (host.log_in().await, host.log_in().await);
    let host = Host::with(Limits::default(), Options { lock_session: true, ..Options::default() });
    let mut first = host.log_in().await;
    let mut second = host.connect().await;
    second.check(&[("USER ann", "+OK"), ("PASS secret word", "-ERR [IN-USE]")]).await;
    first.check(&[("QUIT", "+OK")]).await;
    first.session.await.unwrap();
    second.check(&[("USER ann", "+OK"), ("PASS secret word", "+OK")]).await;
    let limits = Limits { connections_per_user_max: 1, ..Limits::default() };
    let host = Host::with(limits, Options::default());
    let _first = host.log_in().await;
    let mut second = host.connect().await;
    second.check(&[("USER ann", "+OK"), ("PASS secret word", "-ERR [IN-USE]")]).await;
}

#[tokio::test]
async fn logins_too_soon() {
    let options = Options { login_delay: Duration::from_secs(3600), ..Options::default() };
    let host = Host::with(Limits::default(), options);
    let mut first = host.log_in().await;
    first.check(&[("QUIT", "+OK")]).await;
    let mut second = host.connect().await;
    second.check(&[("USER ann", "+OK"), ("PASS secret word", "-ERR [LOGIN-DELAY]")]).await;
}
