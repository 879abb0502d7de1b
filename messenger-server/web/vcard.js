// Whom an address book names: vCard 2.1, 3 and 4, as telephones and mail programs write them.

const PARTS = /^(?:[\w-]+\.)?(FN|N|TEL|EMAIL)(?=[;:])/i;
// Numbers and addresses of one card. A field of the server holds several addresses, but only one number.
const MOST = 8;
const LONGEST_LINE = 4_000;

// `{ name, phone, email }` for each number and address. What cannot be read is left out, and the rest goes on.
export async function entriesOf(bytes) {
  const { default: ical } = await import('./vendor/ical/ical.min.js');
  const cards = unfolded(bytes).split(/^BEGIN:VCARD\s*$/im).slice(1);
  return cards.flatMap((card) => entries(card.split('\n').flatMap((line) => property(line, ical))));
}

// One line a property: lines that are folded end with `=` in quoted-printable text and go on behind a space elsewhere.
// Each byte is a character until the property's charset is known.
function unfolded(bytes) {
  const isWide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  const utf8 = isWide ? new TextEncoder().encode(new TextDecoder(bytes[0] === 0xff ? 'utf-16le' : 'utf-16be').decode(bytes)) : bytes;
  const text = new TextDecoder('latin1').decode(utf8).replace(/^\xef\xbb\xbf/, '').replace(/\r\n?/g, '\n');
  const quoted = /^[^:\n]*QUOTED-PRINTABLE[^:\n]*:(?:.*=\n)*.*$/gim;
  return text.replace(quoted, (lines) => lines.replace(/=\n[ \t]?/g, '')).replace(/\n[ \t]/g, '');
}

function property(line, ical) {
  if (line.length > LONGEST_LINE || !PARTS.test(line)) return [];
  const colon = line.search(/:(?=(?:[^"]*"[^"]*")*[^"]*$)/);
  const head = line.slice(0, colon);
  const isQuoted = /QUOTED-PRINTABLE/i.test(head);
  const value = isQuoted ? escaped(quotedPrintable(line.slice(colon + 1))) : line.slice(colon + 1);
  try {
    const [name, , , ...values] = ical.parse.property(`${modern(head)}:${decoded(value, head)}`, ical.design.vcard);
    return [[name, values.flat(2).join(' ').trim()]];
  } catch {
    return [];
  }
}

// Version 2.1 has parameters without names: `TEL;CELL;PREF`.
function modern(head) {
  const [name, ...parameters] = head.split(';');
  const kept = parameters.filter((parameter) => !/^(?:CHARSET|ENCODING|VALUE|QUOTED-PRINTABLE|BASE64)\b/i.test(parameter));
  return [name, ...kept.map((parameter) => (parameter.includes('=') ? parameter : `TYPE=${parameter}`))].join(';');
}

const quotedPrintable = (text) => text.replace(/=([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));

const escaped = (text) => text.replace(/\r?\n/g, ' ').replace(/[\\,]/g, '\\$&');

// Bytes as text: of the charset that is named, or UTF-8, or what Windows wrote.
function decoded(value, head) {
  const bytes = Uint8Array.from(value, (char) => char.codePointAt(0));
  const named = /CHARSET="?([\w-]+)/i.exec(head)?.[1] ?? 'utf-8';
  for (const charset of [named, 'windows-1252']) {
    try {
      return new TextDecoder(charset, { fatal: true }).decode(bytes);
    } catch {
      // The next one reads anything.
    }
  }
  return value;
}

function entries(properties) {
  const all = (name) => properties.filter(([of, value]) => of === name && value).map(([, value]) => value);
  const name = (all('fn')[0] ?? all('n')[0] ?? '').slice(0, 100);
  const phones = all('tel').map((value) => value.replace(/^tel:/i, '').replace(/;.*$/, '').slice(0, 32)).slice(0, MOST);
  const emails = all('email').map((value) => value.replace(/^mailto:/i, '').slice(0, 254)).slice(0, MOST);
  return Array.from({ length: Math.max(phones.length, emails.length) }, (_, i) => ({
    name,
    phone: phones[i] ?? '',
    email: emails[i] ?? '',
  }));
}
