// The view of whoever is logged in: people on the left, one conversation on the right, or one of both on a telephone.

import { Connection } from './connection.js';
import { Conversation } from './conversation.js';
import { attempt, toast } from './dialogs.js';
import { avatar } from './avatar.js';
import { Lost } from './failures.js';
import { t } from './i18n.js';
import { showImport } from './importing.js';
import { Inbox } from './inbox.js';
import { h, icon, iconButton } from './markup.js';
import { Outbox } from './outbox.js';
import { showPerson } from './person.js';
import { showProfile } from './profile.js';
import { Roster } from './roster.js';
import * as session from './session.js';
import { Sidebar } from './sidebar.js';
import { statusLine } from './status.js';

const ENDED = 6;

export async function showChat(user, store, ended) {
  const acknowledge = async (more) => connection.request('ack', { ...more, seq: (await store.value('seq')) ?? 0 });
  const connection = new Connection({ begin: resume, probe: acknowledge });
  const roster = new Roster(store, connection);
  const outbox = new Outbox(store, connection);
  const inbox = new Inbox(store, connection, () => status.say(t('storeFull')));
  const status = statusLine(connection);
  const sidebar = new Sidebar({ store, roster, open, find });
  const own = h('button', { type: 'button', class: 'own quiet', title: t('myProfile'), onclick: profile });
  const talk = h('div', { class: 'talk' }, nobody());
  let conversation;

  // The session goes on with an acknowledgement of what is kept here, so that nothing comes twice.
  async function resume() {
    try {
      await acknowledge({ cid: user.uid, sid: user.sid });
    } catch (error) {
      if (error.status !== ENDED) throw error;
      connection.stop();
      ended();
    }
  }

  async function open({ uid, nick }) {
    const closed = conversation;
    conversation = new Conversation({ store, outbox, roster, peer: uid, nick, back: close, about: () => find(uid) });
    closed?.close();
    talk.replaceChildren(conversation.element);
    document.body.classList.add('reading');
    sidebar.choose(uid);
    await conversation.open();
  }

  function close() {
    conversation?.close();
    conversation = undefined;
    talk.replaceChildren(nobody());
    document.body.classList.remove('reading');
    sidebar.focusChosen();
    sidebar.choose(undefined);
  }

  // Looks somebody up, and shows what is known.
  function find(uid) {
    return attempt(null, async () => {
      const person = await roster.look(uid);
      showPerson({ roster, person, open: (person) => { sidebar.clearSearch(); open(person); } });
    });
  }

  async function profile() {
    showProfile({ roster, profile: (await store.value('profile')) ?? user, logOut });
  }

  async function logOut() {
    // Without a connection the session ends by itself, a month later.
    await connection.request('logout', {}).catch((error) => { if (!(error instanceof Lost)) throw error; });
    connection.stop();
    await store.forget();
    sessionStorage.clear();
    session.forget();
    location.reload();
  }

  async function refresh() {
    const unread = await sidebar.refresh();
    document.title = unread > 0 ? `(${unread}) ${t('title')}` : t('title');
  }

  async function showOwn() {
    const profile = (await store.value('profile')) ?? user;
    own.replaceChildren(h('span', { class: 'unseen' }, `${t('myProfile')}: `), avatar(profile, 'small'), h('bdi', {}, profile.nick || user.nick));
  }

  store.addEventListener('change', async ({ detail }) => {
    if (conversation && detail.peer === conversation.peer) await conversation.changed(detail);
    if (detail.what === 'profile') await showOwn();
    else if (detail.what !== 'message') await refresh();
  });
  connection.addEventListener('state', () => {
    if (connection.state.name === 'online') roster.refresh().catch((error) => error instanceof Lost || toast(error.message));
  });
  document.addEventListener('visibilitychange', () => conversation?.read());
  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]')) return;
    if ((event.ctrlKey || event.metaKey) && event.key === 'k') sidebar.focusSearch();
    else if (event.key === 'Escape' && conversation) close();
    else return;
    event.preventDefault();
  });

  document.body.className = 'inside';
  document.body.replaceChildren(
    h('header', { class: 'top' }, h('h1', { class: 'unseen' }, t('title')), status.element),
    h('main', {},
      h('div', { class: 'side' },
        h('header', {}, own, iconButton('import', t('importBook'), { onclick: () => showImport(roster) })),
        sidebar.element),
      talk));
  await roster.load();
  await showOwn();
  await refresh();
  connection.start();
}

function nobody() {
  return h('div', { class: 'nobody' }, icon('talk'), h('h2', {}, t('pick')), h('p', {}, t('pickHint')));
}
