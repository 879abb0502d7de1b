-- Batches are appended as by `append_v1`, in fewer statements, each of which has a price however little it does. For the same
-- reason they come in few lists, of which each recipient and each message has so many items: to take a list in, and to make
-- rows of it, costs more than the items of a small one.

-- A batch's messages: which of the recipients each is for, and which of the recipient's messages here it is; 0 is no sender
-- who is a user. It is never called, but becomes a part of the statement that asks it.
CREATE FUNCTION messages_of_v2(numbers bigint[], texts text[], mids text[], digests bytea[]) RETURNS TABLE (
    n integer, recipient integer, place bigint, sender_no bigint, size bigint, "time" bigint, forgotten_us bigint, now_us bigint,
    sender text, nick text, id text, body text, mime text, attachment text, mid text, digest bytea
) LANGUAGE sql IMMUTABLE AS $$
    SELECT n, numbers[7 * n - 6]::integer, numbers[7 * n - 5], numbers[7 * n - 4], numbers[7 * n - 3], numbers[7 * n - 2],
        numbers[7 * n - 1], numbers[7 * n], texts[6 * n - 5], texts[6 * n - 4], texts[6 * n - 3], texts[6 * n - 2],
        texts[6 * n - 1], texts[6 * n], mids[n], digests[n]
    FROM generate_series(1, cardinality(numbers) / 7) AS n
$$;

-- What comes to inboxes: how many messages, of how many bytes, the time of the first, and what the inbox holds.
CREATE FUNCTION coming_v2(numbers bigint[]) RETURNS TABLE (
    n integer, count bigint, bytes bigint, "time" bigint, most bigint, most_bytes bigint
) LANGUAGE sql IMMUTABLE AS $$
    SELECT n, numbers[5 * n - 4], numbers[5 * n - 3], numbers[5 * n - 2], numbers[5 * n - 1], numbers[5 * n]
    FROM generate_series(1, cardinality(numbers) / 5) AS n
$$;

-- Appends a batch of messages, and says what each came to. A batch that was appended before is not again: it is told what it
-- came to then. One that comes after a later one of its lane is too late for ever. `answered` is the last batch that was: a
-- row which knows less is of a database that has lost what it had committed.
CREATE FUNCTION append_v2(
    of_lane bigint, of_batch bigint, answered bigint,
    logins text[], coming bigint[],                      -- recipients, and what comes to each
    some_senders bigint[],                               -- each once
    numbers bigint[], texts text[],                      -- messages
    new_mids text[], digests bytea[],                    -- empty if there is no mid
    -- As in the lane's row.
    OUT nos bigint[], OUT bases bigint[],
    OUT kinds smallint[], OUT seqs bigint[], OUT dropped bigint[], OUT ids text[], OUT times bigint[]
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    last bigint;
    lost_up_to bigint;
    are_gone boolean;
    number integer;
    done lanes;
BEGIN
    IF answered = 0 THEN
        INSERT INTO lanes (lane, batch) VALUES (of_lane, 0) ON CONFLICT DO NOTHING;
    END IF;
    SELECT l.batch INTO last FROM lanes l WHERE l.lane = of_lane FOR UPDATE;
    IF last IS NULL OR last < answered THEN
        RAISE EXCEPTION 'batch % of lane % was committed, and is lost', answered, of_lane USING ERRCODE = 'MSG01';
    ELSIF last = of_batch THEN
        SELECT l.nos, l.bases, l.kinds, l.seqs, l.dropped, l.ids, l.times INTO nos, bases, kinds, seqs, dropped, ids, times
        FROM lanes l WHERE l.lane = of_lane;
        RETURN;
    ELSIF last > of_batch THEN
        RAISE EXCEPTION 'batch % of lane % comes after a later one', of_batch, of_lane USING ERRCODE = 'MSG02';
    END IF;
    -- Nobody waits for an inbox that another has locked, so they are locked in any order. Not more is kept than before and
    -- what comes; what waits is a part of it. A nested loop keeps the order of the batch.
    SELECT array_agg(coalesce(u.no, 0)),
        array_agg(CASE
            WHEN u.no IS NULL THEN -1
            WHEN i.newest IS NULL THEN -2
            WHEN i.kept + c.count <= c.most AND i.bytes + c.bytes <= c.most_bytes THEN greatest(i.newest, l.up_to)
            ELSE -1
        END),
        min(l.up_to), (SELECT count(*) FROM users WHERE no = ANY (some_senders)) < cardinality(some_senders)
    INTO nos, bases, lost_up_to, are_gone
    FROM (SELECT coalesce((SELECT value::bigint FROM about WHERE name = 'lost up to'), 0) AS up_to) l
    CROSS JOIN coming_v2(coming) c LEFT JOIN users u ON u.login = logins[c.n] LEFT JOIN LATERAL (
        SELECT newest, kept, bytes FROM inboxes WHERE user_no = u.no FOR NO KEY UPDATE SKIP LOCKED
    ) i ON true;
    IF are_gone OR new_mids <> '{}' THEN
        FOREACH number IN ARRAY ARRAY(
            SELECT m.recipient FROM messages_of_v2(numbers, texts, new_mids, digests) m
            WHERE are_gone AND m.sender_no <> 0 AND NOT EXISTS (SELECT FROM users WHERE no = m.sender_no)
        ) || ARRAY(
            SELECT m.recipient FROM messages_of_v2(numbers, texts, new_mids, digests) m
            WHERE m.mid IS NOT NULL AND EXISTS (
                SELECT FROM mids f
                WHERE f.user_no = append_v2.nos[m.recipient] AND f.mid = m.mid AND f.used_us >= m.forgotten_us AND f.sender_no =
                    coalesce(nullif(m.sender_no, 0), (SELECT no FROM users WHERE login = m.sender), 0)
            )
        ) || ARRAY(
            SELECT m.recipient FROM messages_of_v2(numbers, texts, new_mids, digests) m
            WHERE m.mid IS NOT NULL GROUP BY m.recipient, m.sender, m.mid HAVING count(*) > 1
        ) LOOP
            bases[number] := least(bases[number], -1);
        END LOOP;
    END IF;
    WITH counted AS (
        UPDATE inboxes i SET newest = bases[c.n] + c.count, kept = i.kept + c.count, bytes = i.bytes + c.bytes,
            waiting = i.waiting + c.count, waiting_bytes = i.waiting_bytes + c.bytes,
            oldest_time = coalesce(i.oldest_time, c.time)
        FROM coming_v2(coming) c WHERE i.user_no = nos[c.n] AND append_v2.bases[c.n] >= 0
    ), lane AS (
        UPDATE lanes SET batch = of_batch, nos = append_v2.nos, bases = append_v2.bases, kinds = NULL, seqs = NULL,
            dropped = NULL, ids = NULL, times = NULL, seen = now()
        WHERE lane = of_lane
    )
    INSERT INTO messages (user_no, seq, size, time, id, sender, nick, body, mime, attachment)
    SELECT nos[m.recipient], bases[m.recipient] + m.place, m.size, m.time, m.id, m.sender, m.nick, m.body, m.mime, m.attachment
    FROM messages_of_v2(numbers, texts, new_mids, digests) m WHERE bases[m.recipient] >= 0;
    IF new_mids <> '{}' THEN
        INSERT INTO mids (user_no, sender_no, mid, digest, used_us, id, time)
        SELECT nos[m.recipient], coalesce(nullif(m.sender_no, 0), (SELECT no FROM users WHERE login = m.sender), 0),
            m.mid, m.digest, m.now_us, m.id, m.time
        FROM messages_of_v2(numbers, texts, new_mids, digests) m WHERE m.mid IS NOT NULL AND bases[m.recipient] >= 0
        ON CONFLICT (user_no, sender_no, mid) DO UPDATE
        SET digest = excluded.digest, used_us = excluded.used_us, id = excluded.id, time = excluded.time;
    END IF;
    IF -1 = ANY (bases) THEN
        done.nos := nos;
        done.bases := bases;
        SELECT s.kinds, s.seqs, s.dropped, s.ids, s.times INTO kinds, seqs, dropped, ids, times
        FROM (
            SELECT array_agg(m.recipient) AS recipients, array_agg(nullif(m.sender_no, 0)) AS sender_nos,
                array_agg(m.sender) AS senders, array_agg(m.nick) AS nicks, array_agg(m.id) AS ids, array_agg(m.time) AS times,
                array_agg(m.body) AS bodies, array_agg(m.mime) AS mimes, array_agg(m.attachment) AS attachments,
                array_agg(m.size) AS sizes, array_agg(m.forgotten_us) AS forgotten_us, array_agg(m.now_us) AS now_us
            FROM messages_of_v2(numbers, texts, new_mids, digests) m
        ) m CROSS JOIN LATERAL append_singly_v1(
            done, lost_up_to, ARRAY(SELECT most FROM coming_v2(coming)), ARRAY(SELECT most_bytes FROM coming_v2(coming)),
            m.recipients, m.sender_nos, m.senders, m.nicks, m.ids, m.times, m.bodies, m.mimes, m.attachments, m.sizes,
            new_mids, digests, m.forgotten_us, m.now_us
        ) s;
        UPDATE lanes SET kinds = append_v2.kinds, seqs = append_v2.seqs, dropped = append_v2.dropped, ids = append_v2.ids,
            times = append_v2.times
        WHERE lane = of_lane;
    END IF;
END $$;
