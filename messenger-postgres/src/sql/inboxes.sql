-- Whatever changes an inbox has its row locked, and locks rows in the order of their users' numbers.

-- What stands behind the newest place given, up to this one, waits for nobody any more.
CREATE FUNCTION take_from_waiting_v1(of_user bigint, place bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE inboxes SET waiting = waiting - taken.count, waiting_bytes = waiting_bytes - taken.bytes
    FROM (
        SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM messages
        WHERE user_no = of_user AND seq <= place AND seq > (SELECT given FROM inboxes WHERE user_no = of_user)
    ) taken
    WHERE user_no = of_user
$$;

-- Drops the messages up to this place.
CREATE FUNCTION drop_up_to_v1(of_user bigint, place bigint) RETURNS void LANGUAGE sql AS $$
    WITH dropped AS (
        DELETE FROM messages WHERE user_no = of_user AND seq <= place RETURNING size
    ), total AS (
        SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS bytes FROM dropped
    )
    UPDATE inboxes SET kept = kept - total.count, bytes = inboxes.bytes - total.bytes
    FROM total WHERE user_no = of_user AND total.count > 0
$$;

-- Drops what every session was given; without sessions, what any was.
CREATE FUNCTION prune_v1(of_user bigint) RETURNS void LANGUAGE sql AS $$
    SELECT drop_up_to_v1(of_user, coalesce(
        (SELECT min(given) FROM sessions WHERE user_no = of_user),
        (SELECT given FROM inboxes WHERE user_no = of_user)
    ))
$$;

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

CREATE FUNCTION write_inbox_v1(box inboxes) RETURNS void LANGUAGE sql AS $$
    UPDATE inboxes SET newest = box.newest, kept = box.kept, bytes = box.bytes, waiting = box.waiting,
        waiting_bytes = box.waiting_bytes, oldest_time = box.oldest_time
    WHERE user_no = box.user_no
$$;

-- Appends a batch of messages, and says what each came to, in their order. A batch that was appended before is not again:
-- it is told what it came to then. One that comes after a later one of its lane is too late for ever.
CREATE FUNCTION append_v1(
    of_lane bigint, of_batch bigint,
    logins text[], sender_nos bigint[], senders text[], nicks text[], ids text[], times bigint[],
    bodies text[], mimes text[], attachments text[], sizes bigint[],
    new_mids text[], digests bytea[], forgotten_us bigint[], now_us bigint[], most bigint[], most_bytes bigint[]
) RETURNS SETOF append_outcome LANGUAGE plpgsql AS $$
DECLARE
    lost_up_to constant bigint := coalesce((SELECT value::bigint FROM about WHERE name = 'lost up to'), 0);
    -- Unless it is found otherwise, there is no such user.
    outcomes append_outcome[] := array_fill(ROW (2, 0, 0, 0, '', 0)::append_outcome, ARRAY[cardinality(logins)]);
    box inboxes;
    new record;
    first mids;
    of_sender bigint;
    shed record;
    dropped bigint;
BEGIN
    INSERT INTO lanes (lane, batch) VALUES (of_lane, 0) ON CONFLICT DO NOTHING;
    UPDATE lanes SET batch = of_batch WHERE lane = of_lane AND batch < of_batch;
    IF NOT FOUND THEN
        SELECT outcome INTO outcomes FROM lanes WHERE lane = of_lane AND batch = of_batch;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'batch % of lane % comes after a later one', of_batch, of_lane;
        END IF;
        RETURN QUERY SELECT * FROM unnest(outcomes);
        RETURN;
    END IF;
    FOR new IN
        SELECT m.*, u.no AS user_no
        FROM unnest(
            logins, sender_nos, senders, nicks, ids, times, bodies, mimes, attachments, sizes,
            new_mids, digests, forgotten_us, now_us, most, most_bytes
        ) WITH ORDINALITY AS m (
            login, sender_no, sender, nick, id, time, body, mime, attachment, size,
            mid, digest, forgotten_us, now_us, most, most_bytes, n
        ) LEFT JOIN users u ON u.login = m.login
        ORDER BY u.no, m.n
    LOOP
        IF new.sender_no IS NOT NULL AND NOT EXISTS (SELECT FROM users WHERE no = new.sender_no) THEN
            outcomes[new.n] := ROW (3, 0, 0, 0, '', 0)::append_outcome;
            CONTINUE;
        END IF;
        IF new.user_no IS DISTINCT FROM box.user_no THEN
            PERFORM write_inbox_v1(box);
            SELECT * INTO box FROM inboxes WHERE user_no = new.user_no FOR NO KEY UPDATE;
        END IF;
        CONTINUE WHEN box.user_no IS NULL;
        IF new.mid IS NOT NULL THEN
            of_sender := coalesce(new.sender_no, (SELECT no FROM users WHERE login = new.sender), 0);
            SELECT * INTO first FROM mids
            WHERE user_no = box.user_no AND sender_no = of_sender AND mid = new.mid AND used_us >= new.forgotten_us;
            IF FOUND THEN
                outcomes[new.n] := CASE WHEN first.digest = new.digest
                    THEN ROW (1, 0, 0, 0, first.id, first.time)::append_outcome
                    ELSE ROW (5, 0, 0, 0, '', 0)::append_outcome END;
                CONTINUE;
            END IF;
        END IF;
        IF box.waiting >= new.most OR new.size > new.most_bytes - box.waiting_bytes THEN
            outcomes[new.n] := ROW (4, 0, 0, 0, '', 0)::append_outcome;
            CONTINUE;
        END IF;
        box.newest := greatest(box.newest, lost_up_to) + 1;
        box.kept := box.kept + 1;
        box.bytes := box.bytes + new.size;
        box.waiting := box.waiting + 1;
        box.waiting_bytes := box.waiting_bytes + new.size;
        box.oldest_time := coalesce(box.oldest_time, new.time);
        INSERT INTO messages (user_no, seq, size, time, id, sender, nick, body, mime, attachment)
        VALUES (box.user_no, box.newest, new.size, new.time, new.id, new.sender, new.nick, new.body, new.mime, new.attachment);
        IF new.mid IS NOT NULL THEN
            INSERT INTO mids (user_no, sender_no, mid, digest, used_us, id, time)
            VALUES (box.user_no, of_sender, new.mid, new.digest, new.now_us, new.id, new.time)
            ON CONFLICT (user_no, sender_no, mid) DO UPDATE
            SET digest = excluded.digest, used_us = excluded.used_us, id = excluded.id, time = excluded.time;
        END IF;
        dropped := 0;
        IF box.kept > new.most THEN
            shed := shed_v1(box.user_no, box.given, box.kept - new.most, false);
            box.kept := box.kept - shed.count;
            box.bytes := box.bytes - shed.bytes;
            dropped := shed.count;
        END IF;
        IF box.bytes > new.most_bytes THEN
            shed := shed_v1(box.user_no, box.given, box.bytes - new.most_bytes, true);
            box.kept := box.kept - shed.count;
            box.bytes := box.bytes - shed.bytes;
            dropped := dropped + shed.count;
        END IF;
        outcomes[new.n] := ROW (0, box.newest, box.user_no, dropped, '', 0)::append_outcome;
    END LOOP;
    PERFORM write_inbox_v1(box);
    UPDATE lanes SET outcome = outcomes, seen = now() WHERE lane = of_lane;
    RETURN QUERY SELECT * FROM unnest(outcomes);
END $$;

-- The messages behind a place: at most so many, and none after so many bytes.
CREATE FUNCTION inbox_v1(of_user bigint, after bigint, most bigint, most_bytes bigint)
RETURNS TABLE (
    seq bigint, id text, sender text, nick text, "time" bigint, body text, mime text, attachment text
) LANGUAGE sql STABLE AS $$
    SELECT m.seq, m.id, m.sender, m.nick, m.time, m.body, m.mime, m.attachment FROM (
        SELECT p.*, sum(p.size) OVER (ORDER BY p.seq) - p.size AS before FROM (
            SELECT * FROM messages i WHERE i.user_no = of_user AND i.seq > after ORDER BY i.seq LIMIT most
        ) p
    ) m WHERE m.before < most_bytes ORDER BY m.seq
$$;
