-- Version 2.

CREATE TABLE about (
    name  TEXT NOT NULL PRIMARY KEY,        -- 'address rule': by which rule email_key and phone_key were computed; 'skeletons': by which version users' skeletons; 'lost up to': up to which number a lost store may have given messages
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
