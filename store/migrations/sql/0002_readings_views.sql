-- How readings are read. Tables of readings carry no tenant and no row-level security (columnstore forbids it), so
-- tocsin_app has no grant on them, only on the three tenant_* views below.

-- Each reading as it stands now: its newest revision with that revision's newest flags.
CREATE VIEW observation_current AS
SELECT o.datastream_id,
       o.observed_at,
       CASE WHEN r.revision IS NULL THEN o.value ELSE r.value END AS value,
       coalesce(r.quality, o.quality) AS quality,
       coalesce(r.tests, o.tests) AS tests,
       coalesce(r.revision, 0::smallint) AS revision,
       coalesce(r.flags_version, 0::smallint) AS flags_version,
       coalesce(r.received_at, o.received_at) AS received_at
FROM observation AS o
LEFT JOIN LATERAL (
    SELECT v.value, v.quality, v.tests, v.revision, v.flags_version, v.received_at
    FROM observation_revision AS v
    WHERE v.datastream_id = o.datastream_id AND v.observed_at = o.observed_at
    ORDER BY v.revision DESC, v.flags_version DESC
    LIMIT 1
) AS r ON true;

-- current_setting has no default here: where no tenant was set, reading these views is an error.
CREATE VIEW tenant_observation WITH (security_barrier) AS
SELECT o.datastream_id, d.station_id, d.quantity, d.unit, o.observed_at, o.value, o.quality, o.tests, o.revision,
       o.flags_version, o.received_at
FROM datastream AS d
JOIN station AS s ON s.station_id = d.station_id
JOIN observation_current AS o ON o.datastream_id = d.datastream_id
WHERE (d.tenant_id IS NULL OR d.tenant_id = current_setting('app.tenant')::uuid)
  AND (s.tenant_id IS NULL OR s.tenant_id = current_setting('app.tenant')::uuid);

CREATE VIEW tenant_latest_observation WITH (security_barrier) AS
SELECT l.datastream_id, d.station_id, d.quantity, d.unit, l.observed_at, l.value, l.quality, l.received_at
FROM datastream AS d
JOIN station AS s ON s.station_id = d.station_id
JOIN latest_observation AS l ON l.datastream_id = d.datastream_id
WHERE (d.tenant_id IS NULL OR d.tenant_id = current_setting('app.tenant')::uuid)
  AND (s.tenant_id IS NULL OR s.tenant_id = current_setting('app.tenant')::uuid);

CREATE VIEW tenant_observation_rollup WITH (security_barrier) AS
SELECT r.datastream_id, d.station_id, d.quantity, d.unit, r.hour, r.n, r.n_suspect, r.n_failed, r.n_missing, r.n_used,
       r.lowest, r.highest, r.total / nullif(r.n_used, 0) AS mean
FROM datastream AS d
JOIN station AS s ON s.station_id = d.station_id
JOIN observation_rollup AS r ON r.datastream_id = d.datastream_id
WHERE (d.tenant_id IS NULL OR d.tenant_id = current_setting('app.tenant')::uuid)
  AND (s.tenant_id IS NULL OR s.tenant_id = current_setting('app.tenant')::uuid);

-- A view reads with its owner's rights. The worker's policies let it see every row of datastream and station, also where
-- the schema's owner is no superuser and forced row-level security would show that owner nothing.
GRANT SELECT ON tenant_observation, tenant_latest_observation, tenant_observation_rollup TO tocsin_app;
GRANT CREATE ON SCHEMA public TO tocsin_worker;
ALTER VIEW observation_current OWNER TO tocsin_worker;
ALTER VIEW tenant_observation OWNER TO tocsin_worker;
ALTER VIEW tenant_latest_observation OWNER TO tocsin_worker;
ALTER VIEW tenant_observation_rollup OWNER TO tocsin_worker;
REVOKE CREATE ON SCHEMA public FROM tocsin_worker;

-- The schema's owner computes rollups from it. Only the view's owner can say so, and the owner of a view is not its reader.
DO $$
DECLARE me name := current_user;
BEGIN
    SET LOCAL ROLE tocsin_worker;
    EXECUTE format('GRANT SELECT ON observation_current TO %I', me);
    EXECUTE format('SET LOCAL ROLE %I', me);
END $$;

GRANT SELECT, INSERT ON observation, observation_revision TO tocsin_worker;  -- insert-only
GRANT SELECT ON observation_rollup TO tocsin_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON rollup_dirty, observation_rollup_hour TO tocsin_worker;
REVOKE EXECUTE ON FUNCTION ensure_reading_partitions(date[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_reading_partitions(date[]) TO tocsin_worker;

-- A reading as ingest remembers it: newest value and flags, the value first sent, and whether that is still to come
-- (bit 512 of `tests`: a correction came first; see ingest/series.py). Gets a row of `observation`.
CREATE FUNCTION reading_state(id bigint, at_ timestamptz, value_ double precision, quality_ smallint, tests_ integer)
RETURNS TABLE (datastream_id bigint, observed_us bigint, value double precision, original double precision, quality smallint,
               tests integer, revision smallint, flags_version smallint, placeholder boolean)
LANGUAGE sql STABLE ROWS 1
AS $$
SELECT id,
       (extract(epoch FROM at_) * 1000000)::bigint,
       CASE WHEN n.revision IS NULL THEN value_ ELSE n.value END,
       CASE WHEN f.revision IS NULL THEN value_ ELSE f.value END,
       coalesce(n.quality, quality_),
       coalesce(n.tests, tests_),
       coalesce(n.revision, 0::smallint),
       coalesce(n.flags_version, 0::smallint),
       (tests_ & 512) <> 0 AND f.revision IS NULL
FROM (SELECT) AS one
LEFT JOIN LATERAL (
    SELECT r.value, r.quality, r.tests, r.revision, r.flags_version
    FROM public.observation_revision AS r
    WHERE r.datastream_id = id AND r.observed_at = at_
    ORDER BY r.revision DESC, r.flags_version DESC LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
    SELECT r.revision, r.value
    FROM public.observation_revision AS r
    WHERE r.datastream_id = id AND r.observed_at = at_ AND r.revision = 0 LIMIT 1
) AS f ON n.revision IS NOT NULL
$$;
