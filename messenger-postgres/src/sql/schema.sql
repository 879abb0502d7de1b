-- Version 1. Times ending in `_us` are microseconds since 1970; `time` is in seconds, as on the wire.
-- Texts are compared byte by byte, and written without U+0000: see text.rs.

CREATE TABLE about (
    name  text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);

CREATE TABLE users (
    no          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- given once: all else names a user by it
    login       text COLLATE "C" NOT NULL UNIQUE,
    skeleton    text COLLATE "C" NOT NULL,               -- what the login looks like
    nick        text COLLATE "C" NOT NULL,
    pass_hash   text COLLATE "C",                        -- Argon2id; none when the account is kept elsewhere
    email       text COLLATE "C" NOT NULL DEFAULT '',    -- as the user wrote it
    phone       text COLLATE "C" NOT NULL DEFAULT '',
    user_status text COLLATE "C" NOT NULL DEFAULT '',
    email_key   text COLLATE "C",                        -- as it is compared
    phone_key   text COLLATE "C",
    picture     text COLLATE "C" NOT NULL DEFAULT '',    -- base64
    ephemeral_ended bigint NOT NULL DEFAULT 0            -- how often all sessions that are kept nowhere were ended
) WITH (fillfactor = 90);
ALTER TABLE users ALTER picture SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX account_nicks ON users (nick) WHERE pass_hash IS NOT NULL;
CREATE INDEX users_by_skeleton ON users (skeleton);
CREATE INDEX users_by_email ON users (email_key, login) WHERE email_key IS NOT NULL;
CREATE INDEX users_by_phone ON users (phone_key, login) WHERE phone_key IS NOT NULL;

CREATE TABLE contacts (
    number     bigint GENERATED ALWAYS AS IDENTITY,      -- in the order they were added
    owner_no   bigint NOT NULL,
    contact_no bigint NOT NULL,
    PRIMARY KEY (owner_no, contact_no)
);
CREATE INDEX contacts_by_contact ON contacts (contact_no);

CREATE TABLE myids (
    owner_no bigint NOT NULL,
    user_no  bigint NOT NULL,
    myid     text COLLATE "C" NOT NULL,                  -- what the owner's address book calls the user
    PRIMARY KEY (owner_no, user_no)
);
CREATE INDEX myids_by_user ON myids (user_no);

-- Rows that change with every message or mark have room for it on their page, and no index on what changes.
CREATE TABLE inboxes (
    user_no       bigint PRIMARY KEY,
    newest        bigint NOT NULL DEFAULT 0,             -- the place of the newest message there ever was
    given         bigint NOT NULL DEFAULT 0,             -- the newest place any session was given
    kept          bigint NOT NULL DEFAULT 0,             -- how many messages there are
    bytes         bigint NOT NULL DEFAULT 0,
    waiting       bigint NOT NULL DEFAULT 0,             -- how many no session was given
    waiting_bytes bigint NOT NULL DEFAULT 0,
    oldest_time   bigint                                 -- when the oldest was accepted, or earlier
) WITH (fillfactor = 70);
CREATE INDEX inboxes_by_age ON inboxes (oldest_time) WHERE oldest_time IS NOT NULL;

CREATE TABLE messages (
    user_no    bigint NOT NULL,                          -- the recipient
    seq        bigint NOT NULL,                          -- its place in the recipient's inbox
    size       bigint NOT NULL,                          -- bytes of body, mime and attachment
    time       bigint NOT NULL,
    id         text COLLATE "C" NOT NULL,
    sender     text COLLATE "C" NOT NULL,
    nick       text COLLATE "C" NOT NULL,
    body       text COLLATE "C" NOT NULL,
    mime       text COLLATE "C" NOT NULL,
    attachment text COLLATE "C" NOT NULL,                -- base64
    PRIMARY KEY (user_no, seq)
) PARTITION BY HASH (user_no);
ALTER TABLE messages ALTER attachment SET STORAGE EXTERNAL;

CREATE TABLE mids (
    user_no   bigint NOT NULL,                           -- the recipient
    sender_no bigint NOT NULL,                           -- 0 for a sender who is no user
    mid       text COLLATE "C" NOT NULL,
    digest    bytea NOT NULL,                            -- of the message
    used_us   bigint NOT NULL,
    id        text COLLATE "C" NOT NULL,                 -- what the message was answered with
    time      bigint NOT NULL,
    PRIMARY KEY (user_no, sender_no, mid)
) PARTITION BY HASH (user_no);
CREATE INDEX mids_by_age ON mids (used_us);

CREATE TABLE sessions (
    user_no  bigint NOT NULL,
    key      bytea NOT NULL,                             -- SHA-256 of the session's secret
    given    bigint NOT NULL,                            -- its place in the inbox
    ack      boolean NOT NULL,
    used_us  bigint NOT NULL,
    aged_us  bigint NOT NULL,                            -- `used_us` at most six hours ago, or earlier
    PRIMARY KEY (user_no, key)
) WITH (fillfactor = 60);
CREATE INDEX sessions_by_age ON sessions (aged_us);

-- The last batch of each lane, and what it came to: whoever asks for it again is told, and nothing is done twice.
CREATE TABLE lanes (
    lane    bigint PRIMARY KEY,
    batch   bigint NOT NULL,
    nos     bigint[],                                    -- its recipients; 0 for whoever is no user
    bases   bigint[],                                    -- their messages stand behind these places; -1: see kinds; -2: was locked
    kinds   smallint[],                                  -- what each message came to that was looked at alone, see batch.rs
    seqs    bigint[],
    dropped bigint[],
    ids     text[],
    times   bigint[],
    seen    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);

-- Limits that hold for all servers. They need not outlive a crash.
CREATE UNLOGGED TABLE budgets (
    kind    smallint NOT NULL,
    key     text COLLATE "C" NOT NULL,
    full_us bigint NOT NULL,                             -- when the budget is whole again
    PRIMARY KEY (kind, key)
);
CREATE INDEX budgets_by_age ON budgets (full_us);

-- What grows with the messages lies in parts, each of which is cleaned for itself. What is updated or deleted all the time is
-- cleaned soon, and what only grows is frozen as it comes.
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE messages_%s PARTITION OF messages FOR VALUES WITH (MODULUS 16, REMAINDER %s) WITH (
                autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000,
                autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2)', part, part);
        EXECUTE format(
            'CREATE TABLE mids_%s PARTITION OF mids FOR VALUES WITH (MODULUS 16, REMAINDER %s) WITH (
                autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000,
                autovacuum_vacuum_cost_delay = 0)', part, part);
    END LOOP;
END $$;
ALTER TABLE inboxes SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE lanes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
