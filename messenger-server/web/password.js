// What is sent for a password: its MD5 in hexadecimal digits, as clients of this protocol do. It hides nothing from
// whoever listens; TLS does.

export async function md5Of(typed) {
  const { md5 } = await import('./vendor/noble-hashes/legacy.js');
  const digest = md5(new TextEncoder().encode(typed));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
