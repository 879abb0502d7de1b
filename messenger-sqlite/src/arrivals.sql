-- Version 8. What has just come. Most messages are delivered within a moment and dropped again: what a commit has accepted is one row here, and
-- only those that stay are moved to `messages`, many at once.

CREATE TABLE arrivals (
    number   INTEGER PRIMARY KEY,           -- in the order they came
    messages TEXT NOT NULL                  -- JSON: for each its recipient, seq, id, sender, nick, time, body, mime, attachment
) STRICT;
ALTER TABLE inboxes ADD COLUMN settled INTEGER NOT NULL DEFAULT 0; -- what arrivals have up to this seq was moved to messages
