// Elements. Whatever text comes from others goes through here, and becomes text, never markup.

const SVG = 'http://www.w3.org/2000/svg';

// `h('button', { class: 'primary', onclick: send }, 'Send')`: a property that begins with `on` is a listener, `false` and
// `undefined` leave an attribute away, `true` sets it empty.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value' || key === 'hidden') element[key] = value;
    else if (value !== false && value !== undefined) element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  attach: 'M8.5 12.5l6-6a3 3 0 0 1 4.2 4.2l-8 8a5 5 0 0 1-7-7l7.5-7.5',
  back: 'M15 5l-7 7 7 7',
  close: 'M6 6l12 12M18 6L6 18',
  down: 'M12 5v14M6 13l6 6 6-6',
  file: 'M7 3h7l5 5v13H7zM14 3v5h5',
  import: 'M12 4v10M8 10l4 4 4-4M5 18h14',
  more: 'M12 6v.01M12 12v.01M12 18v.01',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L20 20',
  send: 'M5 12h14M13 6l6 6-6 6',
  sent: 'M5 12.5l4.5 4.5L19 7.5',
  talk: 'M5 5h14v10h-8l-4 4v-4H5z',
  waiting: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2',
};

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', 'icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

// A button with a picture and no text, which a screen reader names.
export function iconButton(name, label, attributes) {
  return h('button', { type: 'button', class: 'quiet', 'aria-label': label, title: label, ...attributes }, icon(name));
}

let fields = 0;

// An input below its label.
export function field(label, attributes, hint) {
  fields += 1;
  const id = `field-${fields}`;
  const described = hint ? `${id}-hint` : undefined;
  const input = h('input', { id, 'aria-describedby': described, ...attributes });
  const line = h('div', { class: 'field' }, h('label', { for: id }, label), input);
  if (hint) line.append(h('p', { id: described, class: 'hint' }, hint));
  return { line, input };
}
