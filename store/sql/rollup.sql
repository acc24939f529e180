-- name: mark_dirty
-- One row a batch, so that marking costs next to nothing beside the readings themselves.
INSERT INTO rollup_dirty (datastream_ids, hours)
SELECT %(datastream_ids)s::bigint[], array_agg(to_timestamp(since_1970 * 3600.0) ORDER BY place)
FROM unnest(%(hours)s::bigint[]) WITH ORDINALITY AS hour (since_1970, place);

-- name: dirty_batches
-- Marks that are waiting, oldest first.
SELECT dirty_id, hours FROM rollup_dirty ORDER BY dirty_id LIMIT %(limit)s;

-- name: take_dirty
-- The marks go in the transaction that computes their hours.
DELETE FROM rollup_dirty WHERE dirty_id = ANY(%(ids)s) RETURNING datastream_ids, hours;

-- name: recompute_rollup
-- Hours from readings as they stand now. Where a continuous aggregate holds the rest, only hours that it cannot know:
-- those with a revision, and those that had one computed here before.
WITH dirty AS (
    SELECT datastream_id, hour
    FROM unnest(%(datastream_ids)s::bigint[], %(hours)s::timestamptz[]) AS marked (datastream_id, hour)
    WHERE %(every_hour)s
       OR EXISTS (SELECT FROM observation_rollup_hour AS had
                  WHERE had.datastream_id = marked.datastream_id AND had.hour = marked.hour)
       OR EXISTS (SELECT FROM observation_revision AS r
                  WHERE r.datastream_id = marked.datastream_id
                    AND r.observed_at >= marked.hour AND r.observed_at < marked.hour + interval '1 hour')
), computed AS (
    SELECT dirty.datastream_id, dirty.hour, made.*
    FROM dirty
    CROSS JOIN LATERAL (
        SELECT count(*) AS n,
               count(*) FILTER (WHERE quality = 3) AS n_suspect,
               count(*) FILTER (WHERE quality = 4) AS n_failed,
               count(*) FILTER (WHERE value IS NULL) AS n_missing,
               count(*) FILTER (WHERE value IS NOT NULL AND quality IN (1, 2, 3)) AS n_used,
               min(value) FILTER (WHERE quality IN (1, 2, 3)) AS lowest,
               max(value) FILTER (WHERE quality IN (1, 2, 3)) AS highest,
               sum(value) FILTER (WHERE quality IN (1, 2, 3)) AS total
        FROM observation_current AS o
        WHERE o.datastream_id = dirty.datastream_id
          AND o.observed_at >= dirty.hour AND o.observed_at < dirty.hour + interval '1 hour'
    ) AS made
    WHERE made.n > 0
)
INSERT INTO observation_rollup_hour AS kept
    (datastream_id, hour, n, n_suspect, n_failed, n_missing, n_used, lowest, highest, total)
SELECT datastream_id, hour, n, n_suspect, n_failed, n_missing, n_used, lowest, highest, total FROM computed
ON CONFLICT (datastream_id, hour) DO UPDATE
SET n = excluded.n, n_suspect = excluded.n_suspect, n_failed = excluded.n_failed, n_missing = excluded.n_missing,
    n_used = excluded.n_used, lowest = excluded.lowest, highest = excluded.highest, total = excluded.total;
