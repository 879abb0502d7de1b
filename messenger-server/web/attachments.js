// Files: base64 as the wire has them, and which of them are pictures. Only what begins as a picture of a known kind is
// shown; everything else, whatever it calls itself, is a download and never runs.

const PICTURES = {
  'image/png': [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
  'image/jpeg': [0xff, 0xd8, 0xff],
  'image/gif': [0x47, 0x49, 0x46, 0x38],
};
const OTHER = 'application/octet-stream';

// The frame's limit of 16 MiB, less what stands around the data and the text, in bytes before base64.
export const LARGEST = Math.floor(((16 * 1024 - 512) * 1024 * 3) / 4);
// 255 characters may be on the wire.
const LONGEST_NAME = 100;

const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

// `image/png` and the like, or `application/octet-stream`.
export function typeOf(bytes) {
  const known = Object.entries(PICTURES).find(([, magic]) => magic.every((byte, i) => bytes[i] === byte));
  if (known) return known[0];
  return text(bytes, 0, 4) === 'RIFF' && text(bytes, 8, 12) === 'WEBP' ? 'image/webp' : OTHER;
}

export const isPicture = (attach) => attach.type !== OTHER;

export function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

export async function base64Of(blob) {
  const reader = new FileReader();
  await new Promise((resolve, reject) => {
    reader.onload = resolve;
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(',') + 1);
}

// What is kept of an attachment of the wire; `undefined` when there is none. What is no base64 is kept as it is.
export function received({ mime, data }) {
  if (!data) return undefined;
  let bytes;
  try {
    bytes = bytesOf(data);
  } catch {
    bytes = new TextEncoder().encode(data);
  }
  const type = typeOf(bytes);
  return { type, name: nameIn(mime) ?? usualName(mime, type), blob: new Blob([bytes], { type }) };
}

// What is kept of a file that is to be sent.
export async function chosen(file) {
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const type = typeOf(head);
  const name = file.name || usualName(file.type, type);
  return { type, name, mime: mimeOf(file, type), blob: file.slice(0, file.size, type) };
}

// A picture is `image/png`, as all clients know it; a file has its name as the parameter `name`.
function mimeOf(file, type) {
  if (type !== OTHER) return type;
  const mime = /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(file.type) ? file.type : OTHER;
  const name = file.name.replace(/["\\\p{Cc}]/gu, '_').slice(-LONGEST_NAME);
  return name ? `${mime}; name="${name}"` : mime;
}

function nameIn(mime) {
  const name = /;\s*name="([^"]+)"/i.exec(mime)?.[1];
  return name?.replace(/[/\\\p{Cc}\p{Cf}]/gu, '_');
}

function usualName(mime, type) {
  const ending = /\/([a-z0-9]{1,8})(?:$|[;+\s])/i.exec(type === OTHER ? mime : type)?.[1];
  return ending ? `file.${ending === 'plain' ? 'txt' : ending}` : 'file';
}
