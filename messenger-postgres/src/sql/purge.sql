-- Drops some of what is out of date; sessions used later than now were used by a clock that was wrong, and count as used
-- now. Nothing is out of date before it is so by the database's own clock. 0: there was nothing. 1: there may be more. 2:
-- another server is at it.
CREATE FUNCTION purge_v1(
    now_us bigint, sessions_before_us bigint, messages_before bigint, mids_before_us bigint, own_lanes bigint[]
) RETURNS integer LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    step constant bigint := 256;
    -- How far the server's clock is ahead, if that is more than clocks may be apart.
    ahead_us constant bigint :=
        greatest(0, now_us - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 30000000);
    more boolean := false;
    of_user bigint;
    place bigint;
BEGIN
    -- The server lives, though it may have had no message for long.
    UPDATE lanes SET seen = now() WHERE lane = ANY (own_lanes) AND seen < now() - interval '1 day';
    IF NOT pg_try_advisory_xact_lock(hashtextextended('messenger purge', 0)) THEN
        RETURN 2;
    END IF;
    now_us := now_us - ahead_us;
    sessions_before_us := sessions_before_us - ahead_us;
    messages_before := messages_before - ahead_us / 1000000;
    mids_before_us := mids_before_us - ahead_us;
    FOR of_user IN
        SELECT due.user_no FROM (
            (SELECT user_no FROM sessions WHERE aged_us < sessions_before_us ORDER BY aged_us LIMIT step)
            UNION (SELECT user_no FROM sessions WHERE aged_us > now_us ORDER BY aged_us DESC LIMIT step)
            UNION (SELECT user_no FROM inboxes WHERE oldest_time < messages_before ORDER BY oldest_time LIMIT 16)
        ) due ORDER BY due.user_no
    LOOP
        more := true;
        PERFORM FROM inboxes WHERE user_no = of_user FOR NO KEY UPDATE;
        UPDATE sessions SET used_us = now_us WHERE user_no = of_user AND used_us > now_us;
        DELETE FROM sessions WHERE user_no = of_user AND used_us < sessions_before_us;
        UPDATE sessions SET aged_us = used_us
        WHERE user_no = of_user AND aged_us <> used_us AND (aged_us < sessions_before_us OR aged_us > now_us);
        SELECT max(old.seq) INTO place FROM (
            SELECT seq, time FROM messages WHERE user_no = of_user ORDER BY seq LIMIT step
        ) old WHERE old.time < messages_before;
        IF place IS NOT NULL THEN
            PERFORM take_from_waiting_v1(of_user, place);
            PERFORM drop_up_to_v1(of_user, place);
        END IF;
        PERFORM prune_v1(of_user);
        UPDATE inboxes SET oldest_time = (SELECT time FROM messages WHERE user_no = of_user ORDER BY seq LIMIT 1)
        WHERE user_no = of_user AND oldest_time < messages_before;
    END LOOP;
    DELETE FROM mids WHERE (user_no, sender_no, mid) IN (
        SELECT m.user_no, m.sender_no, m.mid FROM mids m WHERE m.used_us < mids_before_us ORDER BY m.used_us LIMIT step
    );
    more := more OR FOUND;
    -- Those that are whole again.
    DELETE FROM budgets WHERE (kind, key) IN (
        SELECT b.kind, b.key FROM budgets b WHERE b.full_us < now_us - 3600000000 ORDER BY b.full_us LIMIT step
    );
    more := more OR FOUND;
    DELETE FROM lanes WHERE seen < now() - interval '7 days';
    RETURN more::integer;
END $$;
