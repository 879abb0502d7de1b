-- Version 6.

ALTER TABLE users ADD COLUMN skeleton TEXT; -- what the login looks like; those that are taken for each other have the same. Computed when the store is opened, by the version that is in about
CREATE INDEX users_by_skeleton ON users (skeleton);
