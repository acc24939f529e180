-- Readings on plain PostgreSQL: a partition a day, made ahead by store/maintain.py, and a default partition so that no
-- reading is ever refused.

CREATE TABLE observation (LIKE observation_shape INCLUDING ALL) PARTITION BY RANGE (observed_at);
CREATE TABLE observation_revision (LIKE observation_revision_shape INCLUDING ALL) PARTITION BY RANGE (observed_at);
DROP TABLE observation_shape, observation_revision_shape;
CREATE TABLE observation_default PARTITION OF observation DEFAULT;
CREATE TABLE observation_revision_default PARTITION OF observation_revision DEFAULT;
GRANT SELECT ON observation_default, observation_revision_default TO tocsin_worker;  -- to watch them

-- Makes the partitions of these days where they are missing and moves what the default partition holds of them there.
-- Attaching an own table takes a weak lock on the parent, so writers of other days go on. It takes a strong one on the
-- default partition: where a long read holds that, this gives up after a second and answers how many it made so far.
CREATE FUNCTION ensure_reading_partitions(days date[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' SET timezone = 'UTC'
AS $$
DECLARE
    parent text;
    day date;
    piece text;
    from_ timestamptz;
    until timestamptz;
    n_made integer := 0;
BEGIN
    IF cardinality(days) > 1000 THEN
        RAISE EXCEPTION 'at most 1000 days at once, not %', cardinality(days) USING ERRCODE = 'program_limit_exceeded';
    END IF;
    PERFORM pg_advisory_xact_lock(7463, 1);  -- one maker at a time
    FOREACH parent IN ARRAY ARRAY['observation', 'observation_revision'] LOOP
        FOR day IN SELECT DISTINCT d FROM unnest(days) AS d WHERE d IS NOT NULL ORDER BY d LOOP
            piece := parent || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass('public.' || piece) IS NOT NULL;
            from_ := day::timestamp AT TIME ZONE 'UTC';
            until := from_ + interval '1 day';
            BEGIN
                EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', parent || '_default');
                EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', piece, parent);
                EXECUTE format('WITH moved AS (DELETE FROM public.%I WHERE observed_at >= %L AND observed_at < %L RETURNING *)'
                               ' INSERT INTO public.%I SELECT * FROM moved', parent || '_default', from_, until, piece);
                EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                               parent, piece, from_, until);
            EXCEPTION WHEN lock_not_available THEN
                RETURN n_made;
            END;
            n_made := n_made + 1;
        END LOOP;
    END LOOP;
    RETURN n_made;
END $$;

CREATE VIEW observation_rollup AS SELECT * FROM observation_rollup_hour;
