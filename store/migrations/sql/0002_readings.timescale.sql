-- Readings on TimescaleDB: hypertables of one-day chunks with columnstore, and a continuous aggregate.
-- Policies (when to compress, when to drop) are added by store/dialect.py, in a live database only.

CREATE TABLE observation (LIKE observation_shape INCLUDING ALL);
CREATE TABLE observation_revision (LIKE observation_revision_shape INCLUDING ALL);
DROP TABLE observation_shape, observation_revision_shape;
SELECT create_hypertable('observation', 'observed_at', chunk_time_interval => interval '1 day', create_default_indexes => false);
SELECT create_hypertable('observation_revision', 'observed_at', chunk_time_interval => interval '1 day', create_default_indexes => false);

ALTER TABLE observation SET (timescaledb.enable_columnstore = true, timescaledb.segmentby = 'datastream_id',
    timescaledb.orderby = 'observed_at DESC');
ALTER TABLE observation_revision SET (timescaledb.enable_columnstore = true, timescaledb.segmentby = 'datastream_id',
    timescaledb.orderby = 'observed_at DESC, revision DESC, flags_version DESC');

-- Chunks make themselves; the same call works on both engines.
CREATE FUNCTION ensure_reading_partitions(days date[]) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0';

-- Real-time aggregation is off: an hour is as the last run of store/maintain.py left it, as on plain PostgreSQL.
CREATE MATERIALIZED VIEW observation_rollup_raw
    WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
SELECT datastream_id,
       time_bucket(interval '1 hour', observed_at) AS hour,
       count(*) AS n,
       count(*) FILTER (WHERE quality = 3) AS n_suspect,
       count(*) FILTER (WHERE quality = 4) AS n_failed,
       count(*) FILTER (WHERE value IS NULL) AS n_missing,
       count(*) FILTER (WHERE value IS NOT NULL AND quality IN (1, 2, 3)) AS n_used,
       min(value) FILTER (WHERE quality IN (1, 2, 3)) AS lowest,
       max(value) FILTER (WHERE quality IN (1, 2, 3)) AS highest,
       sum(value) FILTER (WHERE quality IN (1, 2, 3)) AS total
FROM observation
GROUP BY datastream_id, time_bucket(interval '1 hour', observed_at)
WITH NO DATA;

CREATE VIEW observation_rollup AS
SELECT datastream_id, hour, n, n_suspect, n_failed, n_missing, n_used, lowest, highest, total FROM observation_rollup_hour
UNION ALL
SELECT datastream_id, hour, n, n_suspect, n_failed, n_missing, n_used, lowest, highest, total FROM observation_rollup_raw AS raw
WHERE NOT EXISTS (SELECT FROM observation_rollup_hour AS exact WHERE exact.datastream_id = raw.datastream_id AND exact.hour = raw.hour);
