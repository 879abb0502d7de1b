// The session of this browser: which user, and the secret with which it is resumed. All tabs share it. The password is
// never kept.

const KEY = 'messenger.session';

export function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function keep({ uid, sid, nick }) {
  localStorage.setItem(KEY, JSON.stringify({ uid, sid, nick }));
}

export function forget() {
  localStorage.removeItem(KEY);
}

// Calls back when another tab has logged in or out.
export function onChangeElsewhere(changed) {
  addEventListener('storage', (event) => event.key === KEY && changed());
}
