// What is known of somebody, and whether they are a contact.

import { avatar } from './avatar.js';
import { attempt, openDialog, toast } from './dialogs.js';
import { t } from './i18n.js';
import { h } from './markup.js';

export function showPerson({ roster, person, open }) {
  const { uid, nick, email, phone, status } = person;
  const write = h('button', { type: 'button', class: 'primary', autofocus: true, onclick: () => { dialog.close(); open(person); } }, t('writeTo'));
  const change = h('button', { type: 'button', onclick: () => attempt(change, changed) });
  const dialog = openDialog(nick || uid,
    h('div', { class: 'card' }, avatar(person, 'large'), h('p', { class: 'text', dir: 'auto' }, status || t('noStatus'))),
    h('dl', {}, ...line(t('login'), uid), ...line(t('email'), email), ...line(t('phone'), phone)),
    h('footer', {}, change, write));

  function show() {
    change.textContent = t(roster.isContact(uid) ? 'removeContact' : 'addContact');
  }

  async function changed() {
    const isContact = roster.isContact(uid);
    await (isContact ? roster.remove(uid) : roster.add(uid));
    toast(t(isContact ? 'removed' : 'added', { nick: nick || uid }));
    show();
  }

  show();
}

function line(label, value) {
  return value ? [h('dt', {}, label), h('dd', {}, h('bdi', {}, value))] : [];
}
