// The people of this user: contacts as the server has them, whoever else there is a conversation with, and the own profile.

export class Roster {
  #store;
  #connection;
  #people = new Map();

  constructor(store, connection) {
    this.#store = store;
    this.#connection = connection;
  }

  async load() {
    this.#take((await this.#store.value('contacts')) ?? []);
    this.#store.addEventListener('change', async ({ detail }) => {
      if (detail.what === 'contacts') this.#take(await this.#store.value('contacts'));
    });
  }

  #take(list) {
    this.#people = new Map(list.map((person) => [person.uid, person]));
  }

  get contacts() {
    return [...this.#people.values()];
  }

  isContact(uid) {
    return this.#people.has(uid);
  }

  // Somebody with what is known of them.
  person(uid, nick) {
    return this.#people.get(uid) ?? { uid, nick: nick || uid, picture: '' };
  }

  // Asks the server for everything anew.
  async refresh() {
    const { list } = await this.#connection.request('contactlist', {});
    await this.#keep(list);
    const profile = await this.look(this.#store.uid);
    await this.#store.setValue('profile', profile);
  }

  async look(uid) {
    const { nick, email, phone, picture, user_status } = await this.#connection.request('userinfo', { user: uid });
    return { uid, nick, email, phone, picture, status: user_status };
  }

  async add(uid) {
    const { user } = await this.#connection.request('addcontact', { uid });
    await this.#keep([...this.contacts, user]);
    return user;
  }

  async remove(uid) {
    await this.#connection.request('delcontact', { uid });
    await this.#keep(this.contacts.filter((person) => person.uid !== uid));
  }

  // Who of an address book is here: `{ name, phone, email }` each.
  async find(entries) {
    const contacts = entries.map((entry, i) => ({ myid: String(i), ...entry }));
    const { list } = await this.#connection.request('import', { contacts });
    const found = new Map(list.map((person) => [person.uid, person]));
    return [...found.values()].filter((person) => person.uid !== this.#store.uid);
  }

  async setProfile({ status, email, phone, picture }) {
    await this.#connection.request('setuserinfo', { user_status: status, email, phone, picture });
    const before = await this.#store.value('profile');
    await this.#store.setValue('profile', { ...before, status, email, phone, picture });
  }

  async #keep(list) {
    this.#take(list);
    await this.#store.setValue('contacts', list);
  }
}
