//! Messages made up from a seed, of every kind that trips mail programs.

use fastrand::Rng;

/// A message with CRLF line ends. `number` goes into its Message-ID, so that no two are alike.
pub fn message(rng: &mut Rng, number: u64) -> Vec<u8> {
    let mut head = format!("Message-ID: <{number}.{}@test.example>\r\n", rng.u32(..));
    if rng.u8(..10) > 0 {
        head += &format!(
            "Date: {:02} Mar 20{:02} 1{}:30:0{} +0{}00\r\n",
            rng.u8(1..29),
            rng.u8(0..27),
            rng.u8(0..10),
            rng.u8(0..10),
            rng.u8(0..10)
        );
    }
    head += &format!("Subject: {}\r\n", subject(rng, number));
    head += &format!("From: {}\r\n", address(rng));
    for field in ["To", "Cc", "Bcc", "Reply-To", "Sender"] {
        if field == "To" || rng.u8(..4) == 0 {
            head += &format!("{field}: {}\r\n", address(rng));
        }
    }
    if rng.u8(..3) == 0 {
        head += &format!("In-Reply-To: <{}@test.example>\r\nReferences: <a@b>\r\n\t<c@d>\r\n", rng.u32(..));
    }
    let mut message = head.into_bytes();
    match rng.u8(..8) {
        0..3 => message.extend_from_slice(b"\r\n"),
        3 => message.extend_from_slice(b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"),
        4..7 => return multipart(rng, message),
        _ => {
            message.extend_from_slice(b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\nFrom: <in@side.example>\r\n\r\n");
        }
    }
    message.extend(body(rng));
    message
}

/// Kinds of [`varied`] messages; the number decides, so that any run of so many has all of them.
const KINDS: u64 = 16;

/// A message of a kind that transport trips over: no header, no body, bytes of every value but NUL, dots at the beginning
/// of lines, lines and headers beyond all limits of the standards. CRLF line ends. No header that a server adds comes first.
pub fn varied(rng: &mut Rng, number: u64) -> Vec<u8> {
    let head = format!("X-Number: {number}.{}\r\nSubject: varied {number}\r\n", rng.u32(..));
    let mut message = head.into_bytes();
    match number % KINDS {
        0 => message.extend_from_slice(b"\r\n"),
        1 => message = format!("\r\nno header but a body, {number}\r\n").into_bytes(),
        2 => {
            message.extend_from_slice("X-Eight-Bit: Grüße, żółć, \u{1F4E8}\r\n\r\nÜber den Wolken\r\n".as_bytes());
            message.extend_from_slice(b"latin1: \xe4\xf6\xfc\xff\r\n");
        }
        3 => {
            message.extend_from_slice(b"\r\n");
            binary_lines(rng, 50, &mut message);
        }
        4 => {
            message.extend_from_slice(b"\r\n");
            for line in [".", "..", "...", ".\t", ". dot and space", ".quit", ".", "text.", ""] {
                message.extend_from_slice(line.as_bytes());
                message.extend_from_slice(b"\r\n");
            }
        }
        5 => {
            message.extend_from_slice(b"\r\n");
            for len in [997, 998, 999, 1000, 2047, 2048, 2049, 4096, 65_536, 100_000] {
                message.extend(std::iter::repeat_n(b'a' + rng.u8(..26), len));
                message.extend_from_slice(b"\r\n.");
            }
            message.extend_from_slice(b"\r\n");
        }
        6 => {
            for field in 0..rng.u32(100..1000) {
                let value = "v".repeat(rng.usize(..60));
                message.extend_from_slice(format!("X-Field-{field}: {value}\r\n\t{value} folded\r\n").as_bytes());
            }
            message.extend_from_slice(b"Received: from nowhere\r\nReturn-Path: <a@b>\r\n\r\nbody\r\n");
        }
        7 => {
            let lines = ["From the beginning", ">From quoted", "From ", "", " leading", "trailing \t ", "\t"];
            message.extend_from_slice(b"\r\n");
            lines.iter().for_each(|line| message.extend_from_slice(format!("{line}\r\n").as_bytes()));
        }
        8 => {
            let value = "w".repeat(rng.usize(2000..30_000));
            message.extend_from_slice(format!("X-Long: {value}\r\nBcc: <kept@test.example>\r\n\r\n").as_bytes());
        }
        9 => {
            message.extend_from_slice(b"\r\n");
            let lines = rng.usize(1000..4000);
            binary_lines(rng, lines, &mut message);
        }
        _ => return self::message(rng, number),
    }
    message
}

/// A message of `len` bytes and a few more.
pub fn large(rng: &mut Rng, number: u64, len: usize) -> Vec<u8> {
    let mut message = format!("X-Number: {number}\r\nSubject: large\r\n\r\n").into_bytes();
    message.reserve(len);
    while message.len() < len {
        message.extend_from_slice(format!("{:016x}", rng.u64(..)).repeat(rng.usize(..5)).as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message
}

fn binary_lines(rng: &mut Rng, lines: usize, message: &mut Vec<u8>) {
    for _ in 0..lines {
        let bytes = std::iter::repeat_with(|| rng.u8(1..)).take(80).filter(|b| !b"\r\n".contains(b));
        message.extend(bytes.collect::<Vec<_>>());
        message.extend_from_slice(b"\r\n");
    }
}

fn subject(rng: &mut Rng, number: u64) -> String {
    match rng.u8(..5) {
        0 => "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?B?S8O2bG4=?=".to_owned(),
        1 => format!("a subject so long\r\n that it is folded {number}\r\n\tand folded again"),
        2 => "\"quoted\" \\ and (parenthesised)".to_owned(),
        3 => String::new(),
        _ => format!("message {number}"),
    }
}

fn address(rng: &mut Rng) -> String {
    let one = |rng: &mut Rng| match rng.u8(..6) {
        0 => "plain@example.org".to_owned(),
        1 => "\"Last, First\" <quoted.name@example.com>".to_owned(),
        2 => "=?iso-8859-1?Q?J=FCrgen?= <juergen@example.de>".to_owned(),
        3 => "Friends: one@example.org, Two <two@example.org>;".to_owned(),
        4 => "old@example.org (Old Style)".to_owned(),
        _ => format!("User {0} <user{0}@example.net>", rng.u8(..)),
    };
    let mut list = one(rng);
    for _ in 0..rng.u8(..3) {
        list += ",\r\n ";
        list += &one(rng);
    }
    list
}

fn body(rng: &mut Rng) -> Vec<u8> {
    let lines = if rng.u8(..10) == 0 { rng.usize(..2000) } else { rng.usize(..30) };
    let mut body = Vec::new();
    for line in 0..lines {
        match rng.u8(..12) {
            0 => body.extend_from_slice(b"From the beginning of a line"),
            1 => body.extend_from_slice(b".a dot"),
            2 => body.extend(std::iter::repeat_n(b'x', rng.usize(..400))),
            3 => body.extend_from_slice("Grüße aus Köln".as_bytes()),
            4 => {}
            _ => body.extend_from_slice(format!("line {line} of a body, {}", rng.u64(..)).as_bytes()),
        }
        body.extend_from_slice(b"\r\n");
    }
    body
}

fn multipart(rng: &mut Rng, mut message: Vec<u8>) -> Vec<u8> {
    let boundary = format!("=_{:x}", rng.u64(..));
    message.extend_from_slice(
        format!("MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"{boundary}\"\r\n\r\npreamble\r\n")
            .as_bytes(),
    );
    for part in 0..rng.u8(1..5) {
        message.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        match rng.u8(..4) {
            0 => {}
            1 => message.extend_from_slice(
                format!("Content-Type: application/octet-stream; name*=utf-8''f%C3%BC{part}.bin\r\nContent-Disposition: attachment; filename=\"f{part}.bin\"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <{part}@x>\r\n").as_bytes(),
            ),
            2 => message.extend_from_slice(b"Content-Type: text/plain; charset=utf-8; format=flowed\r\nContent-Description: a text\r\nContent-Language: de, en\r\n"),
            _ => message.extend_from_slice(b"Content-Type: message/rfc822\r\n\r\nSubject: forwarded\r\nFrom: a@b\r\n"),
        }
        message.extend_from_slice(b"\r\n");
        message.extend(body(rng));
    }
    if rng.u8(..8) > 0 {
        message.extend_from_slice(format!("\r\n--{boundary}--\r\nepilogue\r\n").as_bytes());
    }
    message
}
