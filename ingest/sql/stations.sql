-- name: tenant_id
SELECT tenant_id FROM tenant WHERE slug = %(slug)s;

-- name: add_tenant
INSERT INTO tenant (tenant_id, slug, name) VALUES (%(tenant_id)s, %(slug)s, %(name)s) ON CONFLICT (slug) DO NOTHING;

-- name: keep_station
-- Registers a station or renews what is told of it.
INSERT INTO station (station_id, tenant_id, code, name, lon, lat, river, basin)
VALUES (%(station_id)s, %(tenant_id)s, %(code)s, %(name)s, %(lon)s, %(lat)s, %(river)s, %(basin)s)
ON CONFLICT (tenant_id, code) DO UPDATE
SET name = excluded.name, lon = coalesce(excluded.lon, station.lon), lat = coalesce(excluded.lat, station.lat),
    river = coalesce(excluded.river, station.river), basin = coalesce(excluded.basin, station.basin)
RETURNING station_id;

-- name: keep_datastream
INSERT INTO datastream (station_id, tenant_id, quantity, unit, interval_s, thresholds)
VALUES (%(station_id)s, %(tenant_id)s, %(quantity)s, %(unit)s, %(interval_s)s, %(thresholds)s)
ON CONFLICT (station_id, quantity) DO UPDATE
SET interval_s = excluded.interval_s, thresholds = excluded.thresholds,
    thresholds_version = datastream.thresholds_version + (datastream.thresholds <> excluded.thresholds)::integer
RETURNING datastream_id;

-- name: export_observations
-- Every reading as it stands now, by station and time.
SELECT s.code, d.quantity, o.observed_at, o.value, o.quality, o.revision
FROM observation_current AS o
JOIN datastream AS d ON d.datastream_id = o.datastream_id
JOIN station AS s ON s.station_id = d.station_id
LEFT JOIN tenant AS t ON t.tenant_id = s.tenant_id
WHERE (%(slug)s::text IS NULL OR coalesce(t.slug, 'public') = %(slug)s)
  AND (%(quantity)s::text IS NULL OR d.quantity = %(quantity)s)
  AND (%(since)s::timestamptz IS NULL OR o.observed_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR o.observed_at < %(until)s)
ORDER BY s.code COLLATE "C", d.quantity, o.observed_at;
