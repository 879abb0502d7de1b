-- The card of the one added; without a row there is no such user.
CREATE FUNCTION add_contact_v1(adding bigint, new_login text, most bigint)
RETURNS TABLE (refusal integer, login text, nick text, email text, phone text, picture text)
LANGUAGE plpgsql AS $$
DECLARE
    added users;
    refused integer := 0;                                -- 1: is a contact already. 2: the list is full
BEGIN
    -- One at a time counts an owner's contacts, and neither of the two is deleted meanwhile.
    PERFORM FROM users u WHERE u.no = adding OR u.login = new_login ORDER BY u.no FOR NO KEY UPDATE;
    SELECT * INTO added FROM users u WHERE u.login = new_login;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM users u WHERE u.no = adding) THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM contacts WHERE owner_no = adding AND contact_no = added.no) THEN
        refused := 1;
    ELSIF (SELECT count(*) FROM contacts WHERE owner_no = adding) >= most THEN
        refused := 2;
    ELSE
        INSERT INTO contacts (owner_no, contact_no) VALUES (adding, added.no);
    END IF;
    RETURN QUERY SELECT refused, added.login, added.nick, added.email, added.phone, added.picture;
END $$;

-- Users by their addresses' keys, of which each belongs to an entry of that number; no more bytes than asked for, or one
-- user more.
CREATE FUNCTION find_users_v1(
    email_entries bigint[], emails text[], phone_entries bigint[], phones text[], matches bigint, most_bytes bigint
) RETURNS TABLE (entry bigint, login text, nick text, email text, phone text, picture text)
LANGUAGE sql STABLE AS $$
    WITH found AS (
        SELECT asked.entry, known.no, known.login
        FROM unnest(email_entries, emails) AS asked (entry, key) CROSS JOIN LATERAL (
            SELECT u.no, u.login FROM users u WHERE u.email_key = asked.key ORDER BY u.login LIMIT matches
        ) known
        UNION
        SELECT asked.entry, known.no, known.login
        FROM unnest(phone_entries, phones) AS asked (entry, key) CROSS JOIN LATERAL (
            SELECT u.no, u.login FROM users u WHERE u.phone_key = asked.key ORDER BY u.login LIMIT matches
        ) known
    ), placed AS (
        SELECT f.entry, f.no, row_number() OVER (PARTITION BY f.entry ORDER BY f.login) AS place FROM found f
    ), sized AS (
        SELECT p.entry, u.*,
            sum(octet_length(u.picture)::bigint) OVER (ORDER BY p.entry, u.login) - octet_length(u.picture) AS before
        FROM placed p JOIN users u ON u.no = p.no WHERE p.place <= matches
    )
    SELECT s.entry, s.login, s.nick, s.email, s.phone, s.picture FROM sized s
    WHERE s.before <= most_bytes ORDER BY s.entry, s.login
$$;

-- Remembers under which of the owner's ids users were found.
CREATE FUNCTION remember_v1(remembering bigint, logins text[], new_myids text[], most bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    known record;
    remembered bigint;
BEGIN
    PERFORM FROM users WHERE no = remembering FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT count(*) INTO remembered FROM myids WHERE owner_no = remembering;
    FOR known IN
        SELECT u.no, f.myid FROM unnest(logins, new_myids) WITH ORDINALITY AS f (login, myid, n)
        JOIN users u ON u.login = f.login ORDER BY f.n
    LOOP
        UPDATE myids SET myid = known.myid WHERE owner_no = remembering AND user_no = known.no;
        IF NOT FOUND AND remembered < most THEN
            INSERT INTO myids (owner_no, user_no, myid) VALUES (remembering, known.no, known.myid);
            remembered := remembered + 1;
        END IF;
    END LOOP;
END $$;
