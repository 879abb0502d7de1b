// Begins: whoever has a session sees the conversations, whoever has none logs in.

import { showChat } from './chat.js';
import { language, t } from './i18n.js';
import { showLogin } from './login.js';
import * as session from './session.js';
import { openStore } from './store.js';

const NOTICE = 'messenger.notice';

document.documentElement.lang = language;

async function begin(notice) {
  const user = session.read();
  if (!user) return showLogin(notice, begin);
  let store;
  try {
    store = await openStore(user.uid);
  } catch {
    return showLogin(t('noStorage'), begin);
  }
  return showChat(user, store, ended);
}

// The server has ended the session; what was kept stays for the next one. A page that is loaded anew holds nothing of it.
function ended() {
  session.forget();
  sessionStorage.setItem(NOTICE, 'sessionEnded');
  location.reload();
}

// One tab logs in or out, and all do; who is out leaves nothing half-written.
session.onChangeElsewhere(() => {
  if (!session.read()) sessionStorage.clear();
  location.reload();
});
const notice = sessionStorage.getItem(NOTICE);
sessionStorage.removeItem(NOTICE);
begin(notice && t(notice));
