// One conversation: who it is with, its messages, and where the next one is written.

import { avatar } from './avatar.js';
import { composer } from './composer.js';
import { History } from './history.js';
import { t } from './i18n.js';
import { h, icon, iconButton } from './markup.js';
import { release } from './message.js';
import { Pending } from './pending.js';
import { isVisible } from './visible.js';

// How much of a message is read out when it comes, and how many of these stay.
const ANNOUNCED = 300;
const MOST_ANNOUNCED = 5;

export class Conversation {
  #store;
  #outbox;
  #history;
  #pending;
  #announcer;
  #empty;
  #down;
  #missed = 0;
  #composer;

  constructor({ store, outbox, roster, peer, nick, back, about }) {
    this.#store = store;
    this.#outbox = outbox;
    this.peer = peer;
    const person = roster.person(peer, nick);
    this.nick = person.nick;
    this.#announcer = h('div', { class: 'unseen', role: 'log', 'aria-live': 'polite' });
    this.#empty = h('p', { class: 'empty', hidden: true }, t('noMessages'));
    const label = t('messages', { nick: person.nick });
    const list = h('ol', { class: 'messages', 'aria-label': label });
    const waiting = h('ol', { class: 'messages', 'aria-label': t('draft') });
    const frame = h('div', { class: 'history', tabindex: '0', role: 'region', 'aria-label': label }, this.#empty, list, waiting);
    this.#down = h('button', { type: 'button', class: 'down', hidden: true, onclick: () => this.#toLatest() });
    this.element = h('section', { class: 'conversation', 'data-drop': t('dropHere') });
    this.#composer = composer({ uid: store.uid, peer }, (body, attach) => this.#send(body, attach), this.element);
    this.#history = new History(store, peer, person.nick, frame, list);
    this.#history.addEventListener('moved', () => this.#moved());
    this.#pending = new Pending(outbox, waiting);
    this.element.append(
      h('header', {},
        iconButton('back', t('back'), { class: 'quiet back', onclick: back }),
        h('button', { type: 'button', class: 'who', onclick: about },
          h('span', { class: 'unseen' }, t('about')),
          avatar(person), h('span', {}, h('h2', {}, h('bdi', {}, person.nick)), h('bdi', { class: 'hint' }, peer)))),
      h('div', { class: 'seen' }, frame, this.#down), this.#announcer, this.#composer.form);
  }

  async open() {
    await this.#history.latest();
    await this.#showUnsent();
    this.#showEmpty();
    this.#composer.focus();
    await this.read();
  }

  close() {
    release(this.element);
  }

  // What is seen counts as read.
  async read() {
    if (!document.hidden && this.element.isConnected && this.#history.isAtEnd) await this.#store.markRead(this.peer);
  }

  async changed({ what, n }) {
    const wasAtEnd = this.#history.isAtEnd;
    if (what === 'message') await this.#came(n, wasAtEnd);
    if (what === 'unsent') await this.#showUnsent();
    this.#showEmpty();
    await this.read();
  }

  async #came(n, isSeen) {
    await this.#history.add(n);
    const { isOwn, body, attach } = await this.#store.message(n);
    if (isOwn) return;
    this.#announce(`${this.nick}: ${isVisible(body) ? body.slice(0, ANNOUNCED) : (attach?.name ?? t('invisible'))}`);
    if (isSeen) return;
    this.#missed += 1;
    this.#showDown();
  }

  #announce(sentence) {
    this.#announcer.append(h('p', {}, sentence));
    if (this.#announcer.children.length > MOST_ANNOUNCED) this.#announcer.firstChild.remove();
  }

  async #showUnsent() {
    const unsent = await this.#store.unsent();
    this.#pending.show(unsent.filter(({ peer }) => peer === this.peer));
  }

  #showEmpty() {
    this.#empty.hidden = !this.#history.isEmpty;
  }

  #moved() {
    if (this.#history.isAtEnd) {
      this.#missed = 0;
      this.read();
    }
    this.#showDown();
  }

  #showDown() {
    this.#down.hidden = this.#history.isAtEnd;
    const label = this.#missed > 0 ? t('fresh', { count: this.#missed }) : t('latest');
    if (this.#down.dataset.label === label) return;
    this.#down.dataset.label = label;
    this.#down.replaceChildren(icon('down'), h('span', { class: this.#missed > 0 ? '' : 'unseen' }, label));
  }

  async #toLatest() {
    await this.#history.latest();
    this.#composer.focus();
  }

  async #send(body, attach) {
    if (!this.#history.isAtEnd) await this.#history.latest();
    await this.#outbox.add(this, body, attach);
    this.#history.toEnd();
  }
}
