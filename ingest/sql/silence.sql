-- name: heard_again
-- Stations that speak: first heard, or heard again after silence.
UPDATE station AS s SET state = 'online', state_since = h.heard_at
FROM (
    SELECT d.station_id, max(l.heard_at) AS heard_at, min(d.interval_s) AS interval_s
    FROM latest_observation AS l JOIN datastream AS d ON d.datastream_id = l.datastream_id
    WHERE l.heard_at IS NOT NULL
    GROUP BY d.station_id
) AS h
WHERE s.station_id = h.station_id AND s.state <> 'online'
  AND h.heard_at + make_interval(secs => %(intervals)s * h.interval_s + %(grace_s)s) >= %(now)s
RETURNING s.station_id, s.tenant_id, s.code;

-- name: fallen_silent
-- Stations that were heard and have said nothing for so long.
UPDATE station AS s SET state = 'silent', state_since = %(now)s
FROM (
    SELECT d.station_id, max(l.heard_at) AS heard_at, min(d.interval_s) AS interval_s
    FROM latest_observation AS l JOIN datastream AS d ON d.datastream_id = l.datastream_id
    WHERE l.heard_at IS NOT NULL
    GROUP BY d.station_id
) AS h
WHERE s.station_id = h.station_id AND s.state <> 'silent'
  AND h.heard_at + make_interval(secs => %(intervals)s * h.interval_s + %(grace_s)s) < %(now)s
RETURNING s.station_id, s.tenant_id, s.code;

-- name: still_online
-- How many stations of each tenant are heard.
SELECT tenant_id, count(*) FILTER (WHERE state = 'online') FROM station GROUP BY tenant_id;

-- name: feed_state
SELECT state FROM feed_state WHERE feed = %(feed)s FOR UPDATE;

-- name: keep_feed_state
INSERT INTO feed_state (feed, tenant_id, state, since, n_stations, detail)
VALUES (%(feed)s, %(tenant_id)s, %(state)s, %(since)s, %(n_stations)s, %(detail)s)
ON CONFLICT (feed) DO UPDATE
SET state = excluded.state, since = excluded.since, n_stations = excluded.n_stations, detail = excluded.detail;
