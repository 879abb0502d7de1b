-- Users of whom something was written that is computed by a rule, see computed.rs. Servers of another rule may write, too, and those of
-- earlier versions do not say which theirs is: so everybody is noted here whose skeleton or keys anyone writes, until it was looked whether
-- they are right.
CREATE TABLE unchecked (
    user_no bigint PRIMARY KEY,
    number  bigint GENERATED ALWAYS AS IDENTITY          -- another one each time
);

CREATE FUNCTION note_unchecked_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unchecked (user_no) VALUES (NEW.no) ON CONFLICT (user_no) DO UPDATE SET number = DEFAULT;
    RETURN NULL;
END $$;

CREATE TRIGGER note_created AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION note_unchecked_v1();

CREATE TRIGGER note_changed AFTER UPDATE OF skeleton, email_key, phone_key ON users FOR EACH ROW
WHEN ((OLD.skeleton, OLD.email, OLD.phone, OLD.email_key, OLD.phone_key)
    IS DISTINCT FROM (NEW.skeleton, NEW.email, NEW.phone, NEW.email_key, NEW.phone_key))
EXECUTE FUNCTION note_unchecked_v1();

CREATE FUNCTION users_v1(nos bigint[]) RETURNS SETOF users LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    SELECT u.* FROM unnest(nos) AS n (user_no) JOIN users u ON u.no = n.user_no
$$;

CREATE FUNCTION set_skeletons_v1(nos bigint[], skeletons text[]) RETURNS void LANGUAGE sql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    UPDATE users u SET skeleton = n.skeleton FROM unnest(nos, skeletons) AS n (user_no, skeleton) WHERE u.no = n.user_no
$$;

-- Keys of addresses that are still the same.
CREATE FUNCTION set_keys_v1(nos bigint[], emails text[], phones text[], email_keys text[], phone_keys text[])
RETURNS void LANGUAGE sql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    UPDATE users u SET email_key = n.email_key, phone_key = n.phone_key
    FROM unnest(nos, emails, phones, email_keys, phone_keys) AS n (user_no, email, phone, email_key, phone_key)
    WHERE u.no = n.user_no AND u.email = n.email AND u.phone = n.phone
$$;

-- These users are right. But not who was written again meanwhile, and nobody when it is another rule that holds now.
CREATE FUNCTION set_checked_v1(nos bigint[], numbers bigint[], by_skeletons text, by_keys text)
RETURNS void LANGUAGE sql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    DELETE FROM unchecked u USING unnest(nos, numbers) AS n (user_no, number)
    WHERE u.user_no = n.user_no AND u.number = n.number
    AND EXISTS (SELECT FROM about WHERE name = 'skeletons' AND value = by_skeletons)
    AND EXISTS (SELECT FROM about WHERE name = 'address rule' AND value = by_keys)
$$;
