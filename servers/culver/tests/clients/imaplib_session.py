"""Reads, searches, flags, moves, appends and sorts by Python's own imaplib. Arguments: port, user, password."""

import imaplib
import sys
import time

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


imap = imaplib.IMAP4("127.0.0.1", port)
ok(imap.login(user, password))
# It keeps what it was told before login.
imap.capabilities = tuple(ok(imap.capability())[-1].decode().upper().split())

assert ok(imap.select("INBOX")) == [b"10"]
assert imap.response("UIDVALIDITY")[1][0] is not None
message = ok(imap.fetch("3", "(UID FLAGS RFC822.SIZE BODY.PEEK[])"))
assert b"Subject: number 3\r\n" in message[0][1] and b"\r\n.a dot\r\n" in message[0][1], message
header = ok(imap.uid("FETCH", "4:5", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
assert header[0][1] == b"Subject: number 4\r\n\r\n" and header[2][1] == b"Subject: number 5\r\n\r\n", header

assert ok(imap.search(None, "SUBJECT", '"number 7"')) == [b"7"]
assert ok(imap.search(None, "FROM", "sender2@test.example")) == [b"2"]
assert ok(imap.search("UTF-8", "BODY", '"body of message 9"')) == [b"9"]
imap.literal = "Grüße".encode()
assert ok(imap.uid("SEARCH", "CHARSET", "UTF-8", "TEXT")) == [b"1 2 3 4 5 6 7 8 9 10"]
assert ok(imap.search(None, "SENTSINCE", "9-Mar-2026")) == [b"9 10"]

flags = ok(imap.store("1:2", "+FLAGS", r"(\Flagged $Label1)"))
assert len(flags) == 2 and all(b"$Label1" in line for line in flags), flags
ok(imap.store("2", "-FLAGS", r"(\Flagged)"))
assert ok(imap.search(None, "FLAGGED")) == [b"1"]
assert ok(imap.search(None, "KEYWORD", "$Label1")) == [b"1 2"]

ok(imap.create("Work/Gr&APwA3w-e"))
ok(imap.subscribe("Work/Gr&APwA3w-e"))
assert any(b"Gr&APwA3w-e" in line for line in ok(imap.list("Work/", "*")))
ok(imap.copy("5", "Work/Gr&APwA3w-e"))
if "MOVE" in imap.capabilities:
    ok(imap.uid("MOVE", "6", "Work/Gr&APwA3w-e"))
else:
    ok(imap.uid("COPY", "6", "Work/Gr&APwA3w-e"))
    ok(imap.uid("STORE", "6", "+FLAGS.SILENT", r"(\Deleted)"))
    ok(imap.expunge())
ok(imap.uid("STORE", "9", "+FLAGS", r"(\Deleted)"))
assert ok(imap.expunge())[-1] == b"8"

date = imaplib.Time2Internaldate(time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, 0)))
appended = b"Subject: number 11\r\n\r\nappended\r\n"
ok(imap.append("INBOX", r"(\Seen \Draft)", date, appended))
ok(imap.noop())
assert ok(imap.fetch("9", "(RFC822)"))[0][1] == appended

if "SORT" in imap.capabilities:
    assert ok(imap.sort("(REVERSE SUBJECT)", "UTF-8", "1:5")) == [b"5 4 3 2 1"]
if any(name.startswith("THREAD=") for name in imap.capabilities):
    assert ok(imap.thread("REFERENCES", "UTF-8", "1:2")) == [b"(1)(2)"]
assert imap.status("Work/Gr&APwA3w-e", "(MESSAGES UNSEEN)")[1] == [b"Work/Gr&APwA3w-e (MESSAGES 2 UNSEEN 2)"]
ok(imap.rename("Work/Gr&APwA3w-e", "Done"))
ok(imap.create("Gone"))
ok(imap.delete("Gone"))
ok(imap.close())
imap.logout()
print("capabilities", *imap.capabilities)
