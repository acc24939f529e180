-- name: prune_ledger
DELETE FROM ingest_ledger WHERE received_at < %(before)s;

-- name: prune_stream
-- A browser that was away longer than this loads the page anew.
DELETE FROM stream_event WHERE at < %(before)s;

-- name: prune_sessions
DELETE FROM session WHERE expires_at < %(before)s;

-- name: prune_forecasts
DELETE FROM forecast WHERE known_at < %(before)s;

-- name: prune_idempotency
DELETE FROM idempotency WHERE created_at < %(before)s;

-- name: health
-- Sizes and backlogs; work counts as due when it is neither put off nor leased.
-- pg_database_size would need CONNECT, which the role shared by all of a cluster's databases must not have.
SELECT (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind IN ('r', 'm')) AS database_bytes,
       (SELECT count(*) FROM rollup_dirty) AS rollup_backlog,
       (SELECT jsonb_object_agg(consumer, n) FROM (
           SELECT consumer, count(*) AS n FROM outbox WHERE dead_at IS NULL GROUP BY consumer) AS waiting) AS outbox_waiting,
       (SELECT jsonb_object_agg(consumer, age) FROM (
           SELECT consumer, extract(epoch FROM clock_timestamp() - min(published_at)) AS age FROM outbox
           WHERE dead_at IS NULL AND available_at <= clock_timestamp()
             AND (lease_until IS NULL OR lease_until < clock_timestamp())
           GROUP BY consumer) AS oldest) AS outbox_oldest_s,
       (SELECT jsonb_object_agg(consumer, n) FROM (
           SELECT consumer, count(*) AS n FROM outbox WHERE dead_at IS NOT NULL GROUP BY consumer) AS dead) AS dead_letters;
