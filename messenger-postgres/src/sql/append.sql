-- Messages are appended in batches, of which the server says who the recipients are, how many messages each gets, and where
-- among those each stands. Statements here have a plan each, made once: from the batch to the tables by their keys, however
-- small those were when it was made.

-- Appends those of a batch one by one that are not simply stored: to an inbox without room for all of them, of a sender who is
-- gone, under a mid that was used.
CREATE FUNCTION append_singly_v1(
    INOUT done lanes, lost_up_to bigint, most bigint[], most_bytes bigint[],
    recipients integer[], sender_nos bigint[], senders text[], nicks text[], new_ids text[], new_times bigint[],
    bodies text[], mimes text[], attachments text[], sizes bigint[],
    new_mids text[], digests bytea[], forgotten_us bigint[], now_us bigint[]
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    count constant integer := cardinality(recipients);
    most_here bigint;
    most_bytes_here bigint;
    mid_sender bigint;
    box inboxes;
    new record;
    first mids;
    shed record;
BEGIN
    done.kinds := array_fill(0::smallint, ARRAY[count]);
    done.seqs := array_fill(0::bigint, ARRAY[count]);
    done.dropped := array_fill(0::bigint, ARRAY[count]);
    done.ids := array_fill(NULL::text, ARRAY[count]);
    done.times := array_fill(NULL::bigint, ARRAY[count]);
    FOR new IN
        SELECT m.* FROM unnest(
            recipients, sender_nos, senders, nicks, new_ids, new_times, bodies, mimes, attachments, sizes,
            new_mids, digests, forgotten_us, now_us
        ) WITH ORDINALITY AS m (
            recipient, sender_no, sender, nick, id, time, body, mime, attachment, size,
            mid, digest, forgotten_us, now_us, n
        ) WHERE done.bases[m.recipient] = -1 ORDER BY m.recipient, m.n
    LOOP
        SELECT * INTO box FROM inboxes WHERE user_no = done.nos[new.recipient];
        IF NOT FOUND THEN
            done.kinds[new.n] := 2;
            CONTINUE;
        ELSIF new.sender_no IS NOT NULL AND NOT EXISTS (SELECT FROM users WHERE no = new.sender_no) THEN
            done.kinds[new.n] := 3;
            CONTINUE;
        END IF;
        IF new.mid IS NOT NULL THEN
            mid_sender := coalesce(new.sender_no, (SELECT no FROM users WHERE login = new.sender), 0);
            SELECT * INTO first FROM mids
            WHERE user_no = box.user_no AND sender_no = mid_sender AND mid = new.mid AND used_us >= new.forgotten_us;
            IF FOUND THEN
                done.kinds[new.n] := CASE WHEN first.digest = new.digest THEN 1 ELSE 5 END;
                done.ids[new.n] := first.id;
                done.times[new.n] := first.time;
                CONTINUE;
            END IF;
        END IF;
        most_here := most[new.recipient];
        most_bytes_here := most_bytes[new.recipient];
        IF box.waiting >= most_here OR new.size > most_bytes_here - box.waiting_bytes THEN
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
            VALUES (box.user_no, mid_sender, new.mid, new.digest, new.now_us, new.id, new.time)
            ON CONFLICT (user_no, sender_no, mid) DO UPDATE
            SET digest = excluded.digest, used_us = excluded.used_us, id = excluded.id, time = excluded.time;
        END IF;
        done.seqs[new.n] := box.newest;
        IF box.kept > most_here THEN
            shed := shed_v1(box.user_no, box.given, box.kept - most_here, false);
            box.kept := box.kept - shed.count;
            box.bytes := box.bytes - shed.bytes;
            done.dropped[new.n] := shed.count;
        END IF;
        IF box.bytes > most_bytes_here THEN
            shed := shed_v1(box.user_no, box.given, box.bytes - most_bytes_here, true);
            box.kept := box.kept - shed.count;
            box.bytes := box.bytes - shed.bytes;
            done.dropped[new.n] := done.dropped[new.n] + shed.count;
        END IF;
        UPDATE inboxes SET newest = box.newest, kept = box.kept, bytes = box.bytes, waiting = box.waiting + 1,
            waiting_bytes = box.waiting_bytes + new.size, oldest_time = coalesce(box.oldest_time, new.time)
        WHERE user_no = box.user_no;
    END LOOP;
END $$;

-- Appends a batch of messages, and says what each came to. A batch that was appended before is not again: it is told what it
-- came to then. One that comes after a later one of its lane is too late for ever. `answered` is the last batch that was: a
-- row which knows less is of a database that has lost what it had committed.
CREATE FUNCTION append_v1(
    of_lane bigint, of_batch bigint, answered bigint,
    waits boolean,                                       -- for an inbox that another has locked; or it is told by the base -2
    -- Recipients: how many messages each gets, of how many bytes, the time of the first, and what the inbox holds.
    logins text[], counts bigint[], new_bytes bigint[], first_times bigint[], most bigint[], most_bytes bigint[],
    some_senders bigint[],                               -- each once
    -- Messages: for which recipient, and as which of its messages here.
    recipients integer[], places integer[],
    sender_nos bigint[], senders text[], nicks text[], new_ids text[], new_times bigint[],
    bodies text[], mimes text[], attachments text[], sizes bigint[],
    new_mids text[], digests bytea[], forgotten_us bigint[], now_us bigint[]    -- empty if there is no mid
) RETURNS lanes LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    done lanes;
    lost_up_to bigint;
    box record;
    gone bigint[];
    odd integer[];
    number integer;
BEGIN
    IF answered = 0 THEN
        INSERT INTO lanes (lane, batch) VALUES (of_lane, 0) ON CONFLICT DO NOTHING;
    END IF;
    SELECT * INTO done FROM lanes WHERE lane = of_lane FOR UPDATE;
    IF NOT FOUND OR done.batch < answered THEN
        RAISE EXCEPTION 'batch % of lane % was committed, and is lost', answered, of_lane USING ERRCODE = 'MSG01';
    ELSIF done.batch = of_batch THEN
        RETURN done;
    ELSIF done.batch > of_batch THEN
        RAISE EXCEPTION 'batch % of lane % comes after a later one', of_batch, of_lane USING ERRCODE = 'MSG02';
    END IF;
    -- A nested loop keeps the order of the batch.
    SELECT array_agg(coalesce(u.no, 0)), (SELECT value::bigint FROM about WHERE name = 'lost up to')
    INTO done.nos, lost_up_to
    FROM unnest(logins) AS r (login) LEFT JOIN users u ON u.login = r.login;
    lost_up_to := coalesce(lost_up_to, 0);
    done.bases := ARRAY(SELECT CASE WHEN r.no = 0 THEN -1 ELSE -2 END FROM unnest(done.nos) AS r (no));
    -- Nobody else waits for an inbox that another has locked.
    FOR box IN
        SELECT r.n, i.newest, i.kept, i.bytes FROM unnest(done.nos) WITH ORDINALITY AS r (no, n)
        JOIN inboxes i ON i.user_no = r.no ORDER BY i.user_no FOR NO KEY UPDATE OF i SKIP LOCKED
    LOOP
        -- Not more is kept than before and what comes; what waits is a part of it.
        done.bases[box.n] := CASE
            WHEN box.kept + counts[box.n] <= most[box.n] AND box.bytes + new_bytes[box.n] <= most_bytes[box.n]
            THEN greatest(box.newest, lost_up_to) ELSE -1
        END;
    END LOOP;
    IF waits AND -2 = ANY (done.bases) THEN
        PERFORM set_config('lock_timeout', '500ms', true);
        FOR number IN SELECT r.n FROM unnest(done.nos, done.bases) WITH ORDINALITY AS r (no, base, n)
            WHERE r.base = -2 ORDER BY r.no
        LOOP
            BEGIN
                SELECT i.newest, i.kept, i.bytes INTO box FROM inboxes i
                WHERE i.user_no = done.nos[number] FOR NO KEY UPDATE;
                done.bases[number] := CASE
                    WHEN box.kept + counts[number] <= most[number] AND box.bytes + new_bytes[number] <= most_bytes[number]
                    THEN greatest(box.newest, lost_up_to) ELSE -1
                END;
            EXCEPTION WHEN lock_not_available THEN
                -- The others have waited meanwhile.
                PERFORM set_config('lock_timeout', '1ms', true);
            END;
        END LOOP;
    END IF;
    SELECT array_agg(s.no) INTO gone FROM unnest(some_senders) AS s (no) WHERE NOT EXISTS (SELECT FROM users u WHERE u.no = s.no);
    IF gone IS NOT NULL THEN
        odd := ARRAY(SELECT m.recipient FROM unnest(recipients, sender_nos) AS m (recipient, no) WHERE m.no = ANY (gone));
    END IF;
    IF new_mids <> '{}' THEN
        odd := odd || ARRAY(
            SELECT m.recipient FROM unnest(recipients, sender_nos, senders, new_mids, forgotten_us)
                AS m (recipient, sender_no, sender, mid, forgotten_us)
            WHERE EXISTS (
                SELECT FROM mids f WHERE f.user_no = done.nos[m.recipient] AND f.mid = m.mid AND f.used_us >= m.forgotten_us
                AND f.sender_no = coalesce(m.sender_no, (SELECT no FROM users WHERE login = m.sender), 0)
            )
        ) || ARRAY(
            SELECT m.recipient FROM unnest(recipients, senders, new_mids) AS m (recipient, sender, mid)
            WHERE m.mid IS NOT NULL GROUP BY m.recipient, m.sender, m.mid HAVING count(*) > 1
        );
    END IF;
    IF odd IS NOT NULL THEN
        FOREACH number IN ARRAY odd LOOP
            done.bases[number] := least(done.bases[number], -1);
        END LOOP;
    END IF;
    WITH counted AS (
        UPDATE inboxes i SET newest = r.base + r.count, kept = i.kept + r.count, bytes = i.bytes + r.bytes,
            waiting = i.waiting + r.count, waiting_bytes = i.waiting_bytes + r.bytes,
            oldest_time = coalesce(i.oldest_time, r.time)
        FROM unnest(done.nos, done.bases, counts, new_bytes, first_times) AS r (no, base, count, bytes, time)
        WHERE i.user_no = r.no AND r.base >= 0
    )
    INSERT INTO messages (user_no, seq, size, time, id, sender, nick, body, mime, attachment)
    SELECT done.nos[m.recipient], done.bases[m.recipient] + m.place, m.size, m.time, m.id, m.sender, m.nick,
        m.body, m.mime, m.attachment
    FROM unnest(recipients, places, sizes, new_times, new_ids, senders, nicks, bodies, mimes, attachments)
        AS m (recipient, place, size, time, id, sender, nick, body, mime, attachment)
    WHERE done.bases[m.recipient] >= 0;
    IF new_mids <> '{}' THEN
        INSERT INTO mids (user_no, sender_no, mid, digest, used_us, id, time)
        SELECT done.nos[m.recipient], coalesce(m.sender_no, (SELECT no FROM users WHERE login = m.sender), 0),
            m.mid, m.digest, m.now_us, m.id, m.time
        FROM unnest(recipients, sender_nos, senders, new_mids, digests, now_us, new_ids, new_times)
            AS m (recipient, sender_no, sender, mid, digest, now_us, id, time)
        WHERE m.mid IS NOT NULL AND done.bases[m.recipient] >= 0
        ON CONFLICT (user_no, sender_no, mid) DO UPDATE
        SET digest = excluded.digest, used_us = excluded.used_us, id = excluded.id, time = excluded.time;
    END IF;
    IF -1 = ANY (done.bases) THEN
        done := append_singly_v1(
            done, lost_up_to, most, most_bytes, recipients, sender_nos, senders, nicks, new_ids, new_times,
            bodies, mimes, attachments, sizes, new_mids, digests, forgotten_us, now_us
        );
    ELSE
        done.kinds := NULL;
        done.seqs := NULL;
        done.dropped := NULL;
        done.ids := NULL;
        done.times := NULL;
    END IF;
    UPDATE lanes SET batch = of_batch, nos = done.nos, bases = done.bases, kinds = done.kinds, seqs = done.seqs,
        dropped = done.dropped, ids = done.ids, times = done.times, seen = now()
    WHERE lane = of_lane;
    RETURN done;
END $$;
