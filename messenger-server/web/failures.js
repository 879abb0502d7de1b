// What a request fails with, in words for a person.

import { has, t } from './i18n.js';

// The server's answer had a status other than 0.
export class Refused extends Error {
  constructor(action, data) {
    const own = [`${action}${data.status}`, `status${data.status}`].find(has);
    super(t(own ?? 'failed', { reason: data.error }));
    this.status = data.status;
  }
}

// The connection ended before the answer came: whether anything was done is unknown.
export class Lost extends Error {
  constructor() {
    super(t('lost'));
  }
}
