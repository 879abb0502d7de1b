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

-- Moves sessions on, drops what all sessions of their users were given, and locks only the inboxes of those who were given
-- something. Rows of both tables are locked in the order of their keys.
CREATE FUNCTION advance_v1(logins text[], keys bytea[], places bigint[], uses_us bigint[])
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    six_hours_us constant bigint := 21600000000;
    nos bigint[];
    moved bigint[];
BEGIN
    SELECT array_agg(m.no), array_agg(m.key), array_agg(m.place), array_agg(m.used_us),
        array_agg(DISTINCT m.no) FILTER (WHERE m.place > m.given)
    INTO nos, keys, places, uses_us, moved
    FROM (
        SELECT s.user_no AS no, s.key, s.given, max(m.place) AS place, max(m.used_us) AS used_us
        FROM unnest(logins, keys, places, uses_us) AS m (login, key, place, used_us)
        JOIN users u ON u.login = m.login JOIN sessions s ON s.user_no = u.no AND s.key = m.key
        GROUP BY s.user_no, s.key, s.given ORDER BY s.user_no, s.key
    ) m;
    IF moved IS NOT NULL THEN
        PERFORM FROM inboxes WHERE user_no = ANY (moved) ORDER BY user_no FOR NO KEY UPDATE;
    END IF;
    UPDATE sessions s SET
        given = greatest(s.given, least(m.place, i.newest)), used_us = greatest(s.used_us, m.used_us),
        aged_us = CASE WHEN m.used_us > s.aged_us + six_hours_us THEN m.used_us ELSE s.aged_us END
    FROM unnest(nos, keys, places, uses_us) AS m (no, key, place, used_us) JOIN inboxes i ON i.user_no = m.no
    WHERE s.user_no = m.no AND s.key = m.key;
    IF moved IS NULL THEN
        RETURN;
    END IF;
    UPDATE inboxes i SET given = m.given, waiting = i.waiting - m.taken, waiting_bytes = i.waiting_bytes - m.taken_bytes,
        kept = i.kept - m.dropped, bytes = i.bytes - m.dropped_bytes
    FROM (
        SELECT b.user_no, greatest(b.given, s.newest) AS given,
            CASE WHEN s.newest = b.newest THEN b.waiting ELSE taken.count END AS taken,
            CASE WHEN s.newest = b.newest THEN b.waiting_bytes ELSE taken.bytes END AS taken_bytes,
            CASE WHEN s.oldest = b.newest THEN b.kept ELSE dropped.count END AS dropped,
            CASE WHEN s.oldest = b.newest THEN b.bytes ELSE dropped.bytes END AS dropped_bytes
        FROM inboxes b CROSS JOIN LATERAL (
            SELECT max(given) AS newest, min(given) AS oldest FROM sessions WHERE user_no = b.user_no
        ) s CROSS JOIN LATERAL (
            -- Where all was given, all is known already.
            SELECT count(*) AS count, coalesce(sum(size::integer), 0) AS bytes FROM messages
            WHERE s.newest < b.newest AND user_no = b.user_no AND seq > b.given AND seq <= s.newest
        ) taken CROSS JOIN LATERAL (
            SELECT count(*) AS count, coalesce(sum(size::integer), 0) AS bytes FROM messages
            WHERE s.oldest < b.newest AND user_no = b.user_no AND seq <= s.oldest
        ) dropped
        WHERE b.user_no = ANY (moved) AND s.newest IS NOT NULL
    ) m WHERE i.user_no = m.user_no;
    DELETE FROM messages m USING (
        SELECT v.no, (SELECT min(given) FROM sessions WHERE user_no = v.no) AS place FROM unnest(moved) AS v (no)
    ) given WHERE m.user_no = given.no AND m.seq <= given.place;
END $$;

-- A client that comes back.
CREATE FUNCTION resume_v1(of_login text, of_key bytea)
RETURNS TABLE (no bigint, given bigint, ack boolean, used_us bigint, nick text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT u.no, s.given, s.ack, s.used_us, u.nick
    FROM users u JOIN sessions s ON s.user_no = u.no WHERE u.login = of_login AND s.key = of_key;
END $$;

-- What is newest in each inbox, or nothing where the session has ended; without a key it is one of the ephemeral ones, which
-- have ended so often before. It is looked, too, whether there is what the server's lanes were answered.
CREATE FUNCTION look_v1(nos bigint[], keys bytea[], ended bigint[], own_lanes bigint[], answered bigint[])
RETURNS bigint[] LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM unnest(own_lanes, answered) AS o (lane, batch) LEFT JOIN lanes l ON l.lane = o.lane
        WHERE coalesce(l.batch, 0) < o.batch
    ) THEN
        RAISE EXCEPTION 'what was committed is lost' USING ERRCODE = 'MSG01';
    END IF;
    RETURN (
        SELECT array_agg(CASE WHEN coalesce(s.user_no, u.no) IS NOT NULL THEN i.newest END ORDER BY l.n)
        FROM unnest(nos, keys, ended) WITH ORDINALITY AS l (no, key, ended, n)
        LEFT JOIN inboxes i ON i.user_no = l.no
        LEFT JOIN sessions s ON s.user_no = l.no AND s.key = l.key
        LEFT JOIN users u ON l.key IS NULL AND u.no = l.no AND u.ephemeral_ended = l.ended
    );
END $$;
