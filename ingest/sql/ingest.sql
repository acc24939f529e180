-- name: exercise
-- Whether this database is for exercises: only there is a replay's envelope taken.
SELECT exercise FROM installation;

-- name: sites
-- Stations by tenant slug and topic segment, with their datastreams. Slug 'public': stations without a tenant.
SELECT a.slug, a.segment, s.station_id, s.tenant_id, s.code, d.datastream_id, d.quantity, d.interval_s, d.thresholds
FROM unnest(%(slugs)s::text[], %(segments)s::text[]) AS a (slug, segment)
LEFT JOIN tenant AS t ON t.slug = a.slug
JOIN station AS s ON s.tenant_id IS NOT DISTINCT FROM t.tenant_id AND topic_segment(s.code) = a.segment
LEFT JOIN datastream AS d ON d.station_id = s.station_id
WHERE a.slug = 'public' OR t.tenant_id IS NOT NULL
ORDER BY a.slug, a.segment, d.datastream_id;

-- name: add_datastream
-- A station that is known may begin to measure something else; its interval is the shortest the station has.
INSERT INTO datastream (station_id, tenant_id, quantity, unit, interval_s)
SELECT s.station_id, s.tenant_id, %(quantity)s, %(unit)s,
       coalesce((SELECT min(d.interval_s) FROM datastream AS d WHERE d.station_id = s.station_id), 600)
FROM station AS s WHERE s.station_id = %(station_id)s
ON CONFLICT (station_id, quantity) DO NOTHING;

-- name: recent
-- The newest readings of each datastream with their first values, oldest first.
-- `< 1` and not `= 0`: the planner takes an equality without statistics for one row in 200, believes that few rows come,
-- and reads and sorts a datastream's whole past instead of walking its index backwards.
SELECT c.datastream_id, c.observed_us, c.value, c.original, c.quality, c.tests, c.revision, c.flags_version, c.placeholder
FROM unnest(%(datastream_ids)s::bigint[]) AS a (datastream_id)
CROSS JOIN LATERAL (
    SELECT * FROM observation AS o
    WHERE o.datastream_id = a.datastream_id AND (o.tests & %(clock_suspect)s) < 1
    ORDER BY o.observed_at DESC
    LIMIT %(n)s
) AS o
CROSS JOIN LATERAL reading_state(o.datastream_id, o.observed_at, o.value, o.quality, o.tests) AS c
ORDER BY c.datastream_id, c.observed_us;

-- name: window
-- For each datastream the readings from %(n_before)s before its span to %(n_after)s after it, oldest first.
SELECT c.datastream_id, c.observed_us, c.value, c.original, c.quality, c.tests, c.revision, c.flags_version, c.placeholder
FROM unnest(%(datastream_ids)s::bigint[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS a (datastream_id, since, until)
CROSS JOIN LATERAL (
    (SELECT * FROM observation AS o
     WHERE o.datastream_id = a.datastream_id AND o.observed_at < a.since AND (o.tests & %(clock_suspect)s) < 1
     ORDER BY o.observed_at DESC LIMIT %(n_before)s)
    UNION ALL
    (SELECT * FROM observation AS o
     WHERE o.datastream_id = a.datastream_id AND o.observed_at BETWEEN a.since AND a.until AND (o.tests & %(clock_suspect)s) < 1)
    UNION ALL
    (SELECT * FROM observation AS o
     WHERE o.datastream_id = a.datastream_id AND o.observed_at > a.until AND (o.tests & %(clock_suspect)s) < 1
     ORDER BY o.observed_at LIMIT %(n_after)s)
) AS o
CROSS JOIN LATERAL reading_state(o.datastream_id, o.observed_at, o.value, o.quality, o.tests) AS c
ORDER BY c.datastream_id, c.observed_us;

-- name: by_key
-- Single readings by datastream and time.
SELECT c.datastream_id, c.observed_us, c.value, c.original, c.quality, c.tests, c.revision, c.flags_version, c.placeholder
FROM unnest(%(datastream_ids)s::bigint[], %(times)s::timestamptz[]) AS a (datastream_id, observed_at)
JOIN observation AS o ON o.datastream_id = a.datastream_id AND o.observed_at = a.observed_at
CROSS JOIN LATERAL reading_state(o.datastream_id, o.observed_at, o.value, o.quality, o.tests) AS c;

-- name: wrong_clocks
-- Which of these readings (counted from 1) are stored with a wrong clock, and what of it was wrong.
SELECT a.n, o.tests & %(clock_suspect)s
FROM unnest(%(datastream_ids)s::bigint[], %(times)s::timestamptz[]) WITH ORDINALITY AS a (datastream_id, observed_at, n)
JOIN observation AS o ON o.datastream_id = a.datastream_id AND o.observed_at = a.observed_at
WHERE (o.tests & %(clock_suspect)s) > 0;

-- name: make_staging
-- Where a batch lies while it is compared with what is stored; empty again after each transaction.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_ledger (
    n integer NOT NULL, source text NOT NULL, message_id text NOT NULL, datastream_id bigint NOT NULL,
    observed_at timestamptz NOT NULL, received_at timestamptz NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_observation (
    datastream_id bigint NOT NULL, observed_at timestamptz NOT NULL, value double precision, quality smallint NOT NULL,
    tests integer NOT NULL, received_at timestamptz NOT NULL
) ON COMMIT DELETE ROWS;

-- name: copy_ledger
COPY ingest_ledger (source, message_id, datastream_id, observed_at, received_at) FROM STDIN (FORMAT BINARY);

-- name: copy_staged_ledger
COPY staged_ledger (n, source, message_id, datastream_id, observed_at, received_at) FROM STDIN (FORMAT BINARY);

-- name: keep_staged_ledger
-- The first copy of each message id; what comes back is new.
INSERT INTO ingest_ledger (source, message_id, datastream_id, observed_at, received_at)
SELECT source, message_id, datastream_id, observed_at, received_at FROM staged_ledger ORDER BY n
ON CONFLICT (source, message_id) DO NOTHING
RETURNING source, message_id;

-- name: known_staged_ledger
-- What the ledger says of this batch's message ids: the reading each stood for when it came first.
SELECT s.n, l.datastream_id = s.datastream_id AND l.observed_at = s.observed_at AS same
FROM staged_ledger AS s JOIN ingest_ledger AS l ON l.source = s.source AND l.message_id = s.message_id;

-- name: copy_observations
COPY observation (datastream_id, observed_at, value, quality, tests, received_at) FROM STDIN (FORMAT BINARY);

-- name: copy_staged_observations
COPY staged_observation (datastream_id, observed_at, value, quality, tests, received_at) FROM STDIN (FORMAT BINARY);

-- name: keep_staged_observations
-- Keeps the first copy of a reading; what is not counted was stored by somebody else meanwhile.
INSERT INTO observation (datastream_id, observed_at, value, quality, tests, received_at)
SELECT datastream_id, observed_at, value, quality, tests, received_at FROM staged_observation
ON CONFLICT (datastream_id, observed_at) DO NOTHING;

-- name: copy_revisions
COPY observation_revision (datastream_id, observed_at, revision, flags_version, value, quality, tests, received_at) FROM STDIN;

-- name: quarantine
-- The same bytes for the same reason are one row that counts.
INSERT INTO quarantine (quarantine_id, fingerprint, topic, payload, reason, detail, first_seen_at, last_seen_at, n_seen)
SELECT * FROM unnest(%(ids)s::uuid[], %(fingerprints)s::bytea[], %(topics)s::text[], %(payloads)s::bytea[], %(reasons)s::text[],
                     %(details)s::text[], %(seen)s::timestamptz[], %(seen)s::timestamptz[], %(counts)s::bigint[])
ON CONFLICT (fingerprint) DO UPDATE
SET n_seen = quarantine.n_seen + excluded.n_seen, last_seen_at = greatest(quarantine.last_seen_at, excluded.last_seen_at);

-- name: move_clock
-- A replay at full speed: the clock stands at the newest arrival that is committed. A running clock is left alone.
UPDATE scenario_clock SET held_at = %(at)s WHERE held_at < %(at)s;

-- name: keep_latest
-- The newest reading of each datastream by the time it counts for, and when the datastream was last heard at all.
INSERT INTO latest_observation AS l (datastream_id, observed_at, value, quality, received_at, effective_at, heard_at)
SELECT * FROM unnest(%(datastream_ids)s::bigint[], %(observed)s::timestamptz[], %(values)s::float8[], %(qualities)s::smallint[],
                     %(received)s::timestamptz[], %(effective)s::timestamptz[], %(heard)s::timestamptz[])
ON CONFLICT (datastream_id) DO UPDATE SET
    (observed_at, value, quality, received_at, effective_at) = (
        SELECT n.observed_at, n.value, n.quality, n.received_at, n.effective_at
        FROM (VALUES (excluded.observed_at, excluded.value, excluded.quality, excluded.received_at, excluded.effective_at),
                     (l.observed_at, l.value, l.quality, l.received_at, coalesce(l.effective_at, l.observed_at)))
             AS n (observed_at, value, quality, received_at, effective_at)
        ORDER BY n.effective_at DESC, n.received_at DESC
        LIMIT 1),
    heard_at = greatest(l.heard_at, excluded.heard_at);

-- name: forget_old_messages
-- Message ids are remembered for seven days; the readings' own keys go on for ever.
DELETE FROM ingest_ledger WHERE received_at < %(before)s;

-- name: tell_writers
SELECT pg_notify('tocsin_readings', %(datastream_ids)s);

-- name: listen
LISTEN tocsin_readings;

-- name: tell_replay
SELECT pg_notify('tocsin_replay', %(mark)s);

-- name: listen_replay
LISTEN tocsin_replay;

-- name: waiting_work
-- Work that a consumer has still to do.
SELECT count(*) FROM outbox WHERE consumer = %(consumer)s AND dead_at IS NULL;

-- name: counts
-- What is stored, for a summary.
SELECT (SELECT count(*) FROM observation), (SELECT count(*) FROM observation_revision WHERE revision > 0 AND flags_version = 0),
       (SELECT coalesce(sum(n_seen), 0)::bigint FROM quarantine), (SELECT count(*) FROM quarantine);

-- name: has_observations
SELECT EXISTS (SELECT FROM observation);
