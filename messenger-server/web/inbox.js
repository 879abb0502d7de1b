// Messages that come: kept first, acknowledged then. What was not acknowledged the server gives again, and the store
// drops what it has. So each is kept exactly once, whenever the power fails.

import { received } from './attachments.js';

// What is kept of a message as the wire has it.
export function kept(data, uid) {
  const isOwn = data.from === uid;
  const { id, from, nick, body, time } = data;
  return { id, peer: isOwn ? data.to : from, isOwn, nick, body, time: Number(time), attach: received(data.attach) };
}

export class Inbox {
  #store;
  #connection;
  #come = [];
  #isBusy = false;
  #failed;

  constructor(store, connection, failed) {
    this.#store = store;
    this.#connection = connection;
    this.#failed = failed;
    connection.addEventListener('message', (event) => this.#take(event.detail));
    // What came on a connection that is lost was not acknowledged, and comes again behind what is missing.
    connection.addEventListener('state', () => connection.state.name === 'offline' && (this.#come = []));
  }

  async #take(data) {
    this.#come.push(data);
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (this.#come.length > 0) await this.#keep(this.#come.splice(0));
    } catch (error) {
      // Nothing is acknowledged that is not kept.
      this.#connection.stop();
      this.#failed(error);
    } finally {
      this.#isBusy = false;
    }
  }

  async #keep(come) {
    const seq = come.reduce((most, data) => Math.max(most, Number(data.seq ?? 0)), 0);
    await this.#store.add(come.map((data) => kept(data, this.#store.uid)), seq);
    if (seq === 0) return;
    // If it does not arrive, the next connection begins with it.
    this.#connection.request('ack', { seq }).catch(() => {});
  }
}
