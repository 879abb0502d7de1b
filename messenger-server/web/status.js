// Says how it stands with the connection, while it does not stand well.

import { t } from './i18n.js';
import { h } from './markup.js';

// A connection that is there at once is not worth a word.
const QUIET = 800;

export function statusLine(connection) {
  const what = h('span', { role: 'status' });
  const next = h('span');
  const hurry = h('button', { type: 'button', class: 'link', onclick: () => connection.hurry() }, t('tryNow'));
  const element = h('div', { class: 'connection', hidden: true }, what, next, hurry);
  let timer;

  function show() {
    clearTimeout(timer);
    const { name, again } = connection.state;
    if (name === 'online') element.hidden = true;
    else if (name === 'connecting') timer = setTimeout(() => say(t('connecting')), QUIET);
    else if (name === 'offline') wait(again);
  }

  function wait(again) {
    say(t('offline'));
    hurry.hidden = false;
    const count = Math.max(0, Math.ceil((again - Date.now()) / 1000));
    next.textContent = t('nextTry', { count });
    timer = setTimeout(() => wait(again), 1_000);
  }

  function say(sentence) {
    element.hidden = false;
    // The same is not read out twice.
    if (what.textContent !== sentence) what.textContent = sentence;
    next.textContent = '';
    hurry.hidden = true;
  }

  connection.addEventListener('state', show);
  return { element, say };
}
