-- The browsers' stream. Written and tailed as tocsin_worker, replayed as tocsin_app for one tenant.

-- name: take_sequencer
-- True for the one process whose connection numbers the stream's events; the lock ends with the connection.
SELECT pg_try_advisory_lock(7463002) AS taken;

-- name: stream_edges
SELECT coalesce((SELECT min(stream_id) FROM stream_event), h.stream_id + 1) AS oldest, h.stream_id AS newest
FROM stream_head AS h;

-- name: stream_after
-- Every tenant's events after this id, in order.
SELECT stream_id, tenant_id, kind, payload, at FROM stream_event
WHERE stream_id > %(after)s ORDER BY stream_id LIMIT %(limit)s;

-- name: replay
-- One tenant's and the public events in a span, in order.
SELECT stream_id, tenant_id, kind, payload, at FROM stream_event
WHERE stream_id > %(after)s AND stream_id <= %(until)s AND kind = ANY(%(kinds)s) ORDER BY stream_id LIMIT %(limit)s;
