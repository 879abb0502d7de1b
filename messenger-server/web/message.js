// One message as it is shown.

import { isPicture } from './attachments.js';
import { clock, size, t } from './i18n.js';
import { h, icon } from './markup.js';
import { isVisible } from './visible.js';

// Longer texts begin collapsed, so that one message is no wall.
const MANY_CHARACTERS = 1_500;
const MANY_LINES = 24;

// `state` is what stands beside the time of an own message.
export function showMessage({ isOwn, nick, body, time, attach }, author, state) {
  const who = h('span', { class: 'unseen' }, `${isOwn ? t('own') : author || nick}: `);
  const at = h('time', { datetime: new Date(time * 1000).toISOString() }, clock(time));
  const bubble = h('div', { class: 'bubble' }, who, attach && showAttachment(attach, nick), showBody(body, attach));
  bubble.append(h('p', { class: 'beside' }, at, state));
  return h('li', { class: isOwn ? 'message own' : 'message' }, bubble);
}

export const sentMark = () => h('span', { role: 'img', 'aria-label': t('sent') }, icon('sent'));

function showBody(body, attach) {
  if (isVisible(body)) return body !== attach?.name && showText(body);
  return !attach && h('p', { class: 'hint' }, t('invisible'));
}

function showText(body) {
  const text = h('p', { class: 'text', dir: 'auto' });
  const start = beginning(body);
  if (start === body) {
    text.textContent = body;
    return text;
  }
  const toggle = h('button', { type: 'button', class: 'link', 'aria-expanded': 'false' });
  const show = (isWhole) => {
    text.textContent = isWhole ? body : `${start}…`;
    toggle.textContent = isWhole ? t('showLess') : t('showAll', { size: size(new Blob([body]).size) });
    toggle.setAttribute('aria-expanded', String(isWhole));
  };
  toggle.addEventListener('click', () => show(toggle.getAttribute('aria-expanded') === 'false'));
  show(false);
  return h('div', {}, text, toggle);
}

function beginning(body) {
  let end = body.length > MANY_CHARACTERS ? MANY_CHARACTERS : body.length;
  let at = -1;
  for (let line = 0; line < MANY_LINES; line += 1) {
    at = body.indexOf('\n', at + 1);
    if (at === -1) break;
  }
  if (at !== -1 && at < end) end = at;
  if (end === body.length) return body;
  // Not within a character of two halves.
  return body.slice(0, end).replace(/[\ud800-\udbff]$/, '');
}

function showAttachment(attach, nick) {
  const address = URL.createObjectURL(attach.blob);
  return isPicture(attach) ? showPicture(address, attach, nick) : showFile(address, attach);
}

function showPicture(address, attach, nick) {
  const picture = h('img', { src: address, alt: t('pictureOf', { nick: nick || t('own') }), decoding: 'async' });
  const link = h('a', { class: 'picture', href: address, target: '_blank', rel: 'noopener' }, picture);
  // It begins as a picture, but is none.
  picture.addEventListener('error', () => link.replaceWith(showFile(address, attach)));
  return link;
}

function showFile(address, { name, blob }) {
  const what = h('span', {}, h('span', { class: 'unseen' }, t('download')), h('bdi', { class: 'name' }, name), h('span', { class: 'size' }, size(blob.size)));
  return h('a', { class: 'file', href: address, download: name }, icon('file'), what);
}

// Gives back what a message that is shown no more held.
export function release(element) {
  for (const held of element.querySelectorAll('a[href^="blob:"]')) URL.revokeObjectURL(held.href);
}
