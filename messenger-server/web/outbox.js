// Messages that go: each waits in the store until the server has taken it, and is sent again under the same `mid` when it
// is unknown whether it has. So it arrives once, through lost answers, reloads and restarts.

import { base64Of } from './attachments.js';
import { Lost } from './failures.js';

const TOO_MANY = 20;
const UNAVAILABLE = 22;
const SHORTEST_WAIT = 1_000;
const LONGEST_WAIT = 60_000;

function newMid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// Events: `progress`, with `mid` and `part`.
export class Outbox extends EventTarget {
  #store;
  #connection;
  #isBusy = false;
  #isAsked = false;
  #wait = SHORTEST_WAIT;

  constructor(store, connection) {
    super();
    this.#store = store;
    this.#connection = connection;
    connection.addEventListener('state', () => this.send());
  }

  // `nick` is what the recipient is called until they have written.
  async add({ peer, nick }, body, attach) {
    const time = Math.floor(Date.now() / 1000);
    await this.#store.queue({ mid: newMid(), peer, nick, body, attach, time, failure: null });
    this.send();
  }

  async again(unsent) {
    await this.#store.note(unsent, null);
    this.send();
  }

  discard(unsent) {
    return this.#store.settle(unsent);
  }

  // Sends what waits, in its order. One tab at a time does; where the browser has no locks several may, and the `mid`
  // keeps what they send from being there twice.
  async send() {
    this.#isAsked = true;
    if (this.#isBusy) return;
    this.#isBusy = true;
    const sendAll = () => this.#sendAll();
    while (this.#isAsked) {
      this.#isAsked = false;
      await (navigator.locks ? navigator.locks.request(`messenger:${this.#store.uid}`, sendAll) : sendAll());
    }
    this.#isBusy = false;
  }

  async #sendAll() {
    while (this.#connection.state.name === 'online') {
      const waiting = await this.#store.unsent();
      const next = waiting.find((unsent) => !unsent.failure?.isFinal);
      if (!next) return;
      try {
        await this.#sendOne(next);
        this.#wait = SHORTEST_WAIT;
      } catch (error) {
        // The next connection sends it.
        if (error instanceof Lost) return;
        await this.#refused(next, error);
      }
    }
  }

  async #sendOne(unsent) {
    const { peer, body, attach, mid } = unsent;
    const data = { uid: peer, body, mid };
    if (attach) data.attach = { mime: attach.mime, data: await base64Of(attach.blob) };
    const progress = (part) => this.dispatchEvent(new CustomEvent('progress', { detail: { mid, part } }));
    const { id, time } = await this.#connection.request('message', data, attach && progress);
    const kept = attach && { type: attach.type, name: attach.name, blob: attach.blob };
    await this.#store.settle(unsent, { id, peer, isOwn: true, nick: '', body, time: Number(time), attach: kept });
  }

  async #refused(unsent, { status, message }) {
    // A file that cannot be read any more is as final as a refusal.
    const isFinal = status !== TOO_MANY && status !== UNAVAILABLE;
    await this.#store.note(unsent, { reason: message, isFinal });
    if (isFinal) return;
    await new Promise((resolve) => setTimeout(resolve, this.#wait));
    this.#wait = Math.min(LONGEST_WAIT, this.#wait * 2);
  }
}
