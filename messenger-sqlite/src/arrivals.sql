-- Version 8. What has just come. Most messages are delivered within a moment and dropped from here again; only the others are moved to
-- `messages`, many at once, whose index is large: each has a page of its own there. Who reads an inbox reads both.

CREATE TABLE arrivals (
    number     INTEGER PRIMARY KEY,         -- in the order they came
    recipient  TEXT NOT NULL,
    seq        INTEGER NOT NULL,            -- as in messages, this and all others
    id         TEXT NOT NULL,
    sender     TEXT NOT NULL,
    nick       TEXT NOT NULL,
    time       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    body       TEXT NOT NULL,
    mime       TEXT NOT NULL,
    attachment TEXT NOT NULL
) STRICT;
CREATE INDEX arrivals_by_recipient ON arrivals (recipient, seq);
