-- Version 1. Times ending in `_us` are microseconds since 1970; `time` is in seconds, as on the wire.

CREATE TABLE users (
    login       TEXT NOT NULL PRIMARY KEY,
    nick        TEXT NOT NULL,
    pass_hash   TEXT,                       -- Argon2id; none when the account is kept elsewhere
    email       TEXT NOT NULL DEFAULT '',   -- as the user wrote it
    phone       TEXT NOT NULL DEFAULT '',
    user_status TEXT NOT NULL DEFAULT '',
    email_key   TEXT,                       -- as it is compared
    phone_key   TEXT,
    picture     TEXT NOT NULL DEFAULT ''    -- base64
) STRICT;
CREATE UNIQUE INDEX account_nicks ON users (nick) WHERE pass_hash IS NOT NULL;
CREATE INDEX users_by_email ON users (email_key) WHERE email_key IS NOT NULL;
CREATE INDEX users_by_phone ON users (phone_key) WHERE phone_key IS NOT NULL;

CREATE TABLE contacts (
    number  INTEGER PRIMARY KEY,            -- in the order they were added
    owner   TEXT NOT NULL,
    contact TEXT NOT NULL,
    UNIQUE (owner, contact)
) STRICT;

CREATE TABLE myids (
    owner TEXT NOT NULL,
    user  TEXT NOT NULL,
    myid  TEXT NOT NULL,                    -- what the owner's address book calls the user
    PRIMARY KEY (owner, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    user    TEXT NOT NULL,
    key     BLOB NOT NULL,                  -- SHA-256 of the session's secret
    given   INTEGER NOT NULL,               -- its watermark: messages up to this seq are delivered to it
    ack     INTEGER NOT NULL,               -- 1: the client acknowledges
    used_us INTEGER NOT NULL,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE inboxes (
    user          TEXT NOT NULL PRIMARY KEY,
    newest        INTEGER NOT NULL DEFAULT 0,  -- the seq of the newest message there ever was, or of one up to 64 before it: then messages tell
    oldest        INTEGER NOT NULL DEFAULT 1,  -- the seq of the oldest message kept, or the next to come
    oldest_time   INTEGER NOT NULL DEFAULT 0,  -- when that was accepted, or earlier
    given         INTEGER NOT NULL DEFAULT 0,  -- the highest watermark of any session, ended ones included
    given_to_all  INTEGER NOT NULL DEFAULT 0,  -- up to this seq messages are delivered to every session
    bytes         INTEGER NOT NULL DEFAULT 0,  -- of what is kept
    waiting_bytes INTEGER NOT NULL DEFAULT 0   -- of what is delivered to no session
) STRICT, WITHOUT ROWID;
CREATE INDEX inboxes_to_prune ON inboxes (user) WHERE oldest <= given_to_all;

CREATE TABLE messages (
    number     INTEGER PRIMARY KEY,         -- in the order they came, so that a commit writes few pages
    recipient  TEXT NOT NULL,
    seq        INTEGER NOT NULL,            -- its sequence number in the recipient's inbox
    id         TEXT NOT NULL,
    sender     TEXT NOT NULL,
    nick       TEXT NOT NULL,
    time       INTEGER NOT NULL,
    size       INTEGER NOT NULL,            -- bytes of body, mime and attachment; before them, to be read without them
    body       TEXT NOT NULL,
    mime       TEXT NOT NULL,
    attachment TEXT NOT NULL,               -- base64
    UNIQUE (recipient, seq)
) STRICT;

CREATE TABLE mids (
    sender  TEXT NOT NULL,
    mid     TEXT NOT NULL,                  -- the sender's own id for a message
    used_us INTEGER NOT NULL,
    id      TEXT NOT NULL,                  -- what the message was answered with
    time    INTEGER NOT NULL,
    PRIMARY KEY (sender, mid)
) STRICT, WITHOUT ROWID;
CREATE INDEX mids_by_age ON mids (used_us);
