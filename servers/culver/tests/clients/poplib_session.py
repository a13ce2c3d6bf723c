"""Reads, looks at the top of, numbers and deletes messages by poplib. Arguments: host, POP3's port, POP3S's port or 0,
the certificate to trust, user, password."""

import poplib
import ssl
import sys

host, port, pop3s, certificate, user, password = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]


def log_in(client):
    client.user(user)
    client.pass_(password)
    return client


if pop3s:
    trust = ssl.create_default_context(cafile=certificate)
    log_in(poplib.POP3_SSL(host, pop3s, context=trust)).quit()
    asked = poplib.POP3(host, port)
    assert "STLS" in asked.capa(), asked.capa()
    asked.stls(trust)
    assert "STLS" not in asked.capa(), "no TLS within TLS"
    log_in(asked).quit()

client = poplib.POP3(host, port)
announced = client.capa()
print("announces", *announced)
log_in(client)
count, size = client.stat()
numbers = [int(line.split()[0]) for line in client.list()[1]]
assert count == 10 and numbers == list(range(1, 11)), numbers
uidls = [line.split()[1] for line in client.uidl()[1]]
assert len(set(uidls)) == 10
lines = client.retr(3)[1]
assert b"Subject: number 3" in lines and b".a dot" in lines and "Grüße".encode() in lines, lines
octets = sum(int(line.split()[1]) for line in client.list()[1])
assert octets == size
assert sum(len(line) + 2 for line in lines) == int(client.list(3).split()[2])
top = client.top(4, 1)[1]
assert b"Subject: number 4" in top and top[-1] == b"This is the body of message 4.", top
client.dele(5)
client.dele(6)
assert client.stat()[0] == 8
client.rset()
assert client.stat()[0] == 10
client.dele(7)
client.dele(10)
for wrong in (lambda: client.retr(7), lambda: client.retr(11)):
    try:
        wrong()
        raise AssertionError("a message that is not there")
    except poplib.error_proto as error:
        assert error.args[0].startswith(b"-ERR"), error
client.quit()

again = log_in(poplib.POP3(host, port))
kept = [line.split()[1] for line in again.uidl()[1]]
assert kept == [uidl for n, uidl in enumerate(uidls, 1) if n not in (7, 10)], "the same names as before"
again.quit()
