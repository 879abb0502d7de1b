-- Moves sessions on, drops what all sessions of their users were given, and locks only the inboxes of those who were given
-- something. Rows of both tables are locked in the order of their keys. What would hold up others is left for a call that
-- `waits`, for which the inboxes of all others need not be locked: sessions that were given very many messages, which takes long
-- to drop, and those whose inbox another has locked. True when there are such ones.
CREATE FUNCTION advance_v2(logins text[], keys bytea[], places bigint[], uses_us bigint[], waits boolean)
RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    six_hours_us constant bigint := 21600000000;
    very_many constant bigint := 100;
    nos bigint[];
    moved bigint[];
    locked bigint[];
    are_left boolean;
BEGIN
    SELECT array_agg(m.no) FILTER (WHERE m.is_now), array_agg(m.key) FILTER (WHERE m.is_now),
        array_agg(m.place) FILTER (WHERE m.is_now), array_agg(m.used_us) FILTER (WHERE m.is_now),
        array_agg(DISTINCT m.no) FILTER (WHERE m.is_now AND m.place > m.given), bool_or(NOT m.is_now)
    INTO nos, keys, places, uses_us, moved, are_left
    FROM (SELECT *, CASE WHEN waits THEN place > given ELSE place <= given + very_many END AS is_now FROM (
        SELECT s.user_no AS no, s.key, s.given, max(m.place) AS place, max(m.used_us) AS used_us
        FROM unnest(logins, keys, places, uses_us) AS m (login, key, place, used_us)
        JOIN users u ON u.login = m.login JOIN sessions s ON s.user_no = u.no AND s.key = m.key
        GROUP BY s.user_no, s.key, s.given ORDER BY s.user_no, s.key
    ) m) m;
    IF waits THEN
        PERFORM FROM inboxes WHERE user_no = ANY (moved) ORDER BY user_no FOR NO KEY UPDATE;
    ELSIF moved IS NOT NULL THEN
        locked := moved;
        moved := ARRAY(
            SELECT user_no FROM inboxes WHERE user_no = ANY (moved) ORDER BY user_no FOR NO KEY UPDATE SKIP LOCKED
        );
        locked := ARRAY(SELECT unnest(locked) EXCEPT SELECT unnest(moved));
        are_left := are_left OR locked <> '{}';
    END IF;
    UPDATE sessions s SET
        given = greatest(s.given, least(m.place, i.newest)), used_us = greatest(s.used_us, m.used_us),
        aged_us = CASE WHEN m.used_us > s.aged_us + six_hours_us THEN m.used_us ELSE s.aged_us END
    FROM unnest(nos, keys, places, uses_us) AS m (no, key, place, used_us) JOIN inboxes i ON i.user_no = m.no
    WHERE s.user_no = m.no AND s.key = m.key AND (locked IS NULL OR m.no <> ALL (locked));
    IF moved IS NULL THEN
        RETURN are_left;
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
    RETURN are_left;
END $$;
