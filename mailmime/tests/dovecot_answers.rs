//! Small messages with what Dovecot 2.3.19 answers for them, in a fresh mailbox without cache.

use mailmime::{Envelope, Limits, Scanner, Structure};

struct Answer {
    name: &'static str,
    message: &'static [u8],
    size: u64,
    envelope: &'static [u8],
    body: &'static [u8],
    bodystructure: &'static [u8],
}

fn printed(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    out.escape_ascii().to_string()
}

fn check(structure: &Structure, answer: &Answer) {
    let name = answer.name;
    assert_eq!(structure.virtual_len(), answer.size, "{name}");
    assert_eq!(printed(|out| structure.write_envelope(out)), answer.envelope.escape_ascii().to_string(), "{name}");
    assert_eq!(printed(|out| structure.write_body(out)), answer.body.escape_ascii().to_string(), "{name}");
    let expected = answer.bodystructure.escape_ascii().to_string();
    assert_eq!(printed(|out| structure.write_bodystructure(out)), expected, "{name}");
    assert_eq!(format!("({})", printed(|out| structure.write_bodystructure_inner(out))), expected, "{name}");
}

#[test]
fn the_answers_are_dovecots() {
    for answer in ANSWERS {
        check(&Structure::of(answer.message), answer);
        let mut scanner = Scanner::new(Limits::default());
        answer.message.chunks(1).for_each(|byte| scanner.write(byte));
        check(&scanner.finish(), answer);
        let envelope = printed(|out| Envelope::from_header(answer.message).write(out));
        assert_eq!(envelope, answer.envelope.escape_ascii().to_string(), "{}", answer.name);
    }
}

#[rustfmt::skip]
const ANSWERS: &[Answer] = &[
    Answer {
        name: "nothing but a line end",
        message: b"\n",
        size: 2,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "a header without its empty line",
        message: b"From: Ann <ann@example.org>\nSubject: cut off",
        size: 45,
        envelope: b"(NIL \"cut off\" ((\"Ann\" NIL \"ann\" \"example.org\")) ((\"Ann\" NIL \"ann\" \"example.org\")) ((\"Ann\" NIL \"ann\" \"example.org\")) NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "raw 8-bit and NUL in headers",
        message: b"Subject: gr\xfc\xdfe\x00x\nFrom: \"J\xf6rg\" <j@example.org>\nTo: n\x00l@example.org, \"q\x00\" <q@example.org>\n\nnul \x00 body\n",
        size: 105,
        envelope: b"(NIL {9}\r\ngr\xfc\xdfe\xef\xbf\xbdx (({4}\r\nJ\xf6rg NIL \"j\" \"example.org\")) (({4}\r\nJ\xf6rg NIL \"j\" \"example.org\")) (({4}\r\nJ\xf6rg NIL \"j\" \"example.org\")) ((NIL NIL \"n\" \"MISSING_DOMAIN\")) NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 12 1)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 12 1 NIL NIL NIL NIL)",
    },
    Answer {
        name: "CR LF and LF mixed",
        message: b"Subject: a\r\n b\n c\r\nDate:\r\n Mon, 1 Jan 2024\n 10:00:00 +0000\nMessage-ID: <x\n@y>\r\n\r\none\r\ntwo\nthree",
        size: 100,
        envelope: b"(\" Mon, 1 Jan 2024 10:00:00 +0000\" {5}\r\na b c NIL NIL NIL NIL NIL NIL NIL \"<x\")",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 15 2)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 15 2 NIL NIL NIL NIL)",
    },
    Answer {
        name: "white space for humans",
        message: b"Subject:   two  words\tand tab \nFrom: \"A  \\\"B\\\"\" <a@b>\nIn-Reply-To: \"a\\b\" \"\"\"\"\" x\n\n",
        size: 86,
        envelope: b"(NIL {17}\r\ntwo words and tab (({5}\r\nA \"B\" NIL \"a\" \"b\")) (({5}\r\nA \"B\" NIL \"a\" \"b\")) (({5}\r\nA \"B\" NIL \"a\" \"b\")) NIL NIL NIL {13}\r\n\"a\\b\" \"\"\"\"\" x NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "broken addresses",
        message: b"From: ann\nSender: two words\nReply-To: <a@b\nTo: @b, a@, <>, a@b c, <@r,@s:a@b>, <@r a@b>\nCc: (only a comment)\nBcc: \"unclosed, a@b\n\n",
        size: 137,
        envelope: b"(NIL NIL ((NIL NIL \"ann\" \"MISSING_DOMAIN\")) ((\"two words\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")) ((NIL NIL \"a\" \"SYNTAX_ERROR\")) ((NIL NIL \"MISSING_MAILBOX\" \"b\")(NIL NIL \"a\" \"MISSING_DOMAIN\")(NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")(NIL NIL \"a\" \"b\")) NIL ((NIL NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")) NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "groups",
        message: b"From: g: a@b, \"C D\" <c@d>;\nTo: undisclosed-recipients:;\nCc: x: y@z, broken\nBcc: a: b: c@d;, e@f\n\n",
        size: 102,
        envelope: b"(NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(\"C D\" NIL \"c\" \"d\")(NIL NIL NIL NIL)) ((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(\"C D\" NIL \"c\" \"d\")(NIL NIL NIL NIL)) ((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(\"C D\" NIL \"c\" \"d\")(NIL NIL NIL NIL)) ((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) ((NIL NIL \"x\" NIL)(NIL NIL \"y\" \"z\")(NIL NIL \"broken\" \"MISSING_DOMAIN\")(NIL NIL NIL NIL)) ((NIL NIL \"a\" NIL)(NIL NIL \"b\" \"MISSING_DOMAIN\")(NIL NIL NIL NIL)) NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "comments in addresses",
        message: b"From: a@b (Ann (the) first\\))\nTo: (c) a (d) . b (e) @ (f) c . d (g)\nCc: a@[1.2.3\\]4], a..b@c, .a.@b\n\n",
        size: 105,
        envelope: b"(NIL NIL ((\"Ann (the) first)\" NIL \"a\" \"b\")) ((\"Ann (the) first)\" NIL \"a\" \"b\")) ((\"Ann (the) first)\" NIL \"a\" \"b\")) ((\"d\" NIL \"MISSING_MAILBOX\" \"MISSING_DOMAIN\")) ((NIL NIL \"a\" \"[1.2.3\\\\]4]\")(NIL NIL \"a..b\" \"c\")(NIL NIL \".a.\" \"b\")) NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "fields twice",
        message: b"From: a@b\nSubject: one\nFrom: c@d\nSubject: two\nContent-Type: text/html\nContent-Type: text/plain\n\nx",
        size: 104,
        envelope: b"(NIL \"two\" ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)",
        bodystructure: b"(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "Content fields without MIME",
        message: b"Content-Transfer-Encoding: base64\nContent-ID: <x>\n\nx\n",
        size: 57,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1 NIL NIL NIL NIL)",
    },
    Answer {
        name: "all Content fields",
        message: b"MIME-Version: 1.0\nContent-Type: Application/X-Thing; Name=\"a \\\"b\\\"\"; charset=x\nContent-ID:  <i@d> \nContent-Description: d\n e\nContent-Transfer-Encoding: (c) Base64 (d)\nContent-MD5: m\nContent-Disposition: Attachment; filename=f.txt; size=3\nContent-Language: en, de (x)\nContent-Location: http://x/\n y\n\neA==\n",
        size: 317,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"Application\" \"X-Thing\" (\"Name\" \"a \\\"b\\\"\" \"charset\" \"x\") \"<i@d> \" \"d e\" \"Base64\" 6)",
        bodystructure: b"(\"Application\" \"X-Thing\" (\"Name\" \"a \\\"b\\\"\" \"charset\" \"x\") \"<i@d> \" \"d e\" \"Base64\" 6 \"m\" (\"Attachment\" (\"filename\" \"f.txt\" \"size\" \"3\")) (\"en\" \"de\") \"http://x/ y\")",
    },
    Answer {
        name: "broken Content fields",
        message: b"Content-Type: text/plain charset=x\nContent-Transfer-Encoding: two words\nContent-Disposition: inline; x\nContent-Disposition: ; a=b\nContent-Language: ,\n\nx\n",
        size: 160,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"\" \"\" NIL NIL NIL \"7bit\" 3)",
        bodystructure: b"(\"\" \"\" NIL NIL NIL \"7bit\" 3 NIL (\"\" (\"a\" \"b\")) NIL NIL)",
    },
    Answer {
        name: "a type without a subtype",
        message: b"Content-Type: text\n\nx\n",
        size: 25,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1)",
        bodystructure: b"(\"text\" \"\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1 NIL NIL NIL NIL)",
    },
    Answer {
        name: "multipart without a subtype",
        message: b"Content-Type: multipart\n\n--\n",
        size: 31,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 4)",
        bodystructure: b"(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 4 NIL NIL NIL NIL)",
    },
    Answer {
        name: "RFC 2231 parameters",
        message: b"Content-Type: text/plain; a=1; n*1=\"two\"; n*0=one; f*0*=utf-8''x%20; f*1=50%; g*2=gap; h*=utf-8''y; B*0=1; b*1=2\n\n",
        size: 116,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"a\" \"1\" \"B\" \"12\" \"f*\" \"utf-8''x%2050%25\" \"g*2\" \"gap\" \"h*2*\" \"utf-8''y\" \"n\" \"onetwo\" \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"a\" \"1\" \"B\" \"12\" \"f*\" \"utf-8''x%2050%25\" \"g*2\" \"gap\" \"h*2*\" \"utf-8''y\" \"n\" \"onetwo\" \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "parameters that are none",
        message: b"Content-Type: text/plain; junk; lost=x; e=; w==?utf-8?q?a?=; q=\"unclosed\n\n",
        size: 76,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"e\" \"\" \"w\" \"=?utf-8?q?a?=\" \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"e\" \"\" \"w\" \"=?utf-8?q?a?=\" \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "a multipart with preamble and epilogue",
        message: b"Content-Type: multipart/mixed; boundary=\"b c\"\n\npre\n--b c\n\none\n--b c \nContent-Type: text/html\n\ntwo\n\n--b c--\nepi\n--b c\nlate\n",
        size: 137,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0)(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1) \"mixed\")",
        bodystructure: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 0 NIL NIL NIL NIL)(\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 1 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b c\") NIL NIL NIL)",
    },
    Answer {
        name: "a multipart without parts",
        message: b"Content-Type: multipart/mixed; boundary=b\n\n--b--\n",
        size: 52,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
        bodystructure: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "a multipart without a boundary",
        message: b"Content-Type: multipart/mixed\n\n--b\n\nx\n",
        size: 43,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
        bodystructure: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" NIL NIL NIL NIL)",
    },
    Answer {
        name: "an unterminated multipart",
        message: b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: image/png\n",
        size: 85,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)(\"image\" \"png\" NIL NIL NIL \"7bit\" 0) \"mixed\")",
        bodystructure: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)(\"image\" \"png\" NIL NIL NIL \"7bit\" 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "a boundary at the very end",
        message: b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b",
        size: 58,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"mixed\")",
        bodystructure: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "boundaries that begin alike",
        message: b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\nx\n--bb--\n--b\n\ny\n--b--\n",
        size: 138,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"alternative\")(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"mixed\")",
        bodystructure: b"(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"alternative\" (\"boundary\" \"bb\") NIL NIL NIL)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "a boundary that ends with dashes",
        message: b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b--\n\n--b--\n\nx\n--b----\n--b--\n",
        size: 125,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"mixed\") \"mixed\")",
        bodystructure: b"(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b--\") NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "an inner multipart cut by the outer one",
        message: b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--o\n\ny\n--o--\n",
        size: 122,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"mixed\")(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"mixed\")",
        bodystructure: b"(((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"i\") NIL NIL NIL)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"o\") NIL NIL NIL)",
    },
    Answer {
        name: "a boundary within a header",
        message: b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\r\nContent-Type: message/rfc822\r\n--b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n--b--\n",
        size: 173,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) 0)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 12 (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) 1) \"mixed\")",
        bodystructure: b"((\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 12 (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) 1 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "a boundary behind the empty line",
        message: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n--b--\r\n",
        size: 84,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
        bodystructure: b"((\"text\" \"html\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "a digest",
        message: b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\nx\n--b\nContent-Type: text/plain\n\nplain\n--b\n\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\ny\n--c--\n--b--\n",
        size: 188,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 62 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) \"mixed\") 6) \"digest\")",
        bodystructure: b"((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0 NIL NIL NIL NIL)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 62 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"c\") NIL NIL NIL) 6 NIL NIL NIL NIL) \"digest\" (\"boundary\" \"b\") NIL NIL NIL)",
    },
    Answer {
        name: "a message in a message",
        message: b"Content-Type: message/rfc822\nContent-Description: outer\n\nFrom: a@b\nContent-Type: message/rfc822\n\nSubject: inner\n\nx\ny\n",
        size: 127,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"message\" \"rfc822\" NIL NIL \"outer\" \"7bit\" 67 (NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 24 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 2) 4) 7)",
        bodystructure: b"(\"message\" \"rfc822\" NIL NIL \"outer\" \"7bit\" 67 (NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) (\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 24 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 2 NIL NIL NIL NIL) 4 NIL NIL NIL NIL) 7 NIL NIL NIL NIL)",
    },
    Answer {
        name: "an empty message in a message",
        message: b"Content-Type: message/rfc822\n\n",
        size: 32,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) 0)",
        bodystructure: b"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "a line without a colon, a name with a space",
        message: b"no colon: here\nSubject : spaced\njust words\n continued\n: empty\nX\n\n",
        size: 72,
        envelope: b"(NIL \"spaced\" NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)",
        bodystructure: b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)",
    },
    Answer {
        name: "a long boundary is cut",
        message: b"Content-Type: multipart/mixed; boundary=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n\n--yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n\nx\n--yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy--\nz\n",
        size: 342,
        envelope: b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        body: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
        bodystructure: b"((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\") NIL NIL NIL)",
    },
];
