-- 0: created. 1: the login is taken. 2: the nick is. 3: some login looks like it.
CREATE FUNCTION create_account_v1(
    new_login text, new_nick text, new_hash text, new_skeleton text, is_distinct boolean
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    created bigint;
BEGIN
    IF is_distinct THEN
        -- Whoever creates one that looks the same waits until this one is there.
        PERFORM pg_advisory_xact_lock(hashtextextended(new_skeleton, 1));
        IF EXISTS (SELECT FROM users WHERE skeleton = new_skeleton AND login <> new_login) THEN
            RETURN 3;
        END IF;
    END IF;
    INSERT INTO users (login, nick, pass_hash, skeleton)
    VALUES (new_login, new_nick, new_hash, new_skeleton)
    ON CONFLICT DO NOTHING RETURNING no INTO created;
    IF FOUND THEN
        INSERT INTO inboxes (user_no) VALUES (created);
        RETURN 0;
    END IF;
    RETURN CASE WHEN EXISTS (SELECT FROM users WHERE login = new_login) THEN 1 ELSE 2 END;
END $$;

CREATE FUNCTION upsert_external_user_v1(new_login text, new_nick text, new_skeleton text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    known bigint;
BEGIN
    INSERT INTO users (login, nick, skeleton) VALUES (new_login, new_nick, new_skeleton)
    ON CONFLICT (login) DO UPDATE SET nick = excluded.nick RETURNING no INTO known;
    INSERT INTO inboxes (user_no) VALUES (known) ON CONFLICT DO NOTHING;
END $$;

-- Nothing names the number of a user who is gone any more; what is still written under it meanwhile is found by nobody.
CREATE FUNCTION delete_user_v1(old_login text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
BEGIN
    SELECT no INTO gone FROM users WHERE login = old_login FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM inboxes WHERE user_no = gone FOR UPDATE;
    DELETE FROM inboxes WHERE user_no = gone;
    DELETE FROM sessions WHERE user_no = gone;
    DELETE FROM messages WHERE user_no = gone;
    DELETE FROM mids WHERE user_no = gone;
    DELETE FROM contacts WHERE owner_no = gone OR contact_no = gone;
    DELETE FROM myids WHERE owner_no = gone OR user_no = gone;
    DELETE FROM users WHERE no = gone;
    RETURN true;
END $$;
