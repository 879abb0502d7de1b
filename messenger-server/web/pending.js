// Own messages that the server has not taken yet, below the others.

import { t } from './i18n.js';
import { h, icon } from './markup.js';
import { release, showMessage } from './message.js';

export class Pending {
  #outbox;
  #list;
  #shown = new Map();

  constructor(outbox, list) {
    this.#outbox = outbox;
    this.#list = list;
    outbox.addEventListener('progress', ({ detail }) => this.#progress(detail));
  }

  // Shows these, and no others.
  show(unsent) {
    const still = new Set(unsent.map(({ mid }) => mid));
    for (const [mid, shown] of this.#shown) if (!still.has(mid)) this.#remove(mid, shown);
    for (const message of unsent) {
      const state = JSON.stringify(message.failure);
      const before = this.#shown.get(message.mid);
      if (before?.state === state) continue;
      const element = this.#element(message);
      if (before) {
        release(before.element);
        before.element.replaceWith(element);
      } else {
        this.#list.append(element);
      }
      this.#shown.set(message.mid, { element, state });
    }
  }

  #remove(mid, { element }) {
    release(element);
    element.remove();
    this.#shown.delete(mid);
  }

  #element(message) {
    const { failure, attach } = message;
    const mark = h('span', { role: 'img', 'aria-label': t('waitingToSend') }, icon('waiting'));
    const element = showMessage({ ...message, isOwn: true, nick: '' }, '', mark);
    element.classList.add('pending');
    const bubble = element.querySelector('.bubble');
    if (failure?.isFinal) bubble.append(this.#failed(message));
    else if (failure) bubble.append(h('p', { class: 'hint' }, t('retrying', { reason: failure.reason })));
    else if (attach) bubble.append(h('progress', { max: 1, value: 0, hidden: true, 'aria-label': t('sending') }));
    return element;
  }

  #failed(message) {
    const again = () => this.#outbox.again(message);
    const discard = () => this.#outbox.discard(message);
    return h('div', { class: 'failure', role: 'alert' },
      h('p', {}, t('notSent', { reason: message.failure.reason })),
      h('button', { type: 'button', onclick: again }, t('again')),
      h('button', { type: 'button', class: 'link', onclick: discard }, t('discard')));
  }

  #progress({ mid, part }) {
    const bar = this.#shown.get(mid)?.element.querySelector('progress');
    if (!bar) return;
    bar.hidden = false;
    bar.value = part;
  }
}
