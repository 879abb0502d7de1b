-- Begins a session, and says at what place and which ones were ended for it; without a row there is no such user.
CREATE FUNCTION open_session_v1(
    of_user bigint, new_key bytea, new_ack boolean, now_us bigint, expired_us bigint, kept bigint
) RETURNS TABLE (place bigint, ended bytea[]) LANGUAGE plpgsql AS $$
DECLARE
    box inboxes;
    gone bytea[];
BEGIN
    SELECT * INTO box FROM inboxes WHERE user_no = of_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Asked again, when the answer was lost.
    IF EXISTS (SELECT FROM sessions WHERE user_no = of_user AND key = new_key) THEN
        RETURN QUERY SELECT s.given, '{}'::bytea[] FROM sessions s WHERE s.user_no = of_user AND s.key = new_key;
        RETURN;
    END IF;
    DELETE FROM sessions WHERE user_no = of_user AND used_us < expired_us;
    SELECT array_agg(s.key ORDER BY s.used_us) INTO gone FROM (
        SELECT key, used_us FROM sessions WHERE user_no = of_user ORDER BY used_us DESC OFFSET kept
    ) s;
    DELETE FROM sessions WHERE user_no = of_user AND key = ANY (gone);
    INSERT INTO sessions (user_no, key, given, ack, used_us, aged_us)
    VALUES (of_user, new_key, box.given, new_ack, now_us, now_us);
    RETURN QUERY SELECT box.given, coalesce(gone, '{}');
END $$;

CREATE FUNCTION end_session_v1(of_login text, old_key bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_user bigint;
BEGIN
    SELECT i.user_no INTO of_user FROM inboxes i JOIN users u ON u.no = i.user_no
    WHERE u.login = of_login FOR NO KEY UPDATE OF i;
    DELETE FROM sessions WHERE user_no = of_user AND key = old_key;
    IF FOUND THEN
        PERFORM prune_v1(of_user);
    END IF;
END $$;

CREATE FUNCTION advance_v1(logins text[], keys bytea[], places bigint[], uses_us bigint[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mark record;
    box inboxes;
    before bigint;
    now_at bigint;
BEGIN
    FOR mark IN
        SELECT u.no, m.key, m.place, m.used_us
        FROM unnest(logins, keys, places, uses_us) AS m (login, key, place, used_us)
        JOIN users u ON u.login = m.login ORDER BY u.no
    LOOP
        SELECT * INTO box FROM inboxes WHERE user_no = mark.no FOR NO KEY UPDATE;
        SELECT given INTO before FROM sessions WHERE user_no = mark.no AND key = mark.key;
        CONTINUE WHEN NOT FOUND;
        UPDATE sessions SET
            given = greatest(given, least(mark.place, box.newest)), used_us = greatest(used_us, mark.used_us)
        WHERE user_no = mark.no AND key = mark.key RETURNING given INTO now_at;
        CONTINUE WHEN now_at = before;
        IF now_at > box.given THEN
            PERFORM take_from_waiting_v1(mark.no, now_at);
            UPDATE inboxes SET given = now_at WHERE user_no = mark.no;
        END IF;
        PERFORM prune_v1(mark.no);
    END LOOP;
END $$;
