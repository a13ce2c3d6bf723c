//! Messages on which FETCH and SEARCH have something to say: the random ones of [`crate::messages`], and some by hand
//! with nested, encoded and odd parts.

use fastrand::Rng;

use crate::messages::message;

/// `random` random messages, and those by hand between them.
pub(super) fn all(rng: &mut Rng, random: u64) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..random).map(|number| message(rng, number)).collect();
    let mut by_hand = BY_HAND.iter().map(|text| text.replace('\n', "\r\n").into_bytes()).collect::<Vec<_>>();
    by_hand.push(b"Subject: bytes\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xfc\xdfe\r\n".to_vec());
    by_hand.push(b"\r\nno header at all\r\n".to_vec());
    by_hand.push(b"only a line without end".to_vec());
    all.append(&mut by_hand);
    rng.shuffle(&mut all);
    all
}

const BY_HAND: [&str; 10] = [
    // Multipart in a message in a multipart.
    "From: a@x\nTo: b@y\nSubject: outer\nTo: second@y\nX-Odd: 1\nx-odd: 2\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"AA\"\n\npreamble\n--AA\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZSBhdXMgS8O2bG4K\n--AA\nContent-Type: message/rfc822\nContent-Description: the inner\n\nFrom: in@x\nCc: cc@x\nSubject: inner subject\nReceived: one\nReceived: two\nTo: in-to@x\nContent-Type: multipart/alternative; boundary=BB\n\n--BB\nContent-Type: text/plain\n\ninner plain\n--BB\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<p>gr=FC=DFe <b>bold</b></p>\n--BB--\nepilogue of BB\n--AA\nContent-Type: application/pdf; name=x.pdf\nContent-Disposition: attachment; filename=\"x.pdf\"; size=12\nContent-MD5: abc\nContent-Location: http://x/y\nContent-Language: en\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n--AA--\nepilogue\n",
    // A message that is a message that is a message.
    "From: a@x\nSubject: matryoshka\nContent-Type: message/rfc822\n\nSubject: second\nContent-Type: message/rfc822\n\nSubject: third\nTo: third@x\n\nthe body of the third\n",
    // Plain text, fields in odd order and many times.
    "Received: by one\nReceived: by two\n by folding\nTo: one@x\nSubject: fields\nReceived: by three\nSUBJECT: again\nDate: Mon, 1 Feb 2021 23:59:59 -0800\nTo: two@x\nFrom: me@x\nX-Empty:\nX-Spaces:   lead and trail  \nX-8bit: gr\u{fc}\u{df}e\nMessage-Id: <fields@x>\nBcc: hidden@x\n\nbody of fields\n",
    // Encoded words over folds.
    "From: =?utf-8?q?J=C3=BCrgen?= <j@x>\nTo: =?UTF-8?B?S8O2bG4=?=\n =?UTF-8?B?ZXI=?= <k@x>\nSubject: =?iso-8859-1?q?Stra=DFe?= und =?utf-8?b?w5ZsIA==?= =?utf-8?q?=C3=9Cber?=\nDate: 31 Dec 2020 23:30 +0000\n\nsome Text of a BODY\n",
    // Quoted-printable with soft breaks.
    "Subject: qp\nFrom: q@x\nDate: Sun, 28 Feb 2021 00:00:01 +1400\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nThis is a lo=\nng line with Gr=C3=BC=\n=C3=9Fe and tr=61nsparent words.=20\n",
    // A multipart without parts, and one that is never closed.
    "Subject: empty multipart\nContent-Type: multipart/mixed; boundary=none\n\nno boundary ever comes\n",
    "Subject: unclosed\nContent-Type: multipart/mixed; boundary=\"out\"\n\n--out\nContent-Type: multipart/related; boundary=\"in\"\n\n--in\n\nfirst\n--in\nContent-Type: text/html\n\n<i>second</i>\n--out\nContent-Type: text/plain\n\nthird\n",
    // Addresses that are none.
    "From: \nTo: undisclosed-recipients:;\nCc: <>, broken@, @route:a@b, \"q\\\"uoted\" <a@b>\nSubject: addresses\nSender: one@x\nReply-To: (comment) two@x\nIn-Reply-To: <x@y>\nDate: not a date\n\nx\n",
    // Digest: parts are messages unless they say otherwise.
    "Subject: digest\nContent-Type: multipart/digest; boundary=dd\n\n--dd\n\nSubject: first in digest\n\none\n--dd\nContent-Type: text/plain\n\ntwo\n--dd--\n",
    // HTML.
    "Subject: html\nFrom: h@x\nContent-Type: text/html; charset=utf-8\n\n<html><head><title>hidden title</title><style>p { color: red }</style></head><body><p>Visible&nbsp;words &amp; more</p></body></html>\n",
];
