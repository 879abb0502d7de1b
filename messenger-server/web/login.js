// The view of whoever is not logged in.

import { Connection } from './connection.js';
import { Lost } from './failures.js';
import { choose, language, t } from './i18n.js';
import { field, h } from './markup.js';
import { md5Of } from './password.js';
import * as session from './session.js';

const PATIENCE = 10_000;

// Calls back when a session was begun and kept.
export function showLogin(notice, begun) {
  let isNew = false;
  const login = field(t('login'), { name: 'login', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true, maxlength: 64 }, t('loginHint'));
  const nick = field(t('nick'), { name: 'nick', autocomplete: 'nickname', maxlength: 64 }, t('nickHint'));
  const pass = field(t('password'), { name: 'pass', type: 'password', required: true });
  const failure = h('p', { class: 'failure', role: 'alert' });
  const submit = h('button', { class: 'primary' });
  const other = h('button', { type: 'button', class: 'link', onclick: () => turn(!isNew) });
  const heading = h('h2');
  const form = h('form', { onsubmit: send, novalidate: true }, heading, login.line, nick.line, pass.line, failure, submit, other);

  function turn(toNew) {
    isNew = toNew;
    nick.line.hidden = !isNew;
    login.line.querySelector('.hint').hidden = !isNew;
    pass.input.autocomplete = isNew ? 'new-password' : 'current-password';
    heading.textContent = t(isNew ? 'register' : 'logIn');
    submit.textContent = t(isNew ? 'register' : 'logIn');
    other.textContent = t(isNew ? 'toLogIn' : 'toRegister');
    failure.textContent = '';
  }

  async function send(event) {
    event.preventDefault();
    if (submit.disabled) return;
    // Keyboards of telephones put a space behind a word.
    for (const { input } of [login, nick]) input.value = input.value.trim();
    const empty = [login, ...(isNew ? [nick] : []), pass].find(({ input }) => !input.value);
    if (empty) {
      failure.textContent = t('status4');
      empty.input.focus();
      return;
    }
    submit.disabled = true;
    submit.textContent = t('working');
    try {
      session.keep(await begin(login.input.value, pass.input.value, isNew && nick.input.value));
      begun();
    } catch (error) {
      turn(isNew);
      failure.textContent = error.message;
    } finally {
      submit.disabled = false;
    }
  }

  turn(false);
  document.title = t('title');
  document.body.className = 'outside';
  document.body.replaceChildren(
    h('main', { class: 'login' },
      h('header', {}, h('span', { class: 'logo', 'aria-hidden': 'true' }), h('h1', {}, t('title')), h('p', {}, t('tagline'))),
      notice && h('p', { class: 'notice', role: 'status' }, notice),
      form,
      location.protocol === 'http:' && !isLocal() && h('p', { class: 'notice' }, t('plainHttp')),
      languages()),
  );
  login.input.focus();
}

const isLocal = () => ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);

function languages() {
  const option = (code, name) => h('option', { value: code, lang: code, selected: code === language }, name);
  const select = h('select', { id: 'language', onchange: () => choose(select.value) }, option('en', 'English'), option('ru', 'Русский'));
  return h('p', { class: 'languages' }, h('label', { for: 'language' }, t('language')), select);
}

// A session, begun on a connection of its own. What waits there comes again when the session is resumed, because nothing
// was acknowledged.
async function begin(login, typed, nick) {
  const pass = await md5Of(typed);
  const connection = new Connection();
  try {
    await online(connection);
    if (nick !== false) await connection.request('register', { login, pass, nick });
    return await connection.request('auth', { login, pass, features: ['ack'] });
  } finally {
    connection.stop();
  }
}

function online(connection) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(t('slow'))), PATIENCE);
    connection.addEventListener('state', () => {
      if (connection.state.name === 'online') resolve();
      else if (connection.state.name === 'offline') reject(new Lost());
      else return;
      clearTimeout(late);
    });
    connection.start();
  });
}
