// The messages of one conversation, of which only those around what is seen are in the page, however many there are.

import { day } from './i18n.js';
import { h } from './markup.js';
import { release, sentMark, showMessage } from './message.js';

const PAGE = 25;
// How near an end more is asked for, in pixels.
const NEAR = 1_200;
// How many messages are shown, but for those that are nearer to what is seen than this, in pixels: on a very high screen what is taken away at
// one end would be asked for again, and so on for ever.
const MOST_SHOWN = 120;
const FAR = 2 * NEAR;
const AT_THE_END = 80;
// How long a browser may scroll by itself after the size of the view has changed, in milliseconds.
const TURNING = 500;

// Events: `moved`, when it was scrolled or has another size.
export class History extends EventTarget {
  #store;
  #peer;
  #author;
  #shown = [];
  #isBusy = false;
  #isAsked = false;
  #hasEarlier = false;
  #hasLater = false;
  // The number of the newest that was shown or heard of.
  #newest = 0;
  // Who sees the end goes on seeing it, whatever is added, and when a picture turns out to be large.
  #sticks = true;
  #top = 0;
  #height = 0;
  #turned;

  // `list` holds the messages and scrolls in `frame`.
  constructor(store, peer, author, frame, list) {
    super();
    this.#store = store;
    this.#peer = peer;
    this.#author = author;
    this.frame = frame;
    this.list = list;
    frame.addEventListener('scroll', () => {
      this.#follow();
      this.#fill();
      this.dispatchEvent(new Event('moved'));
    });
    const grown = new ResizeObserver((changes) => {
      // The first time it only tells what the size is.
      if (changes.some(({ target }) => target === frame)) this.#turned = this.#turned === undefined ? -Infinity : performance.now();
      if (this.#sticks) this.toEnd();
      this.#remember();
      this.#fill();
      this.dispatchEvent(new Event('moved'));
    });
    for (const child of [frame, ...frame.children]) grown.observe(child);
  }

  get isEmpty() {
    return this.#shown.length === 0;
  }

  // Whether what is newest is seen.
  get isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.frame;
    return !this.#hasLater && scrollHeight - scrollTop - clientHeight < AT_THE_END;
  }

  // Whether the newest is not shown.
  get #isBehind() {
    return this.#newest > (this.#shown.at(-1)?.n ?? 0);
  }

  // Shows the newest.
  async latest() {
    const messages = await this.#store.page(this.#peer, PAGE);
    for (const { element } of this.#shown.splice(0)) this.#remove(element);
    this.#hasEarlier = messages.length === PAGE;
    this.#append(messages);
    // One may have come while these were read.
    this.#hasLater = this.#isBehind;
    this.toEnd();
  }

  toEnd() {
    this.#sticks = true;
    this.frame.scrollTop = this.frame.scrollHeight;
  }

  // Only who scrolls up leaves the end. What was added or taken away is no reason, nor what a browser scrolls by itself when a
  // telephone is turned round.
  #follow() {
    const { scrollHeight, scrollTop } = this.frame;
    const isTurning = performance.now() - this.#turned < TURNING;
    if (this.isAtEnd) this.#sticks = true;
    else if (isTurning && this.#sticks) this.toEnd();
    else if (scrollTop < this.#top && scrollHeight === this.#height) this.#sticks = false;
    this.#remember();
  }

  // What the next scrolling starts from.
  #remember() {
    this.#top = this.frame.scrollTop;
    this.#height = this.frame.scrollHeight;
  }

  // A message has come. It is shown if what comes before it is.
  async add(n) {
    this.#newest = Math.max(this.#newest, n);
    if (this.#hasLater || !this.#isBehind) return;
    const behind = this.#shown.at(-1)?.n ?? 0;
    const messages = await this.#store.page(this.#peer, PAGE, { behind });
    // Others may have been added meanwhile.
    this.#append(messages.filter((message) => message.n > (this.#shown.at(-1)?.n ?? 0)));
    if (messages.length === PAGE) this.#hasLater = this.#isBehind;
    if (this.#sticks) this.#trimStart();
  }

  // Once more if it was scrolled meanwhile: nothing else may come that asks for the rest.
  async #fill() {
    this.#isAsked = true;
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#isAsked) {
      this.#isAsked = false;
      const { scrollHeight, scrollTop, clientHeight } = this.frame;
      if (this.#hasEarlier && scrollTop < NEAR) await this.#earlier();
      else if (this.#hasLater && scrollHeight - scrollTop - clientHeight < NEAR) await this.#later();
    }
    this.#isBusy = false;
  }

  async #earlier() {
    const before = this.#shown[0]?.n;
    const messages = await this.#store.page(this.#peer, PAGE, { before });
    if (before !== this.#shown[0]?.n) return;
    this.#hasEarlier = messages.length === PAGE;
    this.#holding(this.#shown[0]?.element, () => this.#prepend(messages));
    this.#trimEnd();
  }

  async #later() {
    const behind = this.#shown.at(-1)?.n;
    const messages = await this.#store.page(this.#peer, PAGE, { behind });
    if (behind !== this.#shown.at(-1)?.n) return;
    this.#append(messages);
    this.#hasLater = this.#isBehind;
    this.#holding(this.#shown.at(-1)?.element, () => this.#trimStart());
  }

  #trimStart() {
    const count = this.#over(this.#shown, (seen, { bottom }) => seen.top - bottom);
    if (count === 0) return;
    for (const { element } of this.#shown.splice(0, count)) this.#remove(element);
    this.#hasEarlier = true;
    this.#mark(this.#shown[0], undefined);
  }

  #trimEnd() {
    const count = this.#over([...this.#shown].reverse(), (seen, { top }) => top - seen.bottom);
    if (count === 0) return;
    for (const { element } of this.#shown.splice(-count)) this.#remove(element);
    this.#hasLater = true;
  }

  // How many of these may go, beginning with the first; `distance` tells how far one is from what is seen.
  #over(shown, distance) {
    const over = shown.slice(0, Math.max(0, shown.length - MOST_SHOWN));
    const isNear = ({ element }) => distance(this.frame.getBoundingClientRect(), element.getBoundingClientRect()) < FAR;
    const near = over.findIndex(isNear);
    return near === -1 ? over.length : near;
  }

  // Changes what is shown, so that this element stays where it is seen.
  #holding(element, change) {
    const before = element?.getBoundingClientRect().top;
    change();
    if (element) this.frame.scrollTop += element.getBoundingClientRect().top - before;
  }

  #append(messages) {
    for (const message of messages) {
      const shown = this.#show(message);
      this.#mark(shown, this.#shown.at(-1));
      this.#shown.push(shown);
      this.#newest = Math.max(this.#newest, message.n);
      this.list.append(shown.element);
    }
  }

  #prepend(messages) {
    const added = messages.map((message) => this.#show(message));
    for (const [i, shown] of added.entries()) this.#mark(shown, added[i - 1]);
    this.#mark(this.#shown[0], added.at(-1));
    this.list.prepend(...added.map(({ element }) => element));
    this.#shown.unshift(...added);
  }

  #show(message) {
    const { n, time, isOwn } = message;
    return { n, time, isOwn, element: showMessage(message, this.#author, isOwn && sentMark()) };
  }

  // A day's first message says which day it is; one that follows others of its author stands nearer to them.
  #mark(shown, before) {
    if (!shown) return;
    const { element, time, isOwn } = shown;
    element.querySelector('.day')?.remove();
    const isNewDay = !before || day(before.time) !== day(time);
    if (isNewDay) element.prepend(h('p', { class: 'day' }, day(time)));
    element.classList.toggle('follows', !isNewDay && before.isOwn === isOwn && time - before.time < 300);
  }

  #remove(element) {
    release(element);
    element.remove();
  }
}
