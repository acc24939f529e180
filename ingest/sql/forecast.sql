-- name: forecast_streams
-- Datastreams of water level among these, with what tells their neighbours.
SELECT d.datastream_id, d.tenant_id, coalesce(s.basin, s.river) AS basin
FROM datastream AS d JOIN station AS s ON s.station_id = d.station_id
WHERE d.datastream_id = ANY(%(datastream_ids)s) AND d.quantity = 'level';

-- name: forecast_readings
-- Readings that a forecast may be made of, newest versions, oldest first: good ones whose clock was right.
SELECT w.datastream_id, o.observed_at, o.received_at, o.value
FROM unnest(%(datastream_ids)s::bigint[], %(since)s::timestamptz[]) AS w (datastream_id, since)
JOIN LATERAL (
    SELECT c.observed_at, c.received_at, c.value, c.quality FROM observation_current AS c
    WHERE c.datastream_id = w.datastream_id AND c.observed_at > w.since
) AS o ON true
WHERE o.value IS NOT NULL AND o.quality IN (1, 2) AND o.received_at <= %(until)s
  AND o.observed_at <= o.received_at + interval '120 seconds'
ORDER BY o.observed_at, w.datastream_id;

-- name: keep_forecasts
INSERT INTO forecast (datastream_id, tenant_id, made_at, known_at, model, value, horizons_h, path, reach, taus, quantiles)
VALUES (%(datastream_id)s, %(tenant_id)s, %(made_at)s, %(known_at)s, %(model)s, %(value)s, %(horizons_h)s::real[],
        %(path)s::real[], %(reach)s::real[], %(taus)s::real[], %(quantiles)s::real[])
ON CONFLICT (datastream_id, made_at) DO NOTHING;

-- name: outlooks_since
-- What was forecast for these datastreams since a time of each, oldest first.
SELECT w.datastream_id, f.made_at, f.known_at, f.model, f.value, f.horizons_h, f.path, f.reach, f.taus, f.quantiles
FROM unnest(%(datastream_ids)s::bigint[], %(since)s::timestamptz[]) AS w (datastream_id, since)
JOIN forecast AS f ON f.datastream_id = w.datastream_id AND f.made_at >= w.since
ORDER BY w.datastream_id, f.made_at;
