-- Version 4. A user has a number, which tells the user from others who have had the login. Messages are missing between others in an
-- inbox, so that they are counted.

CREATE TABLE users_by_number (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again
    login       TEXT NOT NULL UNIQUE,
    nick        TEXT NOT NULL,
    pass_hash   TEXT,                       -- Argon2id; none when the account is kept elsewhere
    email       TEXT NOT NULL DEFAULT '',   -- as the user wrote it
    phone       TEXT NOT NULL DEFAULT '',
    user_status TEXT NOT NULL DEFAULT '',
    email_key   TEXT,                       -- as it is compared
    phone_key   TEXT,
    picture     TEXT NOT NULL DEFAULT ''    -- base64
) STRICT;
INSERT INTO users_by_number (login, nick, pass_hash, email, phone, user_status, email_key, phone_key, picture)
SELECT login, nick, pass_hash, email, phone, user_status, email_key, phone_key, picture FROM users ORDER BY login;
DROP TABLE users;
ALTER TABLE users_by_number RENAME TO users;
CREATE UNIQUE INDEX account_nicks ON users (nick) WHERE pass_hash IS NOT NULL;
CREATE INDEX users_by_email ON users (email_key) WHERE email_key IS NOT NULL;
CREATE INDEX users_by_phone ON users (phone_key) WHERE phone_key IS NOT NULL;

ALTER TABLE inboxes ADD COLUMN kept    /* how many messages are kept, as far as newest */ INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inboxes ADD COLUMN waiting /* how many of them no session was given */ INTEGER NOT NULL DEFAULT 0;
UPDATE inboxes SET kept = newest - oldest + 1, waiting = newest - max(given, oldest - 1);
