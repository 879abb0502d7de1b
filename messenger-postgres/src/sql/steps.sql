-- What may be more than one statement has time for is done in steps.

-- Users who are gone, of whom something is still kept.
CREATE TABLE gone (
    no bigint PRIMARY KEY
);

-- Drops some of what is kept of a user who is gone. True: there may be more.
CREATE FUNCTION forget_v1(gone_no bigint) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    step constant bigint := 5000;
    most bigint;
    dropped bigint;
BEGIN
    -- By their places in the tables: nobody else changes them any more.
    DELETE FROM mids WHERE user_no = gone_no AND ctid = ANY (ARRAY(
        SELECT m.ctid FROM mids m WHERE m.user_no = gone_no LIMIT step
    ));
    GET DIAGNOSTICS most = ROW_COUNT;
    DELETE FROM contacts WHERE ctid = ANY (
        ARRAY(SELECT c.ctid FROM contacts c WHERE c.owner_no = gone_no LIMIT step)
        || ARRAY(SELECT c.ctid FROM contacts c WHERE c.contact_no = gone_no LIMIT step)
    );
    GET DIAGNOSTICS dropped = ROW_COUNT;
    most := greatest(most, dropped);
    DELETE FROM myids WHERE ctid = ANY (
        ARRAY(SELECT m.ctid FROM myids m WHERE m.owner_no = gone_no LIMIT step)
        || ARRAY(SELECT m.ctid FROM myids m WHERE m.user_no = gone_no LIMIT step)
    );
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN greatest(most, dropped) >= step;
END $$;

-- Nothing names the number of a user who is gone any more; what is still written under it meanwhile is found by nobody. What
-- is left after the first step is dropped with what is out of date.
CREATE FUNCTION delete_user_v2(old_login text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    gone_no bigint;
BEGIN
    SELECT no INTO gone_no FROM users WHERE login = old_login FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM inboxes WHERE user_no = gone_no FOR UPDATE;
    DELETE FROM inboxes WHERE user_no = gone_no;
    DELETE FROM sessions WHERE user_no = gone_no;
    DELETE FROM messages WHERE user_no = gone_no;
    DELETE FROM users WHERE no = gone_no;
    IF forget_v1(gone_no) THEN
        INSERT INTO gone VALUES (gone_no);
    END IF;
    RETURN true;
END $$;

-- As `purge_v1`, but returns after a while, and leaves an inbox that another has locked for the next round.
CREATE FUNCTION purge_v2(
    now_us bigint, sessions_before_us bigint, messages_before bigint, mids_before_us bigint, own_lanes bigint[]
) RETURNS integer LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    step constant bigint := 256;
    enough constant timestamptz := statement_timestamp() + interval '200 ms';
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
        PERFORM FROM inboxes WHERE user_no = of_user FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND AND EXISTS (SELECT FROM inboxes WHERE user_no = of_user);
        more := true;
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
        EXIT WHEN clock_timestamp() > enough;
    END LOOP;
    DELETE FROM mids WHERE (user_no, sender_no, mid) IN (
        SELECT m.user_no, m.sender_no, m.mid FROM mids m WHERE m.used_us < mids_before_us ORDER BY m.used_us LIMIT step
    );
    more := more OR FOUND;
    FOR of_user IN SELECT no FROM gone ORDER BY no LIMIT 1 LOOP
        IF NOT forget_v1(of_user) THEN
            DELETE FROM gone WHERE no = of_user;
        END IF;
        more := true;
    END LOOP;
    -- Those that are whole again.
    DELETE FROM budgets WHERE (kind, key) IN (
        SELECT b.kind, b.key FROM budgets b WHERE b.full_us < now_us - 3600000000 ORDER BY b.full_us LIMIT step
    );
    more := more OR FOUND;
    DELETE FROM lanes WHERE seen < now() - interval '7 days';
    RETURN more::integer;
END $$;
