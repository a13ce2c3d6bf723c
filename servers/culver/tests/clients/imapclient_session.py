"""Reads, searches, flags, moves, appends, sorts and waits by IMAPClient. Arguments: port, user, password."""

import sys
from datetime import datetime, timezone

from imapclient import DELETED, DRAFT, FLAGGED, RECENT, SEEN, IMAPClient

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def connect():
    client = IMAPClient("127.0.0.1", port, ssl=False)
    client.login(user, password)
    return client


client = connect()
assert client.has_capability("IMAP4REV1")
if client.has_capability("ID"):
    client.id_({"name": "IMAPClient"})
if client.has_capability("NAMESPACE"):
    assert client.namespace().personal[0] == ("", "/"), client.namespace()
client.create_folder("Päckchen/Ablage")
client.subscribe_folder("Päckchen/Ablage")
assert client.folder_exists("Päckchen/Ablage")
assert {name for _, _, name in client.list_folders()} >= {"INBOX", "Päckchen", "Päckchen/Ablage"}
assert [name for _, _, name in client.list_sub_folders()] == ["Päckchen/Ablage"]

selected = client.select_folder("INBOX")
assert selected[b"EXISTS"] == 10 and selected[b"UIDNEXT"] == 11, selected
assert client.search() == list(range(1, 11))
assert client.search(["SUBJECT", "number 7"]) == [7]
assert client.search(["NOT", ["OR", ["FROM", "sender1"], "SUBJECT", "number 2"]]) == list(range(3, 10))
assert client.search(["TEXT", "Grüße"], "UTF-8") == list(range(1, 11))
fetched = client.fetch([3, 4], ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "BODY.PEEK[TEXT]"])
assert fetched[3][b"ENVELOPE"].subject == b"number 3" and fetched[4][b"ENVELOPE"].from_[0].mailbox == b"sender4"
assert fetched[3][b"BODYSTRUCTURE"][:2] == (b"text", b"plain"), fetched[3][b"BODYSTRUCTURE"]
assert b"message 4." in fetched[4][b"BODY[TEXT]"]
assert isinstance(fetched[3][b"INTERNALDATE"], datetime)
partial = client.fetch([3], ["BODY.PEEK[TEXT]<5.7>"])
assert partial[3][b"BODY[TEXT]<5>"] == b"is the ", partial


def same(answer, expected):
    """The order of flags is nobody's business, and which session finds a message recent is luck."""
    got = {uid: set(flags) - {RECENT} for uid, flags in answer.items()}
    assert got == expected, answer


same(client.add_flags([1, 2], [FLAGGED, "$Label1"]), {1: {FLAGGED, b"$Label1"}, 2: {FLAGGED, b"$Label1"}})
same(client.remove_flags([2], [FLAGGED]), {2: {b"$Label1"}})
same(client.set_flags([3], [SEEN]), {3: {SEEN}})
same(client.get_flags([1, 3]), {1: {FLAGGED, b"$Label1"}, 3: {SEEN}})

client.copy([5], "Päckchen/Ablage")
if client.has_capability("MOVE"):
    client.move([6], "Päckchen/Ablage")
else:
    client.copy([6], "Päckchen/Ablage")
    client.delete_messages([6])
    client.expunge([6])
client.add_flags([9, 10], [DELETED])
client.uid_expunge([9]) if client.has_capability("UIDPLUS") else client.expunge([9])
client.remove_flags([10], [DELETED])
when = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)
answer = client.append("INBOX", b"Subject: number 11\r\n\r\nappended\r\n", (SEEN, DRAFT), when)
assert b"APPENDUID" in answer, answer
if client.has_capability("MULTIAPPEND"):
    messages = [{"msg": b"Subject: number %d\r\n\r\none of many\r\n" % n, "flags": [SEEN]} for n in (12, 13)]
    client.multiappend("INBOX", messages)
else:
    for n in (12, 13):
        client.append("INBOX", b"Subject: number %d\r\n\r\none of many\r\n" % n, (SEEN,))
client.noop()
if client.has_capability("SORT"):
    assert client.sort(["REVERSE ARRIVAL"], ["UID", "11:13"]) in ([13, 12, 11], [12, 13, 11])
    assert client.sort("REVERSE SUBJECT", ["UID", "1:3"]) == [3, 2, 1]
for algorithm in ("REFERENCES", "ORDEREDSUBJECT", "REFS"):
    if client.has_capability("THREAD=" + algorithm):
        assert client.thread(algorithm, ["UID", "1:2"]) == ((1,), (2,)), algorithm
if client.has_capability("CONDSTORE"):
    status = client.folder_status("INBOX", ["HIGHESTMODSEQ"])
    assert status[b"HIGHESTMODSEQ"] > 1, status
assert client.folder_status("Päckchen/Ablage", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 2, b"UNSEEN": 2}

# Another session's change comes while this one waits.
if client.has_capability("IDLE"):
    client.idle()
    other = connect()
    other.append("INBOX", b"Subject: number 14\r\n\r\nwhile waiting\r\n")
    other.logout()
    answers = []
    while not any(answer[1] == b"EXISTS" for answer in answers if len(answer) > 1):
        more = client.idle_check(timeout=120)
        assert more, "nothing came while it waited"
        answers += more
    client.idle_done()
client.rename_folder("Päckchen/Ablage", "Done")
assert not client.folder_exists("Päckchen"), "the level that the rename left empty"
client.unselect_folder() if client.has_capability("UNSELECT") else client.close_folder()
client.logout()
