// One connection to the server at a time, made anew when it is lost: requests with their answers, and events.

import { Lost, Refused } from './failures.js';

const SHORTEST_WAIT = 500;
const LONGEST_WAIT = 30_000;
// An answer may take as long as a large frame takes on a slow line; but something has to move.
const PATIENCE = 30_000;
// A line that is dead without having said so is noticed by a question after so long a silence.
const SILENCE = 45_000;
const PROGRESS_EVERY = 100;

export const DEFAULT_URL = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;

// Events: `state` (see the getter), `message` (an ev_message's data).
export class Connection extends EventTarget {
  #url;
  #begin;
  #probe;
  #socket = null;
  #waiting = [];
  #tries = 0;
  #timer = 0;
  #watch = 0;
  #moved = 0;
  #state = { name: 'connecting' };

  // `begin` is told of each new connection, and says what comes first on it; it counts as online when that is done.
  // `probe` asks the server something that changes nothing.
  constructor({ url = DEFAULT_URL, begin = async () => {}, probe = async () => {} } = {}) {
    super();
    this.#url = url;
    this.#begin = begin;
    this.#probe = probe;
    addEventListener('online', () => this.hurry());
    document.addEventListener('visibilitychange', () => document.hidden || this.hurry());
  }

  // `connecting`, `online`, `offline` (until `again`, milliseconds since 1970) or `stopped`.
  get state() {
    return this.#state;
  }

  #become(name, more = {}) {
    this.#state = { name, ...more };
    this.dispatchEvent(new Event('state'));
  }

  start() {
    clearTimeout(this.#timer);
    this.#become('connecting');
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#moved = Date.now();
    this.#watch = setInterval(() => this.#look(), 5_000);
    socket.onmessage = (event) => socket === this.#socket && this.#take(event.data);
    socket.onclose = () => socket === this.#socket && this.#lose();
  }

  // For good.
  stop() {
    this.#drop();
    this.#become('stopped');
  }

  // Does not wait for the next try.
  hurry() {
    if (this.#state.name === 'offline') this.start();
  }

  #drop() {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const waiting = this.#waiting;
    this.#waiting = [];
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const request of waiting) request.reject(new Lost());
  }

  #lose() {
    this.#drop();
    // Doubled each time, and never the same for all who lost it at once.
    const longest = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** this.#tries);
    const wait = longest / 2 + (Math.random() * longest) / 2;
    this.#tries += 1;
    this.#timer = setTimeout(() => this.start(), wait);
    this.#become('offline', { again: Date.now() + wait });
  }

  #look() {
    if (this.#socket.bufferedAmount > 0 && this.#waiting.some((request) => request.moved())) this.#moved = Date.now();
    const still = Date.now() - this.#moved;
    if ((this.#waiting.length > 0 || this.#state.name === 'connecting') && still > PATIENCE) this.#lose();
    else if (this.#waiting.length === 0 && this.#state.name === 'online' && still > SILENCE) this.#probe().catch(() => {});
  }

  async #take(text) {
    this.#moved = Date.now();
    const { action, data } = JSON.parse(text);
    if (action === 'ev_message') {
      this.dispatchEvent(new CustomEvent('message', { detail: data }));
    } else if (action === 'welcome') {
      await this.#greeted();
    } else if (this.#waiting.length > 0 && (action === this.#waiting[0].action || action === 'unknown')) {
      // Answers come in the order of the requests; what is neither is of a later version.
      const { resolve, reject } = this.#waiting.shift();
      if (Number(data.status) === 0) resolve(data);
      else reject(new Refused(action, data));
    }
  }

  async #greeted() {
    const socket = this.#socket;
    try {
      await this.#begin(this);
    } catch {
      if (socket === this.#socket && this.#state.name !== 'stopped') this.#lose();
      return;
    }
    if (socket !== this.#socket || this.#state.name === 'stopped') return;
    this.#tries = 0;
    this.#become('online');
  }

  // The answer's data. `progress` is told which part of the request has left the browser, from 0 to 1.
  request(action, data, progress) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Lost());
    if (this.#waiting.length === 0) this.#moved = Date.now();
    const before = socket.bufferedAmount;
    socket.send(JSON.stringify({ action, data }));
    const whole = socket.bufferedAmount - before;
    return new Promise((resolve, reject) => {
      let left = socket.bufferedAmount;
      const moved = () => {
        const moves = socket.bufferedAmount < left;
        left = socket.bufferedAmount;
        return moves;
      };
      const request = { action, resolve, reject, moved };
      this.#waiting.push(request);
      if (progress) follow(() => this.#waiting.includes(request) && 1 - socket.bufferedAmount / whole, progress);
    });
  }
}

function follow(part, progress) {
  const timer = setInterval(() => {
    const now = part();
    if (now === false) clearInterval(timer);
    else progress(Math.max(0, Math.min(1, now)));
  }, PROGRESS_EVERY);
}
