// Dialogs, and short messages that go by themselves.

import { h, iconButton } from './markup.js';
import { t } from './i18n.js';

const SHOWN_FOR = 6_000;
let titles = 0;

// Opens a dialog, which Escape closes; it is gone from the page afterwards, and the focus is where it was.
export function openDialog(title, ...content) {
  titles += 1;
  const id = `dialog-${titles}`;
  const close = iconButton('close', t('close'), { onclick: () => dialog.close() });
  const head = h('header', {}, h('h2', { id }, title), close);
  const dialog = h('dialog', { 'aria-labelledby': id, onclose: () => dialog.remove() }, head, ...content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const toasts = h('div', { class: 'toasts', role: 'status' });

export function toast(sentence) {
  // Above a dialog as well.
  (document.querySelector('dialog[open]') ?? document.body).append(toasts);
  const shown = h('p', {}, sentence);
  toasts.replaceChildren(shown);
  setTimeout(() => shown.remove(), SHOWN_FOR);
}

// Does something that may fail, and says so; meanwhile the button cannot be pressed again.
export async function attempt(button, work) {
  if (button?.getAttribute('aria-busy') === 'true') return;
  button?.setAttribute('aria-busy', 'true');
  try {
    await work();
  } catch (error) {
    toast(error.message);
  } finally {
    button?.removeAttribute('aria-busy');
  }
}

// A button that asks for a file.
export function fileButton(label, accept, chosen) {
  const input = h('input', { type: 'file', accept, hidden: true, tabindex: '-1', 'aria-hidden': 'true' });
  input.addEventListener('change', () => {
    const [file] = input.files;
    input.value = '';
    if (file) chosen(file);
  });
  const button = h('button', { type: 'button', onclick: () => input.click() }, label);
  return h('span', {}, button, input);
}
