-- Takes what costs so much of a budget that is whole again after `period_us` at the latest; false when it holds less.
CREATE FUNCTION take_v1(of_kind smallint, of_key text, cost_us bigint, period_us bigint, now_us bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    from_us bigint;
    taken boolean;
BEGIN
    INSERT INTO budgets (kind, key, full_us) VALUES (of_kind, of_key, now_us) ON CONFLICT DO NOTHING;
    SELECT greatest(least(full_us, now_us + period_us), now_us) INTO from_us
    FROM budgets WHERE kind = of_kind AND key = of_key FOR UPDATE;
    from_us := coalesce(from_us, now_us);
    taken := from_us - now_us <= period_us - cost_us;
    UPDATE budgets SET full_us = from_us + CASE WHEN taken THEN cost_us ELSE 0 END
    WHERE kind = of_kind AND key = of_key;
    RETURN taken;
END $$;
