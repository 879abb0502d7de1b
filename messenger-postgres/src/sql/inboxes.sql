-- Whatever changes an inbox has its row locked, and locks rows in the order of their users' numbers.

-- What stands behind the newest place given, up to this one, waits for nobody any more.
CREATE FUNCTION take_from_waiting_v1(of_user bigint, place bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inboxes SET waiting = waiting - taken.count, waiting_bytes = waiting_bytes - taken.bytes
    FROM (
        SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM messages
        WHERE user_no = of_user AND seq <= place AND seq > (SELECT given FROM inboxes WHERE user_no = of_user)
    ) taken
    WHERE user_no = of_user;
END $$;

-- Drops the messages up to this place.
CREATE FUNCTION drop_up_to_v1(of_user bigint, place bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH dropped AS (
        DELETE FROM messages WHERE user_no = of_user AND seq <= place RETURNING size
    ), total AS (
        SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM dropped
    )
    UPDATE inboxes SET kept = kept - total.count, bytes = inboxes.bytes - total.bytes
    FROM total WHERE user_no = of_user AND total.count > 0;
END $$;

-- Drops what every session was given; without sessions, what any was.
CREATE FUNCTION prune_v1(of_user bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM drop_up_to_v1(of_user, coalesce(
        (SELECT min(given) FROM sessions WHERE user_no = of_user),
        (SELECT given FROM inboxes WHERE user_no = of_user)
    ));
END $$;

-- Drops as much of what some session was given, of the senders who have most of it, as `Overflow` of messenger-core
-- chooses: what every sender may keep is the largest level above which there is as much as is to leave.
CREATE FUNCTION shed_v1(
    of_user bigint, given bigint, excess bigint, by_bytes boolean, OUT count bigint, OUT bytes bigint
) LANGUAGE sql AS $$
    WITH candidates AS (
        SELECT seq, sender, size, CASE WHEN by_bytes THEN size ELSE 1 END AS weight
        FROM messages WHERE user_no = of_user AND seq <= given
    ), senders AS (
        SELECT sender, sum(weight) AS weight FROM candidates GROUP BY sender
    ), wanted AS (
        SELECT greatest(excess, floor(sum(weight) / 16)) AS excess FROM senders
    ), ranked AS (
        SELECT sum(weight) OVER (ORDER BY weight DESC, sender) AS sum,
            row_number() OVER (ORDER BY weight DESC, sender) AS rank
        FROM senders
    ), level AS (
        SELECT greatest(0, max(floor((ranked.sum - wanted.excess) / ranked.rank))) AS level FROM ranked, wanted
    ), above AS (
        SELECT seq, size, weight FROM (
            SELECT c.*, s.weight - level.level AS above,
                sum(c.weight) OVER (PARTITION BY c.sender ORDER BY c.seq) - c.weight AS before
            FROM candidates c JOIN senders s USING (sender), level
        ) c WHERE c.before < c.above
    ), leaving AS (
        SELECT seq FROM (
            SELECT seq, sum(weight) OVER (ORDER BY seq) - weight AS before FROM above
        ) a, wanted WHERE a.before < wanted.excess
    ), dropped AS (
        DELETE FROM messages m USING leaving WHERE m.user_no = of_user AND m.seq = leaving.seq RETURNING m.size
    )
    SELECT count(*), coalesce(sum(size), 0)::bigint FROM dropped
$$;

-- The messages behind a place: at most so many, and none after so many bytes.
CREATE FUNCTION inbox_v1(of_user bigint, after bigint, most bigint, most_bytes bigint)
RETURNS TABLE (
    seq bigint, id text, sender text, nick text, "time" bigint, body text, mime text, attachment text
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY SELECT m.seq, m.id, m.sender, m.nick, m.time, m.body, m.mime, m.attachment FROM (
        SELECT p.*, sum(p.size) OVER (ORDER BY p.seq) - p.size AS before FROM (
            SELECT * FROM messages i WHERE i.user_no = of_user AND i.seq > after ORDER BY i.seq LIMIT most
        ) p
    ) m WHERE m.before < most_bytes ORDER BY m.seq;
END $$;
