-- Messages are appended in batches. Statements here have a plan each, made once: it goes from the batch to the tables by
-- their keys, however small or unknown those were when it was made.

-- Appends those of a batch whose inbox has no room for all, or which repeat a mid within the batch, one by one.
CREATE FUNCTION append_singly_v1(
    INOUT done lanes, lost_up_to bigint,
    nos bigint[], mid_senders bigint[], senders text[], nicks text[], new_ids text[], new_times bigint[],
    bodies text[], mimes text[], attachments text[], sizes bigint[],
    new_mids text[], digests bytea[], forgotten_us bigint[], now_us bigint[], most bigint[], most_bytes bigint[]
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    box inboxes;
    new record;
    first mids;
    shed record;
BEGIN
    done.ids := coalesce(done.ids, array_fill(NULL::text, ARRAY[cardinality(nos)]));
    done.times := coalesce(done.times, array_fill(NULL::bigint, ARRAY[cardinality(nos)]));
    done.dropped := array_fill(0::bigint, ARRAY[cardinality(nos)]);
    FOR new IN
        SELECT m.* FROM unnest(
            done.kinds, nos, mid_senders, senders, nicks, new_ids, new_times, bodies, mimes, attachments, sizes,
            new_mids, digests, forgotten_us, now_us, most, most_bytes
        ) WITH ORDINALITY AS m (
            kind, user_no, mid_sender, sender, nick, id, time, body, mime, attachment, size,
            mid, digest, forgotten_us, now_us, most, most_bytes, n
        ) WHERE m.kind = -1 ORDER BY m.user_no, m.n
    LOOP
        SELECT * INTO box FROM inboxes WHERE user_no = new.user_no;
        IF NOT FOUND THEN
            done.kinds[new.n] := 2;
            CONTINUE;
        END IF;
        IF new.mid IS NOT NULL THEN
            SELECT * INTO first FROM mids
            WHERE user_no = box.user_no AND sender_no = new.mid_sender AND mid = new.mid AND used_us >= new.forgotten_us;
            IF FOUND THEN
                done.kinds[new.n] := CASE WHEN first.digest = new.digest THEN 1 ELSE 5 END;
                done.ids[new.n] := first.id;
                done.times[new.n] := first.time;
                CONTINUE;
            END IF;
        END IF;
        IF box.waiting >= new.most OR new.size > new.most_bytes - box.waiting_bytes THEN
            done.kinds[new.n] := 4;
            CONTINUE;
        END IF;
        box.newest := greatest(box.newest, lost_up_to) + 1;
        box.kept := box.kept + 1;
        box.bytes := box.bytes + new.size;
        INSERT INTO messages (user_no, seq, size, time, id, sender, nick, body, mime, attachment)
        VALUES (box.user_no, box.newest, new.size, new.time, new.id, new.sender, new.nick, new.body, new.mime, new.attachment);
        IF new.mid IS NOT NULL THEN
            INSERT INTO mids (user_no, sender_no, mid, digest, used_us, id, time)
            VALUES (box.user_no, new.mid_sender, new.mid, new.digest, new.now_us, new.id, new.time)
            ON CONFLICT (user_no, sender_no, mid) DO UPDATE
            SET digest = excluded.digest, used_us = excluded.used_us, id = excluded.id, time = excluded.time;
        END IF;
        done.kinds[new.n] := 0;
        done.seqs[new.n] := box.newest;
        IF box.kept > new.most THEN
            shed := shed_v1(box.user_no, box.given, box.kept - new.most, false);
            box.kept := box.kept - shed.count;
            box.bytes := box.bytes - shed.bytes;
            done.dropped[new.n] := shed.count;
        END IF;
        IF box.bytes > new.most_bytes THEN
            shed := shed_v1(box.user_no, box.given, box.bytes - new.most_bytes, true);
            box.kept := box.kept - shed.count;
            box.bytes := box.bytes - shed.bytes;
            done.dropped[new.n] := done.dropped[new.n] + shed.count;
        END IF;
        UPDATE inboxes SET newest = box.newest, kept = box.kept, bytes = box.bytes, waiting = box.waiting + 1,
            waiting_bytes = box.waiting_bytes + new.size, oldest_time = coalesce(box.oldest_time, new.time)
        WHERE user_no = box.user_no;
    END LOOP;
END $$;

-- Appends a batch of messages, and says what each came to, in their order. A batch that was appended before is not again:
-- it is told what it came to then. One that comes after a later one of its lane is too late for ever. `answered` is the
-- last batch that was: a row which knows less is of a database that has lost what it had committed.
CREATE FUNCTION append_v1(
    of_lane bigint, of_batch bigint, answered bigint,
    logins text[], sender_nos bigint[], senders text[], nicks text[], new_ids text[], new_times bigint[],
    bodies text[], mimes text[], attachments text[], sizes bigint[],
    new_mids text[], digests bytea[], forgotten_us bigint[], now_us bigint[], most bigint[], most_bytes bigint[]
) RETURNS lanes LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    done lanes;
    lost_up_to bigint;
    nos bigint[];
    mid_senders bigint[];
    is_plain boolean;                                    -- all were stored
    is_single boolean;                                   -- some are left to be appended one by one
    with_mids constant boolean := cardinality(array_remove(new_mids, NULL)) > 0;
BEGIN
    INSERT INTO lanes (lane, batch) SELECT of_lane, 0 WHERE answered = 0 ON CONFLICT DO NOTHING;
    SELECT * INTO done FROM lanes WHERE lane = of_lane FOR UPDATE;
    IF NOT FOUND OR done.batch < answered THEN
        RAISE EXCEPTION 'batch % of lane % was committed, and is lost', answered, of_lane USING ERRCODE = 'MSG01';
    ELSIF done.batch = of_batch THEN
        RETURN done;
    ELSIF done.batch > of_batch THEN
        RAISE EXCEPTION 'batch % of lane % comes after a later one', of_batch, of_lane USING ERRCODE = 'MSG02';
    END IF;
    SELECT
        array_agg(coalesce(u.no, 0) ORDER BY m.n),
        array_agg(CASE WHEN m.sender_no IS NOT NULL AND s.no IS NULL THEN 3 WHEN u.no IS NULL THEN 2 ELSE 0 END ORDER BY m.n)
    INTO nos, done.kinds
    FROM unnest(logins, sender_nos) WITH ORDINALITY AS m (login, sender_no, n)
    LEFT JOIN users u ON u.login = m.login LEFT JOIN users s ON s.no = m.sender_no;
    PERFORM FROM inboxes WHERE user_no = ANY (nos) ORDER BY user_no FOR NO KEY UPDATE;
    SELECT value::bigint INTO lost_up_to FROM about WHERE name = 'lost up to';
    lost_up_to := coalesce(lost_up_to, 0);
    done.ids := NULL;
    done.times := NULL;
    done.dropped := NULL;
    IF with_mids THEN
        SELECT
            array_agg(m.sender_no ORDER BY m.n),
            array_agg(CASE
                WHEN m.kind <> 0 THEN m.kind WHEN m.is_repeated THEN -1
                WHEN f.id IS NULL THEN 0 WHEN f.digest = m.digest THEN 1 ELSE 5
            END ORDER BY m.n),
            array_agg(f.id ORDER BY m.n), array_agg(f.time ORDER BY m.n)
        INTO mid_senders, done.kinds, done.ids, done.times
        FROM (
            SELECT r.*, bool_or(r.times > 1) OVER (PARTITION BY r.no) AS is_repeated FROM (
                SELECT m.*, coalesce(m.named_no, s.no, 0) AS sender_no,
                    count(m.mid) OVER (PARTITION BY m.no, coalesce(m.named_no, s.no, 0), m.mid) AS times
                FROM unnest(done.kinds, nos, sender_nos, senders, new_mids, digests, forgotten_us) WITH ORDINALITY
                    AS m (kind, no, named_no, sender, mid, digest, forgotten_us, n)
                LEFT JOIN users s ON m.named_no IS NULL AND s.login = m.sender
            ) r
        ) m
        LEFT JOIN mids f ON f.user_no = m.no AND f.sender_no = m.sender_no AND f.mid = m.mid AND f.used_us >= m.forgotten_us;
    END IF;
    -- Those whose inbox has room for all that comes to it take their places; their counts tell of waiting messages, too.
    SELECT
        array_agg(CASE WHEN p.kind = 0 AND p.fits THEN p.seq ELSE 0 END ORDER BY p.n),
        array_agg(CASE WHEN p.kind <> 0 THEN p.kind WHEN p.fits THEN 0 WHEN p.fits IS NULL THEN 2 ELSE -1 END ORDER BY p.n),
        bool_and(p.kind = 0 AND p.fits IS TRUE), bool_or(p.kind = -1 OR (p.kind = 0 AND NOT p.fits))
    INTO done.seqs, done.kinds, is_plain, is_single
    FROM (
        SELECT m.n, m.kind, greatest(i.newest, lost_up_to) + count(*) FILTER (WHERE m.kind = 0) OVER placed AS seq,
            i.kept + count(*) FILTER (WHERE m.kind = 0) OVER inbox <= min(m.most) OVER inbox
            AND i.bytes + sum(m.size::integer) FILTER (WHERE m.kind = 0) OVER inbox <= min(m.most_bytes) OVER inbox AS fits
        FROM unnest(done.kinds, nos, sizes, most, most_bytes) WITH ORDINALITY AS m (kind, no, size, most, most_bytes, n)
        LEFT JOIN inboxes i ON i.user_no = m.no
        WINDOW inbox AS (PARTITION BY m.no), placed AS (PARTITION BY m.no ORDER BY m.n)
    ) p;
    INSERT INTO messages (user_no, seq, size, time, id, sender, nick, body, mime, attachment)
    SELECT m.* FROM unnest(nos, done.seqs, sizes, new_times, new_ids, senders, nicks, bodies, mimes, attachments)
        AS m (no, seq, size, time, id, sender, nick, body, mime, attachment)
    WHERE m.seq > 0;
    UPDATE inboxes i SET newest = p.newest, kept = kept + p.count, bytes = i.bytes + p.bytes, waiting = waiting + p.count,
        waiting_bytes = waiting_bytes + p.bytes, oldest_time = coalesce(oldest_time, p.time)
    FROM (
        SELECT m.no, max(m.seq) AS newest, count(*) AS count, sum(m.size::integer) AS bytes, min(m.time) AS time
        FROM unnest(nos, done.seqs, sizes, new_times) AS m (no, seq, size, time) WHERE m.seq > 0 GROUP BY m.no
    ) p WHERE i.user_no = p.no;
    IF with_mids THEN
        INSERT INTO mids (user_no, sender_no, mid, digest, used_us, id, time)
        SELECT m.no, m.sender_no, m.mid, m.digest, m.now_us, m.id, m.time
        FROM unnest(nos, done.seqs, mid_senders, new_mids, digests, now_us, new_ids, new_times)
            AS m (no, seq, sender_no, mid, digest, now_us, id, time)
        WHERE m.seq > 0 AND m.mid IS NOT NULL
        ON CONFLICT (user_no, sender_no, mid) DO UPDATE
        SET digest = excluded.digest, used_us = excluded.used_us, id = excluded.id, time = excluded.time;
    END IF;
    done.recipients := nos;
    IF is_single THEN
        done := append_singly_v1(
            done, lost_up_to, nos, mid_senders, senders, nicks, new_ids, new_times, bodies, mimes, attachments, sizes,
            new_mids, digests, forgotten_us, now_us, most, most_bytes
        );
    END IF;
    IF is_plain THEN
        done.kinds := NULL;
        done.ids := NULL;
        done.times := NULL;
    END IF;
    UPDATE lanes SET batch = of_batch, kinds = done.kinds, seqs = done.seqs, recipients = done.recipients,
        dropped = done.dropped, ids = done.ids, times = done.times, seen = now()
    WHERE lane = of_lane;
    RETURN done;
END $$;
