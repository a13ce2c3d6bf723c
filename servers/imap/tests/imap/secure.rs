//! STARTTLS, AUTHENTICATE and COMPRESS, with zlib at the other end and, where it is there, Python with its own TLS.

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
};

use culver_runtime::{
    Client as Peer, Limits, Logins, PasswordFile, PoolOptions, StoragePool, Tls, TlsOptions, self_made_certificate,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use mailstore::memory::MemoryOptions;
use mailtypes::Flags;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use crate::common::{Client, Host, PATIENCE};

/// A host with a certificate and `ann` in a file of users.
fn secure_host() -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "ann:{PLAIN}secret\n").unwrap();
    let users = PasswordFile::new(users);
    users.names().unwrap();
    let mut host = Host::new();
    let passwords = StoragePool::new(PoolOptions::passwords());
    host.ctx.logins = Logins::new(Arc::new(users), passwords, &host.ctx.limits);
    host.ctx.client = Peer::default();
    let certificates = vec![self_made_certificate(folder.path(), "mail.example.org").unwrap()];
    host.ctx.starttls = Some(Tls::new(&TlsOptions { certificates, ..TlsOptions::default() }).unwrap());
    (folder, host)
}

#[tokio::test]
async fn starttls_comes_before_passwords() {
    let (_folder, host) = secure_host();
    let mut client = host.connect().await;
    let capabilities = client.ok("CAPABILITY").await;
    assert!(capabilities.contains(" STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256\r\n"), "{capabilities}");
    assert!(client.command("LOGIN ann secret").await.starts_with("tag NO [PRIVACYREQUIRED]"));
    assert!(client.command("AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=").await.starts_with("tag NO [PRIVACYREQUIRED]"));
    assert_eq!(client.command("STARTTLS").await, "tag OK Begin TLS negotiation now.\r\n");
    client.send("a LOGIN ann secret\r\n").await;
    client.session.await.unwrap();

    let mut host = host;
    host.ctx.starttls = None;
    let mut client = host.connect().await;
    assert!(!client.ok("CAPABILITY").await.contains("STARTTLS"));
    assert!(client.command("STARTTLS").await.starts_with("tag BAD "));
}

/// CVE-2011-0411: what somebody put behind the command must not be taken for what the client says over TLS.
#[tokio::test]
async fn nothing_may_follow_starttls_in_the_clear() {
    let (_folder, host) = secure_host();
    for behind in ["b NOOP\r\n", "b LOG", "\r\n"] {
        let mut client = host.connect().await;
        client.send(format!("a STARTTLS\r\n{behind}")).await;
        let rest = client.rest().await;
        assert!(rest.starts_with("* BYE ") && rest.lines().count() == 1, "{rest}");
        client.session.await.unwrap();
    }
}

/// A client that speaks compressed.
struct Compressed {
    client: Client,
    deflate: Compress,
    inflate: Decompress,
}

impl Compressed {
    async fn new(host: &Host) -> Self {
        let mut client = host.select().await;
        assert!(client.ok("CAPABILITY").await.contains(" COMPRESS=DEFLATE"));
        assert_eq!(client.ok("COMPRESS DEFLATE").await, "tag OK DEFLATE active.\r\n");
        Self { client, deflate: Compress::new(Compression::new(6), false), inflate: Decompress::new(false) }
    }

    fn deflated(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() + 1024);
        self.deflate.compress_vec(text, &mut bytes, FlushCompress::Sync).unwrap();
        bytes
    }

    async fn send(&mut self, text: &[u8]) {
        let bytes = self.deflated(text);
        self.client.send(bytes).await;
    }

    /// What comes up to this text, or to the end of the stream.
    async fn read_to(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(end) {
            let mut bytes = vec![0; 4096];
            let len = timeout(PATIENCE, self.client.stream.read(&mut bytes)).await.unwrap().unwrap();
            let mut rest = &bytes[..len];
            while !rest.is_empty() {
                text.reserve(64 * 1024);
                let before = self.inflate.total_in();
                self.inflate.decompress_vec(rest, &mut text, FlushDecompress::None).unwrap();
                rest = &rest[(self.inflate.total_in() - before) as usize..];
            }
            if len == 0 {
                break;
            }
        }
        String::from_utf8(text).unwrap()
    }
}

#[tokio::test]
async fn compress_both_ways() {
    let host = Host::new();
    let mut stranger = host.connect().await;
    assert!(stranger.command("COMPRESS DEFLATE").await.starts_with("tag BAD "));
    let mut client = host.select().await;
    assert!(client.command("COMPRESS LZW").await.starts_with("tag BAD "));

    let mut client = Compressed::new(&host).await;
    client.send(b"a NOOP\r\n").await;
    assert_eq!(client.read_to("a OK").await, "a OK NOOP completed.\r\n");
    client.send(b"b COMPRESS DEFLATE\r\n").await;
    assert!(client.read_to("\r\n").await.starts_with("b NO [COMPRESSIONACTIVE] "));
    client.send(b"c STARTTLS\r\n").await;
    assert!(client.read_to("\r\n").await.starts_with("c BAD "));

    // Longer than every buffer on the way, there and back.
    let body = (0..40_000).map(|n| format!("line {n}\r\n")).collect::<String>();
    let message = format!("Subject: long\r\n\r\n{body}");
    let append = format!("d APPEND INBOX {{{}+}}\r\n{message}\r\ne FETCH 1 BODY.PEEK[]\r\n", message.len());
    client.send(append.as_bytes()).await;
    let answer = client.read_to("e OK").await;
    assert!(answer.contains(&message), "{} bytes", answer.len());

    // A silence long enough for the compressor to be given back.
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    client.send(b"f FETCH 1 RFC822.SIZE\r\n").await;
    let size = format!("RFC822.SIZE {})", message.len());
    assert!(client.read_to("f OK").await.contains(&size));
    client.send(b"g LOGOUT\r\n").await;
    assert!(client.read_to("g OK").await.ends_with("* BYE Logging out\r\ng OK Logout completed.\r\n"));
    client.client.session.await.unwrap();
}

/// What comes in one packet with the command is compressed.
#[tokio::test]
async fn what_follows_compress_is_compressed() {
    let host = Host::new();
    let mut compressed = Compressed {
        client: host.select().await,
        deflate: Compress::new(Compression::new(6), false),
        inflate: Decompress::new(false),
    };
    let noop = compressed.deflated(b"b NOOP\r\n");
    compressed.client.send([b"a COMPRESS DEFLATE\r\n", &noop[..]].concat()).await;
    // No further than its end: what follows is compressed.
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(timeout(PATIENCE, compressed.client.stream.read_u8()).await.unwrap().unwrap());
    }
    assert_eq!(line, b"a OK DEFLATE active.\r\n");
    assert_eq!(compressed.read_to("b OK").await, "b OK NOOP completed.\r\n");
}

#[tokio::test]
async fn bombs_and_rubbish_end_the_session_only() {
    let limits = Limits { line_len_max: 32 * 1024, ..Limits::default() };
    let host = Host::with(limits, MemoryOptions::default());
    host.put("INBOX", b"Subject: x\r\n\r\nx\r\n", Flags::default());
    // A line of 100 MB, in 100 KB.
    let mut bomber = Compressed::new(&host).await;
    let bomb = bomber.deflated(&vec![b'x'; 100 << 20]);
    assert!(bomb.len() < 200_000);
    let sent = bomber.client.stream.write_all(&bomb).await;
    drop(sent);
    timeout(PATIENCE, bomber.client.session).await.expect("the line is too long").unwrap();

    let mut rubbish = Compressed::new(&host).await;
    rubbish.client.send([0xff; 100]).await;
    timeout(PATIENCE, rubbish.client.session).await.expect("it is no DEFLATE").unwrap();

    // A client that ends its stream is gone; what it said before still counts.
    let mut ended = Compressed::new(&host).await;
    let mut bytes = Vec::with_capacity(1024);
    ended.deflate.compress_vec(b"a NOOP\r\n", &mut bytes, FlushCompress::Finish).unwrap();
    ended.client.send(bytes).await;
    assert_eq!(ended.read_to("a OK").await, "a OK NOOP completed.\r\n");
    timeout(PATIENCE, ended.client.session).await.expect("nothing can follow").unwrap();

    let mut client = Compressed::new(&host).await;
    client.send(b"a NOOP\r\n").await;
    assert_eq!(client.read_to("a OK").await, "a OK NOOP completed.\r\n");
}

/// An implementation of everything by others: TLS, SCRAM with and without channel binding, DEFLATE.
const PYTHON: &str = r#"
import base64, hashlib, hmac, imaplib, os, ssl, sys, zlib
plain, secure, certificate = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=certificate)

def scram(imap, password, gs2, bound):
    def h(key, text): return hmac.new(key, text, 'sha256').digest()
    nonce = base64.b64encode(os.urandom(12)).decode()
    bare = 'n=ann,r=' + nonce
    state = {}
    def answer(challenge):
        if 'first' not in state:
            state['first'] = True
            return (gs2 + bare).encode()
        if 'signature' in state:
            assert challenge == b'v=' + base64.b64encode(state['signature']), challenge
            return b''
        r, s, i = (part.partition('=')[2] for part in challenge.decode().split(','))
        assert r.startswith(nonce)
        salted = hashlib.pbkdf2_hmac('sha256', password, base64.b64decode(s), int(i))
        final = 'c=' + base64.b64encode(gs2.encode() + bound).decode() + ',r=' + r
        signed = ','.join([bare, challenge.decode(), final]).encode()
        key = h(salted, b'Client Key')
        proof = bytes(a ^ b for a, b in zip(key, h(hashlib.sha256(key).digest(), signed)))
        state['signature'] = h(h(salted, b'Server Key'), signed)
        return (final + ',p=' + base64.b64encode(proof).decode()).encode()
    imap.authenticate('SCRAM-SHA-256-PLUS' if bound else 'SCRAM-SHA-256', answer)

def end_point(imap):
    return hashlib.sha256(imap.sock.getpeercert(binary_form=True)).digest()

# STARTTLS, then SCRAM bound to the certificate.
imap = imaplib.IMAP4('localhost', plain)
assert 'STARTTLS' in imap.capabilities and 'LOGINDISABLED' in imap.capabilities, imap.capabilities
imap.starttls(context)
assert 'STARTTLS' not in imap.capabilities and 'LOGINDISABLED' not in imap.capabilities, imap.capabilities
assert 'AUTH=SCRAM-SHA-256-PLUS' in imap.capabilities and 'AUTH=LOGIN' in imap.capabilities, imap.capabilities
scram(imap, b'secret', 'p=tls-server-end-point,,', end_point(imap))
print(imap.select('INBOX'), imap.logout()[0])

# A password that is wrong, then one that is right, then DEFLATE.
imap = imaplib.IMAP4_SSL('localhost', secure, ssl_context=context)
for wrong in [lambda: scram(imap, b'wrong', 'n,,', b''), lambda: scram(imap, b'secret', 'p=tls-server-end-point,,', bytes(32)),
              lambda: imap.login('ann', 'wrong')]:
    try: wrong()
    except imaplib.IMAP4.error as error: assert 'Authentication failed' in str(error), error
    else: raise SystemExit('let in')
imap.login('ann', 'secret')
imap.select('INBOX')
imap.send(b'z COMPRESS DEFLATE\r\n')
assert imap.readline() == b'z OK DEFLATE active.\r\n'
deflate, inflate = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
class File:
    def __init__(self): self.buffer = b''
    def more(self):
        data = imap.sock.recv(4096)
        assert data
        self.buffer += inflate.decompress(data)
    def read(self, size):
        while len(self.buffer) < size: self.more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data
    def readline(self, limit=-1):
        while b'\n' not in self.buffer: self.more()
        return self.read(self.buffer.index(b'\n') + 1)
    def close(self): pass
imap._file = imap.file = File()
imap.read, imap.readline = imap._file.read, imap._file.readline
imap.send = lambda data: imap.sock.sendall(deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))
message = b'Subject: compressed\r\n\r\n' + b''.join(b'line %d\r\n' % n for n in range(20000))
assert imap.append('INBOX', None, None, message)[0] == 'OK'
imap.noop()
status, data = imap.fetch('1', '(BODY.PEEK[])')
assert data[0][1] == message, len(data[0][1])
print(status, imap.logout()[0])

# PLAIN with its initial response, over TLS.
imap = imaplib.IMAP4_SSL('localhost', secure, ssl_context=context)
imap.authenticate('PLAIN', lambda _: b'\0ann\0secret')
print(imap.noop()[0], imap.logout()[0])
print('all done')
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_tls() {
    let (folder, host) = secure_host();
    let (plain, secure) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let ports = [&plain, &secure].map(|listener| listener.local_addr().unwrap().port().to_string());
    let ctx = host.ctx.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = plain.accept().await {
            tokio::spawn(culver_imap::serve(stream, ctx.clone()));
        }
    });
    let ctx = host.ctx.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = secure.accept().await {
            let mut ctx = ctx.clone();
            let (stream, info) = ctx.starttls.clone().unwrap().accept(stream.into()).await.unwrap();
            ctx.client.tls = Some(info);
            tokio::spawn(culver_imap::serve(stream, ctx));
        }
    });
    let certificate = folder.path().join("self-made-certificate.pem");
    let ran = tokio::task::spawn_blocking(move || {
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON]).args(&ports).arg(certificate).stdin(Stdio::null());
        python.output()
    });
    match ran.await.unwrap() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        output => {
            let output = output.unwrap();
            let [out, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            assert!(output.status.success() && out.ends_with("all done\n"), "{out}{errors}");
        }
    }
}
