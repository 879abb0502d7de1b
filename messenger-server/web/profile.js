// The own profile, with its picture.

import { base64Of, bytesOf, isPicture, typeOf } from './attachments.js';
import { avatar } from './avatar.js';
import { attempt, fileButton, openDialog, toast } from './dialogs.js';
import { choose, language, t } from './i18n.js';
import { field, h } from './markup.js';

// A picture is cut to a square of so many pixels.
const SIDE = 256;

export function showProfile({ roster, profile, logOut }) {
  let picture = profile.picture ?? '';
  const status = field(t('status'), { value: profile.status ?? '', maxlength: 1024, dir: 'auto' });
  const email = field(t('email'), { value: profile.email ?? '', type: 'email', maxlength: 254, autocomplete: 'email' }, t('addressHint'));
  const phone = field(t('phone'), { value: profile.phone ?? '', type: 'tel', maxlength: 32, autocomplete: 'tel' }, t('addressHint'));
  const shown = h('div', { class: 'card' });
  const remove = h('button', { type: 'button', class: 'link', onclick: () => show('') }, t('removePicture'));
  const save = h('button', { class: 'primary' }, t('save'));
  const leave = h('button', { type: 'button', class: 'danger', onclick: () => confirm(t('logOutSure')) && attempt(leave, logOut) }, t('logOut'));
  const tongue = h('select', { id: 'tongue', onchange: () => choose(tongue.value) },
    ...[['en', 'English'], ['ru', 'Русский']].map(([code, name]) => h('option', { value: code, lang: code, selected: code === language }, name)));
  const form = h('form', { onsubmit: send }, status.line, email.line, phone.line,
    h('p', { class: 'languages' }, h('label', { for: 'tongue' }, t('language')), tongue), h('footer', {}, leave, save));

  function show(now) {
    picture = now;
    remove.hidden = !picture;
    shown.replaceChildren(avatar({ ...profile, picture }, 'large'), h('div', {},
      h('p', {}, h('bdi', {}, profile.nick), ' ', h('bdi', { class: 'hint' }, profile.uid)),
      fileButton(t('choosePicture'), 'image/*', (file) => attempt(null, async () => show(await squared(file)))), remove));
  }

  function send(event) {
    event.preventDefault();
    return attempt(save, async () => {
      await roster.setProfile({ status: status.input.value, email: email.input.value, phone: phone.input.value, picture });
      dialog.close();
      toast(t('saved'));
    });
  }

  show(picture);
  const dialog = openDialog(t('profile'), shown, form);
}

// The middle of a picture, as base64 text of a small JPEG.
async function squared(file) {
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  if (!isPicture({ type: typeOf(head) })) throw new Error(t('notAPicture'));
  const image = await createImageBitmap(file).catch(() => { throw new Error(t('notAPicture')); });
  const side = Math.min(image.width, image.height);
  const canvas = h('canvas', { width: SIDE, height: SIDE });
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, SIDE, SIDE);
  context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
  return base64Of(blob);
}
