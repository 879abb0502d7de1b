// Where a message is written, and files are attached: chosen, pasted or dropped.

import { LARGEST, chosen } from './attachments.js';
import { toast } from './dialogs.js';
import { size, t } from './i18n.js';
import { h, icon, iconButton } from './markup.js';
import { isVisible } from './visible.js';

const LONGEST_TEXT = 64 * 1024;

// What `uid` began to write to `peer` stays in the tab until it is sent, also when the page is loaded anew. `send` is told text
// and attachment. `zone` is where files may be dropped.
export function composer({ uid, peer }, send, zone) {
  const draft = `messenger.draft:${JSON.stringify([uid, peer])}`;
  let files = [];
  const text = h('textarea', { rows: 1, 'aria-label': t('write'), placeholder: t('write'), dir: 'auto', oninput: typed, onkeydown: keyed, onpaste: pasted });
  text.value = sessionStorage.getItem(draft) ?? '';
  const staged = h('ul', { class: 'staged', 'aria-label': t('attached'), hidden: true });
  const input = h('input', { type: 'file', multiple: true, hidden: true, tabindex: '-1', 'aria-hidden': 'true', onchange: picked });
  const attach = iconButton('attach', t('attach'), { onclick: () => input.click() });
  const submit = h('button', { class: 'send', 'aria-label': t('send'), title: t('send') }, icon('send'));
  const form = h('form', { class: 'composer', onsubmit: submitted }, staged, input, attach, text, submit);

  function typed() {
    keep();
    text.rows = Math.min(8, text.value.split('\n', 8).length);
  }

  function keep() {
    try {
      if (text.value) sessionStorage.setItem(draft, text.value);
      else sessionStorage.removeItem(draft);
    } catch {
      // There is no room for it: it stays only as long as it is seen.
    }
  }

  function keyed(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  }

  async function submitted(event) {
    event.preventDefault();
    const body = isVisible(text.value) ? text.value : '';
    const bytes = new Blob([body]).size;
    if (bytes > LONGEST_TEXT) return toast(t('tooLong', { size: size(bytes) }));
    if (!body && files.length === 0) return;
    const [first, ...others] = files;
    files = [];
    text.value = '';
    typed();
    show();
    text.focus();
    await send(body, first);
    for (const file of others) await send('', file);
  }

  async function take(list) {
    for (const file of list) {
      const name = file.name || t('picture');
      if (file.size === 0) toast(t('emptyFile', { name }));
      else if (file.size > LARGEST) toast(t('tooLarge', { name, limit: size(LARGEST) }));
      else await chosen(file).then((attachment) => files.push(attachment), () => toast(t('unreadable', { name })));
    }
    show();
    text.focus();
  }

  function show() {
    staged.hidden = files.length === 0;
    staged.replaceChildren(...files.map((file) => {
      const remove = () => {
        files = files.filter((other) => other !== file);
        show();
        text.focus();
      };
      return h('li', {}, h('bdi', {}, file.name), h('span', { class: 'size' }, size(file.blob.size)),
        iconButton('close', t('removeFile', { name: file.name }), { onclick: remove }));
    }));
  }

  function picked() {
    take([...input.files]);
    input.value = '';
  }

  function pasted(event) {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    take([...event.clipboardData.files]);
  }

  const isFiles = (event) => event.dataTransfer?.types.includes('Files');
  zone.ondragover = (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    zone.classList.add('dropping');
  };
  zone.ondragleave = (event) => zone.contains(event.relatedTarget) || zone.classList.remove('dropping');
  zone.ondrop = (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    zone.classList.remove('dropping');
    take([...event.dataTransfer.files]);
  };
  typed();
  return { form, focus: () => text.focus() };
}
