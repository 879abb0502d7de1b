-- Version 7.

ALTER TABLE users ADD COLUMN ephemeral_ended INTEGER NOT NULL DEFAULT 0; -- how often all sessions that are kept nowhere were ended: those that began before have ended
