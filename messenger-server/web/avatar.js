// The picture of a person, or the first letters of the name.

import { bytesOf, isPicture, typeOf } from './attachments.js';
import { h } from './markup.js';

const TONES = 6;
const MOST_KEPT = 2_000;
// Base64 text to the address of what it is. The browser decodes each picture once.
const kept = new Map();

function addressOf(picture) {
  if (!kept.has(picture)) {
    if (kept.size === MOST_KEPT) {
      const [oldest, address] = kept.entries().next().value;
      URL.revokeObjectURL(address);
      kept.delete(oldest);
    }
    kept.set(picture, read(picture));
  }
  return kept.get(picture);
}

function read(picture) {
  try {
    const bytes = bytesOf(picture);
    const type = typeOf(bytes);
    return isPicture({ type }) ? URL.createObjectURL(new Blob([bytes], { type })) : '';
  } catch {
    return '';
  }
}

function initials(name) {
  const letters = new Intl.Segmenter().segment(name.trim());
  return letters[Symbol.iterator]().next().value?.segment.toUpperCase() ?? '?';
}

function tone(uid) {
  let sum = 0;
  for (const char of uid) sum = (sum * 31 + char.codePointAt(0)) % 9973;
  return sum % TONES;
}

export function avatar({ uid, nick, picture }, size = '') {
  const address = picture && addressOf(picture);
  const shown = h('span', { class: `avatar ${size} tone-${tone(uid)}`, 'aria-hidden': 'true' });
  shown.append(address ? h('img', { src: address, alt: '', loading: 'lazy' }) : initials(nick || uid));
  return shown;
}
