// The page's language: Russian or English, as the browser has it or as was chosen.

import en from './words/en.js';
import ru from './words/ru.js';

const LANGUAGES = { en, ru };
const KEY = 'messenger.language';

function usual() {
  const wanted = navigator.languages.map((language) => language.slice(0, 2));
  return wanted.find((language) => language in LANGUAGES) ?? 'en';
}

const chosen = localStorage.getItem(KEY);
export const language = chosen in LANGUAGES ? chosen : usual();
const words = LANGUAGES[language];
const plurals = new Intl.PluralRules(language);

// A sentence, with its `{gaps}` filled. One that depends on a `count` has a form for each plural.
export function t(key, gaps = {}) {
  let sentence = words[key] ?? en[key];
  if (typeof sentence === 'object') sentence = sentence[plurals.select(gaps.count)] ?? sentence.other;
  return sentence.replace(/\{(\w+)\}/g, (gap, name) => gaps[name] ?? gap);
}

export function has(key) {
  return key in en;
}

export function choose(other) {
  localStorage.setItem(KEY, other);
  location.reload();
}

const CLOCK = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'long', year: 'numeric' });
const SHORT_DAY = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short' });

export const clock = (time) => CLOCK.format(time * 1000);
export const day = (time) => DAY.format(time * 1000);

// What stands beside a conversation: today's have the clock, older ones the day.
export function when(time) {
  return day(time) === day(Date.now() / 1000) ? clock(time) : SHORT_DAY.format(time * 1000);
}

export function size(bytes) {
  const units = [[1024 * 1024, 'megabyte'], [1024, 'kilobyte'], [1, 'byte']];
  const [unit, name] = units.find(([unit]) => bytes >= unit) ?? [1, 'byte'];
  const unitDisplay = unit === 1 ? 'long' : 'short';
  const format = { style: 'unit', unit: name, unitDisplay, maximumFractionDigits: bytes / unit < 10 ? 1 : 0 };
  return new Intl.NumberFormat(language, format).format(bytes / unit);
}
