// What a phone does with an account, by imapflow: within TLS, believing none but the authority that it is told to believe;
// finds or makes the mailboxes of each use, reads headers, then the structure of one message and of it the text alone;
// waits while mail comes; answers, flags, puts into the trash; loses its connection and catches up by QRESYNC.
// Arguments: port, the authority's certificate, another authority's, user, password.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { ImapFlow } = require('imapflow');

const [port, authority, stranger, user, pass] = process.argv.slice(2);

function account(host = 'localhost', believed = authority) {
    const tls = { ca: fs.readFileSync(believed), rejectUnauthorized: true, minVersion: 'TLSv1.2', servername: host };
    // Whatever the name, the connection goes to this machine.
    const options = { host: '127.0.0.1', port: Number(port), secure: true, auth: { user, pass } };
    const client = new ImapFlow({ ...options, tls, qresync: true, logger: false, clientInfo: { name: 'a phone' } });
    client.on('error', () => {});
    return client;
}

async function refused(client, codes) {
    const error = await client.connect().then(() => null, error => error);
    assert.ok(error && codes.includes(error.code), `refused with ${error && error.code}`);
}

async function all(messages) {
    const list = [];
    for await (const message of messages) list.push(message);
    return list;
}

function told(client, event, wanted) {
    return new Promise((resolve, reject) => {
        client.on(event, what => wanted(what) && resolve(what));
        client.once('close', () => reject(new Error(`closed while waiting for ${event}`)));
    });
}

// The mailboxes by use; those that are missing are made under the names that everybody knows.
async function byUse(client) {
    const names = { '\\Drafts': 'Drafts', '\\Sent': 'Sent', '\\Junk': 'Junk', '\\Trash': 'Trash', '\\Archive': 'Archive' };
    const uses = async () => new Map((await client.list()).filter(box => box.specialUse).map(box => [box.specialUse, box]));
    const before = await uses();
    for (const [use, name] of Object.entries(names)) {
        if (before.has(use)) continue;
        await client.mailboxCreate(name);
        await client.mailboxSubscribe(name);
    }
    const after = await uses();
    for (const [use, name] of Object.entries(names)) {
        assert.equal(after.get(use)?.path, name, use);
        assert.equal(after.get(use).specialUseSource, 'extension', `${use} is told by the server`);
    }
    return use => after.get(use).path;
}

// The first part that is plain text.
function textPart(node) {
    if (node.type === 'text/plain') return node.part || '1';
    for (const child of node.childNodes || []) {
        const found = textPart(child);
        if (found) return found;
    }
    return null;
}

async function main() {
    await refused(account('localhost', stranger), ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'SELF_SIGNED_CERT_IN_CHAIN']);
    await refused(account('mail.elsewhere.example'), ['ERR_TLS_CERT_ALTNAME_INVALID']);

    const phone = account();
    await phone.connect();
    assert.ok(phone.secureConnection && phone.authenticated);
    assert.ok(phone.enabled.has('QRESYNC'));
    const box = await byUse(phone);

    // The list: headers of the newest messages. Then one is opened: its structure, and of it the text.
    const inbox = await phone.mailboxOpen('INBOX');
    assert.ok(inbox.highestModseq && inbox.uidValidity);
    assert.equal(inbox.exists, 4);
    const fields = ['from', 'to', 'subject', 'date', 'message-id'];
    const heads = await all(phone.fetch('1:*', { uid: true, flags: true, internalDate: true, size: true, headers: fields }));
    assert.deepEqual(heads.map(head => head.uid), [1, 2, 3, 4]);
    assert.match(heads[0].headers.toString(), /^Subject: number 1\r?$/m);
    assert.doesNotMatch(heads[0].headers.toString(), /body of message/);
    const { bodyStructure, envelope } = await phone.fetchOne('4', { bodyStructure: true, envelope: true }, { uid: true });
    assert.equal(envelope.subject, 'Grüße mit Anhang');
    assert.equal(bodyStructure.type, 'multipart/mixed');
    const attached = bodyStructure.childNodes[1];
    assert.deepEqual([attached.type, attached.dispositionParameters.filename], ['application/pdf', 'Rechnung.pdf']);
    const part = textPart(bodyStructure);
    assert.equal(part, '1.1');
    const { content, meta } = await phone.download('4', part, { uid: true });
    assert.equal(meta.charset, 'utf-8');
    assert.equal(Buffer.concat(await all(content)).toString().trim(), 'Schöne Grüße');
    const pdf = await phone.download('4', attached.part, { uid: true });
    assert.equal(Buffer.concat(await all(pdf.content)).toString(), '%PDF-1.4 not really\n');
    await phone.messageFlagsAdd('4', ['\\Seen'], { uid: true });

    // It waits; mail comes.
    const desk = account();
    await desk.connect();
    const exists = told(phone, 'exists', what => what.count === 5);
    const idle = phone.idle();
    await desk.append('INBOX', 'Message-ID: <5@test.example>\r\nSubject: number 5\r\n\r\nwhile the phone waits\r\n');
    await exists;
    await phone.noop();
    await idle;

    // An answer: a draft, then a copy in Sent, the draft gone, the message answered.
    const answer = 'From: ann@test.example\r\nSubject: Re: number 1\r\nIn-Reply-To: <1@test.example>\r\n\r\nyes\r\n';
    const draft = await phone.append(box('\\Drafts'), answer, ['\\Draft', '\\Seen']);
    await phone.append(box('\\Sent'), answer, ['\\Seen']);
    await phone.messageFlagsAdd('1', ['\\Answered', '\\Seen'], { uid: true });
    await phone.mailboxOpen(box('\\Drafts'));
    await phone.messageDelete(String(draft.uid), { uid: true });

    // A swipe to the trash, a star, one put aside.
    const again = await phone.mailboxOpen('INBOX');
    const moved = await phone.messageMove('2', box('\\Trash'), { uid: true });
    assert.equal(moved.uidMap?.get(2), 1);
    await phone.messageFlagsAdd('3', ['\\Flagged'], { uid: true });
    const since = BigInt((await phone.status('INBOX', { highestModseq: true })).highestModseq);
    const { uidValidity } = again;

    // The train goes into a tunnel: the connection breaks, and meanwhile something happens.
    phone.close();
    await desk.mailboxOpen('INBOX');
    await desk.messageMove('5', 'Archive', { uid: true });
    await desk.messageFlagsAdd('4', ['\\Flagged'], { uid: true });
    await desk.logout();

    // It comes back and asks for nothing but what is new.
    const back = account();
    const vanished = [];
    const changed = [];
    back.on('expunge', what => vanished.push(what.uid));
    back.on('flags', what => changed.push([what.uid, [...what.flags].sort().join(' ')]));
    await back.connect();
    const reopened = await back.mailboxOpen('INBOX', { changedSince: since, uidValidity });
    assert.equal(reopened.uidValidity, uidValidity);
    assert.equal(reopened.exists, 3);
    assert.deepEqual(vanished, [5]);
    assert.deepEqual(changed, [[4, '\\Flagged \\Seen']]);
    await back.logout();
    console.log('the phone is satisfied');
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
