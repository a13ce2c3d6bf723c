//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; the binding `tls-exporter` by RFC 9266).
//!
//! ```text
//! client-first  n,,n=user,r=CLIENT              or  p=tls-exporter,,n=user,r=CLIENT
//! server-first  r=CLIENT+SERVER,s=SALT,i=ITERATIONS
//! client-final  c=BINDING,r=CLIENT+SERVER,p=PROOF
//! server-final  v=SIGNATURE                     the client answers with an empty message
//! ```

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD};

use super::{ChannelBinding, Failure, Next};
use crate::{RandomError, ScramSha256, random::random_bytes, scram_credentials::prepared};

/// Longest nonce of a client.
const NONCE_LEN_MAX: usize = 512;

#[derive(Debug)]
pub(super) struct Scram {
    /// The client chose the mechanism that binds.
    plus: bool,
    binding: ChannelBinding,
    /// Our part of the nonce.
    nonce: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Began,
    /// The client's name is being looked up.
    Finding(First),
    /// Waiting for the proof.
    Challenged {
        first: First,
        server_first: String,
        credentials: ScramSha256,
    },
    /// Waiting for the client to have taken our proof.
    Proven,
    Over,
}

/// What the client's first message said.
#[derive(Debug)]
struct First {
    /// What `c=` of the final message must say, decoded.
    binding_input: Vec<u8>,
    bare: String,
    nonce: String,
}

impl Scram {
    pub(super) fn new(plus: bool, binding: ChannelBinding) -> Result<Self, RandomError> {
        let nonce = BASE64_STANDARD_NO_PAD.encode(random_bytes::<18>()?);
        Ok(Self::with_nonce(plus, binding, nonce))
    }

    fn with_nonce(plus: bool, binding: ChannelBinding, nonce: String) -> Self {
        Self { plus, binding, nonce, state: State::Began }
    }

    pub(super) fn step(&mut self, message: &[u8]) -> Result<Next, Failure> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Began => {
                let (name, first) = self.client_first(text(message)?)?;
                self.state = State::Finding(first);
                Ok(Next::FindScram { name })
            }
            State::Challenged { first, server_first, credentials } => {
                let signature = client_final(text(message)?, &first, &server_first, &credentials)?;
                self.state = State::Proven;
                Ok(Next::Challenge(format!("v={}", BASE64_STANDARD.encode(signature)).into_bytes()))
            }
            State::Proven if message.is_empty() => Ok(Next::Proven),
            State::Proven | State::Finding(_) | State::Over => Err(Failure::Malformed),
        }
    }

    pub(super) fn challenge(&mut self, credentials: ScramSha256) -> Result<Next, Failure> {
        let State::Finding(mut first) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(Failure::Malformed);
        };
        first.nonce.push_str(&self.nonce);
        let salt = BASE64_STANDARD.encode(credentials.salt());
        let server_first = format!("r={},s={salt},i={}", first.nonce, credentials.iterations());
        let message = server_first.clone().into_bytes();
        self.state = State::Challenged { first, server_first, credentials };
        Ok(Next::Challenge(message))
    }

    fn client_first(&self, message: &str) -> Result<(String, First), Failure> {
        let mut parts = message.splitn(3, ',');
        let mut part = || parts.next().ok_or(Failure::Malformed);
        let (flag, act_as, bare) = (part()?, part()?, part()?);
        let data = self.bound(flag)?;
        let mut binding_input = format!("{flag},{act_as},").into_bytes();
        binding_input.extend_from_slice(data);
        let mut attributes = bare.split(',');
        let mut attribute = || attributes.next().ok_or(Failure::Malformed);
        let name = attribute()?;
        if name.starts_with("m=") {
            return Err(Failure::Extension);
        }
        let name = name_of(name.strip_prefix("n=").ok_or(Failure::Malformed)?)?;
        let nonce = attribute()?.strip_prefix("r=").ok_or(Failure::Malformed)?;
        if nonce.is_empty() || nonce.len() > NONCE_LEN_MAX || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Malformed);
        }
        // `a=` without a name is against the grammar; GNU SASL sends it for none.
        if !matches!(act_as, "" | "a=") && name_of(act_as.strip_prefix("a=").ok_or(Failure::Malformed)?)? != name {
            return Err(Failure::Authorization);
        }
        Ok((name, First { binding_input, bare: bare.to_owned(), nonce: nonce.to_owned() }))
    }

    /// The binding data that the flag of the client's first message stands for (RFC 5802 §6).
    fn bound(&self, flag: &str) -> Result<&[u8], Failure> {
        match flag.split_once('=') {
            Some(("p", kind)) if self.plus => self.binding.data(kind).ok_or(Failure::ChannelBinding),
            // He would have bound, had he been told that we can: somebody took it from the list.
            None if flag == "y" && !self.plus => match self.binding.is_empty() {
                true => Ok(&[]),
                false => Err(Failure::ChannelBinding),
            },
            None if flag == "n" && !self.plus => Ok(&[]),
            _ => Err(Failure::ChannelBinding),
        }
    }
}

/// Checks the client's proof and makes ours.
fn client_final(
    message: &str,
    first: &First,
    server_first: &str,
    credentials: &ScramSha256,
) -> Result<[u8; 32], Failure> {
    let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Failure::Malformed)?;
    let mut attributes = without_proof.split(',');
    let mut attribute = || attributes.next().ok_or(Failure::Malformed);
    let binding = attribute()?.strip_prefix("c=").ok_or(Failure::Malformed)?;
    let nonce = attribute()?.strip_prefix("r=").ok_or(Failure::Malformed)?;
    let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| Failure::Malformed);
    if decoded(binding)? != first.binding_input {
        return Err(Failure::ChannelBinding);
    }
    if nonce != first.nonce {
        return Err(Failure::Malformed);
    }
    let proof: [u8; 32] = decoded(proof)?.try_into().map_err(|_| Failure::Malformed)?;
    let auth_message = format!("{},{server_first},{without_proof}", first.bare);
    if !credentials.accepts(&proof, auth_message.as_bytes()) {
        return Err(Failure::Proof);
    }
    Ok(credentials.server_signature(auth_message.as_bytes()))
}

fn text(message: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(message).map_err(|_| Failure::Malformed)
}

/// A `saslname`: `=2C` is a comma, `=3D` an equals sign; no other `=` may be there.
fn name_of(name: &str) -> Result<String, Failure> {
    let mut parts = name.split('=');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (byte, rest) = part.split_at_checked(2).ok_or(Failure::Malformed)?;
        decoded.push(match byte {
            "2C" => ',',
            "3D" => '=',
            _ => return Err(Failure::Malformed),
        });
        decoded.push_str(rest);
    }
    if decoded.is_empty() || decoded.contains('\0') {
        return Err(Failure::Malformed);
    }
    String::from_utf8(prepared(decoded.as_bytes()).into_owned()).map_err(|_| Failure::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scheme, ScramSha256, password::Password};

    /// The exchange of RFC 7677 §3: the user `user` with the password `pencil`.
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn credentials() -> ScramSha256 {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        ScramSha256::derive(b"pencil", salt, 4096.try_into().unwrap())
    }

    fn began(plus: bool, binding: &ChannelBinding, first: &[u8]) -> Result<Scram, Failure> {
        let mut scram = Scram::with_nonce(plus, binding.clone(), SERVER_NONCE.to_owned());
        scram.step(first).map(|_| scram)
    }

    #[test]
    fn the_exchange_of_the_rfc() {
        let mut scram = Scram::with_nonce(false, ChannelBinding::default(), SERVER_NONCE.to_owned());
        assert_eq!(scram.step(CLIENT_FIRST), Ok(Next::FindScram { name: "user".to_owned() }));
        assert_eq!(scram.challenge(credentials()), Ok(Next::Challenge(SERVER_FIRST.as_bytes().to_vec())));
        assert_eq!(scram.step(CLIENT_FINAL.as_bytes()), Ok(Next::Challenge(SERVER_FINAL.as_bytes().to_vec())));
        assert_eq!(scram.step(b""), Ok(Next::Proven));
        assert_eq!(scram.step(b""), Err(Failure::Malformed), "it is over");
    }

    #[test]
    fn nothing_but_the_right_proof_counts() {
        let answer = |message: &str, credentials: ScramSha256| {
            let mut scram = began(false, &ChannelBinding::default(), CLIENT_FIRST).unwrap();
            scram.challenge(credentials).unwrap();
            let answer = scram.step(message.as_bytes());
            assert_eq!(scram.step(b""), Err(Failure::Malformed), "a second try is none");
            answer
        };
        let decoy = ScramSha256::decoy(b"secret", "user", 4096);
        assert_eq!(answer(CLIENT_FINAL, decoy), Err(Failure::Proof));
        let changed = |from: &str, to: &str| answer(&CLIENT_FINAL.replace(from, to), credentials());
        assert_eq!(changed("dHzb", "eHzb"), Err(Failure::Proof));
        assert_eq!(changed("c=biws", "c=eSws"), Err(Failure::ChannelBinding));
        assert_eq!(changed("r=rOpr", "r=rOps"), Err(Failure::Malformed));
        assert_eq!(changed(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ""), Err(Failure::Malformed));
        assert_eq!(changed("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "dHzb"), Err(Failure::Malformed));
        assert_eq!(changed("hNlF$k0", "hNlF$k0,x=y"), Err(Failure::Proof), "extensions are part of what is signed");
    }

    #[test]
    fn channel_bindings() {
        let none = ChannelBinding::default();
        let some = ChannelBinding { exporter: Some([7; 32]), server_end_point: Some(vec![1, 2, 3]) };
        let begin = |plus, binding: &ChannelBinding, flag: &str| {
            let first = format!("{flag},,n=user,r=rOprNGfwEbeRWgbNEkqO");
            began(plus, binding, first.as_bytes()).map(|_| ())
        };
        assert_eq!(begin(false, &none, "n"), Ok(()));
        assert_eq!(begin(false, &some, "n"), Ok(()));
        assert_eq!(begin(false, &none, "y"), Ok(()));
        assert_eq!(begin(false, &some, "y"), Err(Failure::ChannelBinding), "somebody hid that we can bind");
        assert_eq!(begin(true, &some, "p=tls-exporter"), Ok(()));
        assert_eq!(begin(true, &some, "p=tls-server-end-point"), Ok(()));
        assert_eq!(begin(true, &some, "p=tls-unique"), Err(Failure::ChannelBinding));
        assert_eq!(begin(true, &none, "p=tls-exporter"), Err(Failure::ChannelBinding));
        assert_eq!(begin(true, &some, "n"), Err(Failure::ChannelBinding));
        assert_eq!(begin(false, &some, "p=tls-exporter"), Err(Failure::ChannelBinding));

        // What is bound is checked, not only named.
        let mut scram = began(true, &some, b"p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        scram.challenge(credentials()).unwrap();
        let mut other = b"p=tls-exporter,,".to_vec();
        other.extend([8; 32]);
        let message = CLIENT_FINAL.replace("biws", &BASE64_STANDARD.encode(other));
        assert_eq!(scram.step(message.as_bytes()), Err(Failure::ChannelBinding));
    }

    #[test]
    fn first_messages() {
        let name = |message: &str| {
            let mut scram = Scram::with_nonce(false, ChannelBinding::default(), SERVER_NONCE.to_owned());
            match scram.step(message.as_bytes())? {
                Next::FindScram { name } => Ok(name),
                next => panic!("{next:?}"),
            }
        };
        assert_eq!(name("n,,n=a=2Cb=3Dc,r=x,ext=1"), Ok("a,b=c".to_owned()));
        assert_eq!(name("n,a=ann,n=ann,r=x"), Ok("ann".to_owned()));
        assert_eq!(name("n,a=,n=ann,r=x"), Ok("ann".to_owned()));
        assert_eq!(name("n,a=bob,n=ann,r=x"), Err(Failure::Authorization));
        assert_eq!(name("n,,m=1,n=ann,r=x"), Err(Failure::Extension));
        for message in
            ["", "n", "n,,", "n,,n=ann", "n,,n=,r=x", "n,,n=a=2c,r=x", "n,,n=a=,r=x", "n,,r=x,n=ann", "n,,n=ann,r="]
        {
            assert_eq!(name(message), Err(Failure::Malformed), "{message}");
        }
        let mut scram = Scram::with_nonce(false, ChannelBinding::default(), SERVER_NONCE.to_owned());
        assert_eq!(scram.step(b"n,,n=\xff,r=x"), Err(Failure::Malformed));
    }

    /// RFC 5802 §5.1: names and passwords are prepared, so that two spellings of one text are one.
    #[test]
    fn texts_are_prepared() {
        let stored = Password::hash(Scheme::ScramSha256, "I\u{ad}X\u{2168}".as_bytes()).unwrap();
        assert!(stored.matches(b"IXIX"));
        assert_eq!(name_of("\u{aa}nn").unwrap(), "ann");
    }

    /// A password that is stored as it is serves too, and names that nobody has look like the others.
    #[test]
    fn salts_do_not_tell_who_is_there() {
        let plain = ScramSha256::of_plain(b"pencil", b"secret", "user");
        let decoy = ScramSha256::decoy(b"secret", "nobody", ScramSha256::ITERATIONS_DEFAULT);
        assert_eq!((plain.salt().len(), plain.iterations()), (decoy.salt().len(), decoy.iterations()));
        assert_eq!(decoy, ScramSha256::decoy(b"secret", "nobody", ScramSha256::ITERATIONS_DEFAULT));
        assert_ne!(decoy.salt(), ScramSha256::decoy(b"secret", "nobodi", 4096).salt());
        assert_ne!(decoy.salt(), ScramSha256::decoy(b"Secret", "nobody", 4096).salt());
        assert!(plain.matches(b"pencil") && !decoy.matches(b"pencil"));
    }
}
