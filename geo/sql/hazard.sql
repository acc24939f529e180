-- name: save_hazard_event
INSERT INTO hazard_event (hazard_event_id, tenant_id, code, peril, name, started_at)
VALUES (%(hazard_event_id)s, %(tenant_id)s, %(code)s, %(peril)s, %(name)s, %(started_at)s)
ON CONFLICT (tenant_id, code) DO UPDATE SET name = excluded.name
RETURNING hazard_event_id;

-- name: lock_hazard_event
-- The event and its newest footprint; versions of one event are given one after the other.
SELECT e.tenant_id, e.peril, e.ended_at, coalesce(f.version, 0), f.valid_at
FROM hazard_event AS e
LEFT JOIN LATERAL (
    SELECT version, valid_at FROM footprint WHERE hazard_event_id = e.hazard_event_id ORDER BY version DESC LIMIT 1
) AS f ON true
WHERE e.hazard_event_id = %(hazard_event_id)s FOR UPDATE OF e;

-- name: hazard_event_of_code
SELECT hazard_event_id FROM hazard_event WHERE code = %(code)s AND tenant_id IS NOT DISTINCT FROM %(tenant_id)s;

-- name: hazard_events
SELECT e.code, t.slug, e.peril, e.name, e.started_at, e.ended_at, coalesce(f.version, 0), f.valid_at
FROM hazard_event AS e
LEFT JOIN tenant AS t USING (tenant_id)
LEFT JOIN LATERAL (
    SELECT version, valid_at FROM footprint WHERE hazard_event_id = e.hazard_event_id ORDER BY version DESC LIMIT 1
) AS f ON true
WHERE (%(slug)s::text IS NULL OR t.slug = %(slug)s) AND (%(all)s OR e.ended_at IS NULL)
ORDER BY e.started_at, e.code;

-- name: end_hazard_event
UPDATE hazard_event SET ended_at = %(ended_at)s
WHERE hazard_event_id = %(hazard_event_id)s AND started_at <= %(ended_at)s;

-- name: known_places
-- Bounds of the stations, safe zones and households that an event of this tenant can concern.
SELECT min(lon), min(lat), max(lon), max(lat) FROM (
    SELECT lon, lat FROM station WHERE tenant_id IS NOT DISTINCT FROM %(tenant_id)s
    UNION ALL SELECT lon, lat FROM safe_zone WHERE tenant_id IS NOT DISTINCT FROM %(tenant_id)s
    UNION ALL SELECT lon, lat FROM household WHERE tenant_id = %(tenant_id)s
) AS place;

-- name: save_footprint
INSERT INTO footprint (footprint_id, hazard_event_id, tenant_id, version, valid_at, made_how, geometry, zones, field,
    field_grid)
VALUES (%(footprint_id)s, %(hazard_event_id)s, %(tenant_id)s, %(version)s, %(valid_at)s, %(made_how)s, %(geometry)s, %(zones)s,
    %(field)s, %(field_grid)s);

-- name: footprint
SELECT f.footprint_id, f.hazard_event_id, f.tenant_id, f.version, f.valid_at, f.geometry, f.zones, e.peril
FROM footprint AS f JOIN hazard_event AS e USING (hazard_event_id) WHERE f.footprint_id = %(footprint_id)s;

-- name: save_assessment
INSERT INTO assessment (assessment_id, tenant_id, portfolio_id, footprint_id, n_locations, n_policies, exposed_tiv, n_unknown,
    unknown_tiv, currency, by_currency, computed_at)
VALUES (%(assessment_id)s, %(tenant_id)s, %(portfolio_id)s, %(footprint_id)s, %(n_locations)s, %(n_policies)s, %(exposed_tiv)s,
    %(n_unknown)s, %(unknown_tiv)s, %(currency)s, %(by_currency)s, %(computed_at)s)
ON CONFLICT (footprint_id, portfolio_id) DO NOTHING RETURNING assessment_id;

-- name: save_assessment_locations
INSERT INTO assessment_location (assessment_id, tenant_id, location_id, exposed_tiv, rank)
SELECT %(assessment_id)s, %(tenant_id)s, location_id, cents / 100.0, rank
FROM unnest(%(location_ids)s::bigint[], %(cents)s::bigint[]) WITH ORDINALITY AS top (location_id, cents, rank);
