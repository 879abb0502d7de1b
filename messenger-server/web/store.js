// What this browser keeps of a user, in IndexedDB. It is the truth for every view of every tab: a view reads from here,
// and again when it hears of a change.

import { isVisible } from './visible.js';

const STORES = {
  // In the order in which they came to this browser: `n`.
  messages: { keyPath: 'n', autoIncrement: true },
  // With whom, the last message, and how many are unread.
  conversations: { keyPath: 'peer' },
  // What the server has not taken yet.
  unsent: { keyPath: 'n', autoIncrement: true },
  // Single values by name: `seq`, `contacts`, `profile`.
  values: {},
};
const PREVIEW = 200;

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const committed = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });

const nameOf = (uid) => `messenger:${uid}`;

export async function openStore(uid) {
  const opening = indexedDB.open(nameOf(uid), 1);
  opening.onupgradeneeded = () => {
    for (const [name, options] of Object.entries(STORES)) opening.result.createObjectStore(name, options);
    const messages = opening.transaction.objectStore('messages');
    messages.createIndex('id', 'id', { unique: true });
    messages.createIndex('conversation', ['peer', 'n']);
  };
  return new Store(uid, await done(opening));
}

// Events: `change`, with `what` (`message`, `unsent`, `conversations`, `contacts`, `profile`) and whose.
class Store extends EventTarget {
  #database;
  #tabs;

  constructor(uid, database) {
    super();
    this.uid = uid;
    this.#database = database;
    this.#tabs = new BroadcastChannel(nameOf(uid));
    this.#tabs.onmessage = (event) => this.dispatchEvent(new CustomEvent('change', { detail: event.data }));
    // Another tab forgets everything.
    database.onversionchange = () => database.close();
  }

  #tell(...changes) {
    for (const detail of changes) {
      this.#tabs.postMessage(detail);
      this.dispatchEvent(new CustomEvent('change', { detail }));
    }
  }

  #write(...names) {
    return this.#database.transaction(names, 'readwrite', { durability: 'strict' });
  }

  #read(name) {
    return this.#database.transaction(name).objectStore(name);
  }

  // Adds messages in their order, but for those that are there: each is here once, however often and in however many tabs
  // it comes. `seq` is what is done with after that.
  async add(messages, seq) {
    const transaction = this.#write('messages', 'conversations', 'values');
    const all = committed(transaction);
    const changes = [];
    for (const message of messages) {
      const n = await addOnce(transaction, message);
      if (n) changes.push({ what: 'message', peer: message.peer, n });
    }
    if (seq) await raise(transaction.objectStore('values'), seq);
    await all;
    if (changes.length > 0) this.#tell(...changes, { what: 'conversations' });
  }

  // At most `count` messages with somebody, in their order: the newest, those before one, or those behind one.
  async page(peer, count, { before, behind } = {}) {
    const index = this.#read('messages').index('conversation');
    const range = IDBKeyRange.bound([peer, behind ?? 0], [peer, before ?? Infinity], behind !== undefined, before !== undefined);
    const messages = await collect(index.openCursor(range, behind === undefined ? 'prev' : 'next'), count);
    return behind === undefined ? messages.reverse() : messages;
  }

  message(n) {
    return done(this.#read('messages').get(n));
  }

  conversations() {
    return done(this.#read('conversations').getAll());
  }

  async markRead(peer) {
    const transaction = this.#write('conversations');
    const all = committed(transaction);
    const conversations = transaction.objectStore('conversations');
    const conversation = await done(conversations.get(peer));
    if (conversation?.unread) conversations.put({ ...conversation, unread: 0 });
    await all;
    if (conversation?.unread) this.#tell({ what: 'conversations' });
  }

  // Keeps a message until the server has taken it.
  async queue(unsent) {
    const transaction = this.#write('unsent');
    transaction.objectStore('unsent').add(unsent);
    await committed(transaction);
    this.#tell({ what: 'unsent', peer: unsent.peer }, { what: 'conversations' });
  }

  unsent() {
    return done(this.#read('unsent').getAll());
  }

  // Says why one was not sent; `null` lets it be tried again.
  async note(unsent, failure) {
    const transaction = this.#write('unsent');
    const all = committed(transaction);
    const store = transaction.objectStore('unsent');
    // It may be discarded by now.
    if (await done(store.get(unsent.n))) store.put({ ...unsent, failure });
    await all;
    this.#tell({ what: 'unsent', peer: unsent.peer });
  }

  // One was discarded, or the server has taken it and here it is as a message.
  async settle(unsent, message) {
    const transaction = this.#write('unsent', 'messages', 'conversations');
    const all = committed(transaction);
    transaction.objectStore('unsent').delete(unsent.n);
    const n = message && (await addOnce(transaction, message, unsent.nick));
    await all;
    if (n) this.#tell({ what: 'message', peer: message.peer, n });
    this.#tell({ what: 'unsent', peer: unsent.peer }, { what: 'conversations' });
  }

  value(name) {
    return done(this.#read('values').get(name));
  }

  async setValue(name, value) {
    const transaction = this.#write('values');
    transaction.objectStore('values').put(value, name);
    await committed(transaction);
    this.#tell({ what: name });
  }

  async forget() {
    this.#database.close();
    await done(indexedDB.deleteDatabase(nameOf(this.uid)));
  }
}

// The message's number, or nothing if it was there. `called` is the name of whom a conversation begins with.
async function addOnce(transaction, message, called = message.peer) {
  const messages = transaction.objectStore('messages');
  if (await done(messages.index('id').getKey(message.id))) return undefined;
  const n = await done(messages.add(message));
  const conversations = transaction.objectStore('conversations');
  const { peer, nick, body, attach, time, isOwn } = message;
  const before = (await done(conversations.get(peer))) ?? { peer, nick: called, unread: 0 };
  conversations.put({
    peer,
    nick: isOwn ? before.nick : nick,
    unread: before.unread + (isOwn ? 0 : 1),
    last: { n, time, isOwn, text: isVisible(body) ? body.slice(0, PREVIEW) : '', attach: attach && { type: attach.type, name: attach.name } },
  });
  return n;
}

async function raise(values, seq) {
  const before = (await done(values.get('seq'))) ?? 0;
  if (seq > before) values.put(seq, 'seq');
}

function collect(cursors, count) {
  return new Promise((resolve, reject) => {
    const found = [];
    cursors.onerror = () => reject(cursors.error);
    cursors.onsuccess = () => {
      const cursor = cursors.result;
      if (!cursor || found.length === count) return resolve(found);
      found.push(cursor.value);
      cursor.continue();
    };
  });
}
