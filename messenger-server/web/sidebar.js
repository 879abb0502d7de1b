// The list of people: contacts and whoever else wrote, the latest conversation first; and the search for others.

import { avatar } from './avatar.js';
import { when, t } from './i18n.js';
import { h, icon } from './markup.js';

export class Sidebar {
  #store;
  #roster;
  #open;
  #find;
  #list;
  #search;
  #chosen;
  #people = [];
  #lines = new Map();

  // `open` is told whom a conversation is wanted with, `find` whom to look for on the server.
  constructor({ store, roster, open, find }) {
    this.#store = store;
    this.#roster = roster;
    this.#open = open;
    this.#find = find;
    this.#search = h('input', {
      type: 'search', placeholder: t('search'), 'aria-label': t('searchLabel'), autocapitalize: 'none', spellcheck: 'false', maxlength: 64,
      oninput: () => this.#show(), onkeydown: (event) => this.#searchKey(event),
    });
    this.#list = h('ul', { class: 'people', onkeydown: (event) => this.#listKey(event) });
    this.element = h('nav', { 'aria-label': t('contacts') },
      h('div', { class: 'search' }, icon('search'), this.#search), this.#list);
  }

  focusSearch() {
    this.#search.select();
  }

  clearSearch() {
    this.#search.value = '';
    this.#show();
  }

  choose(uid) {
    this.#chosen = uid;
    this.#show();
  }

  focusChosen() {
    (this.#list.querySelector('[aria-current]') ?? this.#search).focus();
  }

  // Reads everyone anew; how many messages are unread.
  async refresh() {
    const conversations = new Map((await this.#store.conversations()).map((of) => [of.peer, of]));
    const unsent = new Map((await this.#store.unsent()).map((of) => [of.peer, of]));
    // Also those to whom nothing has gone yet: what waits for them, or was refused, is to be found again.
    const strangers = [...new Map([...unsent, ...conversations]).values()].filter(({ peer }) => !this.#roster.isContact(peer));
    const people = [...this.#roster.contacts, ...strangers.map(({ peer, nick }) => this.#roster.person(peer, nick))];
    this.#people = people
      .map((person) => ({ ...person, ...pick(conversations.get(person.uid)), isWaiting: unsent.has(person.uid) }))
      .sort((one, other) => (other.last?.n ?? 0) - (one.last?.n ?? 0));
    this.#show();
    return this.#people.reduce((sum, { unread }) => sum + unread, 0);
  }

  #show() {
    const wanted = this.#search.value.trim();
    const key = wanted.toLocaleLowerCase();
    const matches = ({ uid, nick }) => uid.toLocaleLowerCase().includes(key) || nick.toLocaleLowerCase().includes(key);
    const shown = this.#people.filter(matches);
    const lines = shown.map((person) => this.#line(person));
    if (shown.length === 0) lines.push(h('li', { class: 'hint' }, t(wanted ? 'noMatches' : 'noContacts')));
    if (wanted && !this.#people.some(({ uid }) => uid === wanted)) lines.push(this.#findLine(wanted));
    this.#lay(lines);
  }

  // Moves only what has to be moved: what a finger or the focus is on stays where it is.
  #lay(lines) {
    const focused = document.activeElement;
    const wanted = new Set(lines);
    for (const line of [...this.#list.children]) if (!wanted.has(line)) line.remove();
    for (const [i, line] of lines.entries()) {
      if (this.#list.children[i] !== line) this.#list.insertBefore(line, this.#list.children[i] ?? null);
    }
    if (this.#list.contains(focused)) focused.focus();
  }

  #findLine(uid) {
    const find = () => this.#find(uid);
    return h('li', {}, h('button', { type: 'button', class: 'find', onclick: find }, icon('search'), h('span', {}, t('findUser', { uid }))));
  }

  // The line of a person. It stays the same when it shows something else, so that no click on it is lost.
  #line(person) {
    const { uid, nick, picture, unread, last, isWaiting } = person;
    const isChosen = uid === this.#chosen;
    const shows = JSON.stringify([nick, picture, unread, last, isWaiting, isChosen]);
    const before = this.#lines.get(uid);
    if (before?.shows === shows) return before.element;
    const open = () => this.#open(this.#lines.get(uid).person);
    const element = before?.element ?? h('li', {}, h('button', { type: 'button', onclick: open }));
    const button = element.firstChild;
    if (isChosen) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
    button.replaceChildren(...parts(person));
    this.#lines.set(uid, { element, shows, person });
    return element;
  }

  #searchKey(event) {
    if (event.key === 'ArrowDown') this.#list.querySelector('button')?.focus();
    else if (event.key === 'Enter') (this.#list.querySelector('.find') ?? this.#list.querySelector('button'))?.click();
    else if (event.key === 'Escape') this.clearSearch();
    else return;
    event.preventDefault();
  }

  #listKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const buttons = [...this.#list.querySelectorAll('button')];
    const next = buttons.indexOf(document.activeElement) + steps[event.key];
    if (next < 0) this.#search.focus();
    else buttons[next]?.focus();
  }
}

const pick = (conversation) => ({ unread: conversation?.unread ?? 0, last: conversation?.last });

function parts(person) {
  const { nick, unread, last } = person;
  const count = unread > 0 && h('span', { class: 'count' }, h('span', { 'aria-hidden': 'true' }, String(unread)), h('span', { class: 'unseen' }, t('unread', { count: unread })));
  return [
    avatar(person),
    h('span', { class: 'lines' },
      h('span', {}, h('bdi', { class: 'nick' }, nick), last && h('time', {}, when(last.time))),
      h('span', {}, h('span', { class: 'last' }, preview(person)), count)),
  ];
}

function preview({ uid, last, isWaiting }) {
  if (isWaiting) return t('draft');
  if (!last) return uid;
  const text = last.text || (last.attach?.type.startsWith('image/') ? t('picture') : last.attach?.name) || t('invisible');
  return h('bdi', {}, `${last.isOwn ? t('you') : ''}${text}`);
}
