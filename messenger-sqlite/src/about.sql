-- Version 2.

CREATE TABLE about (
    name  TEXT NOT NULL PRIMARY KEY,        -- 'address rule': by which rule email_key and phone_key were computed
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
