// Looks for the people of an address book.

import { avatar } from './avatar.js';
import { attempt, fileButton, openDialog } from './dialogs.js';
import { t } from './i18n.js';
import { h } from './markup.js';
import { entriesOf } from './vcard.js';

const MOST_ENTRIES = 5_000;

export function showImport(roster) {
  const result = h('div', { class: 'result', 'aria-live': 'polite' });
  const button = fileButton(t('chooseFile'), '.vcf,.vcard,text/vcard,text/x-vcard', (file) => attempt(null, () => look(file)));
  openDialog(t('importTitle'), h('p', { class: 'hint' }, t('importHint')), button, result);

  async function look(file) {
    result.replaceChildren(h('p', {}, t('working')));
    try {
      const entries = await entriesOf(new Uint8Array(await file.arrayBuffer()));
      result.replaceChildren(...(entries.length > 0 ? await found(entries) : [h('p', {}, t('noCards'))]));
    } catch (error) {
      result.replaceChildren();
      throw error;
    }
  }

  async function found(entries) {
    const people = await roster.find(entries.slice(0, MOST_ENTRIES));
    const isCut = entries.length > MOST_ENTRIES;
    const looked = isCut ? t('tooManyCards', { limit: MOST_ENTRIES }) : t('looked', { count: entries.length });
    if (people.length === 0) return [h('p', {}, looked, ' ', t('nobodyFound'))];
    const lines = people.map((person) => line(roster, person));
    const all = h('button', { type: 'button', class: 'primary', onclick: () => attempt(all, addAll) }, t('addAll'));
    const addAll = async () => {
      for (const { add } of lines) await add();
      all.hidden = true;
    };
    return [
      h('p', {}, looked, ' ', t('found', { count: people.length })),
      h('ul', { class: 'found' }, ...lines.map(({ element }) => element)),
      h('footer', {}, all),
    ];
  }
}

function line(roster, person) {
  const button = h('button', { type: 'button', onclick: () => attempt(button, add) });
  const element = h('li', {}, avatar(person), h('span', {}, h('bdi', {}, person.nick), ' ', h('bdi', { class: 'hint' }, person.uid)), button);

  async function add() {
    if (!roster.isContact(person.uid)) await roster.add(person.uid);
    show();
  }

  function show() {
    button.disabled = roster.isContact(person.uid);
    button.textContent = t(button.disabled ? 'isContact' : 'add');
  }

  show();
  return { element, add };
}
