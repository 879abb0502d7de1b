-- Version 3. A `mid` is its sender's and its recipient's together, and stands for what was sent.

CREATE TABLE mids_by_recipient (
    recipient TEXT NOT NULL,
    sender    TEXT NOT NULL,
    mid       TEXT NOT NULL,                -- the sender's own id for what it sent to the recipient
    used_us   INTEGER NOT NULL,
    id        TEXT NOT NULL,                -- what the message was answered with
    time      INTEGER NOT NULL,
    digest    BLOB,                         -- SHA-256 of what was sent; none when that was before version 3: then anything counts as the same
    PRIMARY KEY (recipient, sender, mid)
) STRICT, WITHOUT ROWID;

-- Of those used before, the message tells to whom it was sent. One that was given already and is no longer there takes its `mid` with it:
-- rather is a message stored twice than that one to somebody else is taken for it.
INSERT INTO mids_by_recipient (recipient, sender, mid, used_us, id, time)
SELECT recipient, sender, mid, used_us, id, time FROM mids JOIN messages USING (sender, id, time);

DROP TABLE mids;
ALTER TABLE mids_by_recipient RENAME TO mids;
CREATE INDEX mids_by_age ON mids (used_us);
