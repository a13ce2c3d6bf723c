// Reads, searches, flags, moves, appends, waits and resynchronises by imapflow, which takes up COMPRESS, CONDSTORE and
// QRESYNC by itself where they are announced. Arguments: port, user, password.
'use strict';

const assert = require('node:assert/strict');
const { ImapFlow } = require('imapflow');

const [port, user, pass] = process.argv.slice(2);

async function connect() {
    const options = { host: '127.0.0.1', port: Number(port), secure: false, auth: { user, pass } };
    const client = new ImapFlow({ ...options, qresync: true, logger: false, tls: { rejectUnauthorized: false } });
    await client.connect();
    return client;
}

async function all(messages) {
    const list = [];
    for await (const message of messages) list.push(message);
    return list;
}

// Resolves with an event that tells of what is looked for.
function told(client, event, wanted) {
    return new Promise((resolve, reject) => {
        client.on(event, what => wanted(what) && resolve(what));
        client.once('close', () => reject(new Error(`closed while waiting for ${event}`)));
    });
}

async function main() {
    const client = await connect();
    const has = name => client.capabilities.has(name);
    const compressed = Boolean(client._deflate && client._inflate);
    assert.equal(compressed, has('COMPRESS=DEFLATE'), 'compressed');
    assert.equal(client.enabled.has('QRESYNC'), has('QRESYNC'), 'QRESYNC');

    await client.mailboxCreate(['Päckchen', 'Ablage']);
    await client.mailboxSubscribe('Päckchen/Ablage');
    const names = (await client.list()).map(mailbox => mailbox.path).sort();
    assert.deepEqual(names, ['INBOX', 'Päckchen', 'Päckchen/Ablage']);
    const opened = await client.mailboxOpen('INBOX');
    assert.equal(opened.exists, 10);
    const query = { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true, source: true };
    const messages = await all(client.fetch('1:*', query));
    assert.equal(messages.length, 10);
    assert.equal(messages[2].envelope.subject, 'number 3');
    assert.equal(messages[3].envelope.from[0].address, 'sender4@test.example');
    assert.equal(messages[4].bodyStructure.type, 'text/plain');
    assert.match(messages[5].source.toString(), /(^|\n)Message-ID: <6@test.example>\r\n[^]*body of message 6\.\r\n\.a dot\r\n/);
    const { content } = await client.download('7', '1', { uid: true });
    const chunks = await all(content);
    assert.match(Buffer.concat(chunks).toString(), /body of message 7/);

    assert.deepEqual(await client.search({ subject: 'number 7' }, { uid: true }), [7]);
    assert.deepEqual(await client.search({ or: [{ from: 'sender2' }, { body: 'message 9' }] }, { uid: true }), [2, 9]);
    assert.deepEqual(await client.search({ seen: false, header: { 'Message-ID': '<5@' } }, { uid: true }), [5]);

    const since = client.mailbox.highestModseq;
    const validity = client.mailbox.uidValidity;
    await client.messageFlagsAdd('1:2', ['\\Flagged', '$Label1'], { uid: true });
    await client.messageFlagsRemove('2', ['\\Flagged'], { uid: true });
    await client.messageFlagsSet('3', ['\\Seen'], { uid: true });
    const copied = await client.messageCopy('5', 'Päckchen/Ablage', { uid: true });
    assert.equal(copied.uidMap?.get(5), 1);
    const moved = await client.messageMove('6', 'Päckchen/Ablage', { uid: true });
    assert.equal(moved.uidMap?.get(6), 2);
    await client.messageDelete('9', { uid: true });
    const date = new Date('2026-03-01T12:00:00Z');
    const appended = await client.append('INBOX', 'Subject: number 11\r\n\r\nappended\r\n', ['\\Seen', '\\Draft'], date);
    assert.equal(appended.uid, 11);
    assert.equal((await client.status('Päckchen/Ablage', { messages: true, unseen: true })).messages, 2);

    // What another session does comes while this one waits.
    const other = await connect();
    const exists = told(client, 'exists', what => what.count === 10);
    const idle = client.idle();
    await other.append('INBOX', 'Subject: number 12\r\n\r\nwhile waiting\r\n');
    await exists;
    const flagged = told(client, 'flags', what => what.flags.has('\\Answered'));
    await other.mailboxOpen('INBOX');
    await other.messageFlagsAdd('1', ['\\Answered'], { uid: true });
    assert.equal((await flagged).seq, 1);
    const expunged = told(client, 'expunge', what => (has('QRESYNC') ? what.vanished && what.uid === 10 : what.seq === 8));
    await other.messageDelete('10', { uid: true });
    await expunged;
    await client.noop();
    await idle;

    if (has('CONDSTORE')) {
        const changed = await all(client.fetch('1:*', { flags: true }, { uid: true, changedSince: since }));
        assert.deepEqual(changed.map(message => message.uid), [1, 2, 3, 11, 12]);
        assert.ok(changed.every(message => message.modseq > since));
    }
    if (has('QRESYNC')) {
        // A second look at a mailbox tells what went and what changed since the first.
        const vanished = [];
        const changed = [];
        other.on('expunge', what => vanished.push(what.uid));
        other.on('flags', what => changed.push(what.uid));
        await other.mailboxClose();
        await other.mailboxOpen('INBOX', { changedSince: since, uidValidity: validity });
        assert.deepEqual(vanished.sort((a, b) => a - b), [6, 9, 10]);
        assert.deepEqual(changed.sort((a, b) => a - b), [1, 2, 3, 11, 12]);
    }
    await other.logout();
    await client.mailboxRename('Päckchen/Ablage', 'Done');
    // In Maildir++ it was never more than a part of a name.
    const left = (await client.list()).map(mailbox => mailbox.path);
    if (left.includes('Päckchen')) await client.mailboxDelete('Päckchen');
    await client.logout();
    const announced = ['COMPRESS=DEFLATE', 'CONDSTORE', 'QRESYNC', 'IDLE', 'MOVE', 'UIDPLUS', 'OBJECTID', 'BINARY'].filter(has);
    console.log('used', ...announced);
}

main().catch(error => {
    console.error(error);
    process.exit(1);
});
