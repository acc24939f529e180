-- name: route_detail
-- One household's newest way out, with what its line and its turns are made from.
SELECT r.household_id, r.status, r.travel_s, r.distance_m, r.leave_by, r.last_way_out, r.inside_m, r.reason, r.changed, r.roads,
       r.first_share, r.last_share, r.geometry, p.computed_at, f.version AS footprint_version, n.file, n.sha256, n.extract_date,
       z.safe_zone_id, z.names AS safe_zone_names, z.lon AS zone_lon, z.lat AS zone_lat, h.lon, h.lat, ph.language,
       EXISTS (SELECT FROM official_order WHERE withdrawn_at IS NULL AND expires_at > %(now)s) AS has_orders
FROM household_route AS r
JOIN evacuation_plan AS p ON p.evacuation_plan_id = r.evacuation_plan_id
JOIN footprint AS f ON f.footprint_id = p.footprint_id
JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
JOIN road_network AS n ON n.road_network_id = p.road_network_id
JOIN household AS h ON h.household_id = r.household_id
JOIN policyholder AS ph ON ph.policyholder_id = h.policyholder_id
LEFT JOIN safe_zone AS z ON z.safe_zone_id = r.safe_zone_id
WHERE r.household_id = (
        SELECT household_id FROM household
        WHERE household_id = %(household_id)s
        UNION ALL
        SELECT household_id FROM household WHERE policyholder_id = %(policyholder_id)s
        LIMIT 1)
  AND (e.ended_at IS NULL OR e.ended_at > %(now)s)
ORDER BY p.computed_at DESC, f.version DESC
LIMIT 1;

-- name: shown_network
-- The network that this tenant's plans use: its own newest, else the newest public one.
SELECT file, sha256, code, extract_date FROM road_network ORDER BY tenant_id IS NULL, created_at DESC, version DESC LIMIT 1;

-- name: road_overrides
SELECT road_override_id, roads, action, reason, made_by, made_at FROM road_override
WHERE withdrawn_at IS NULL ORDER BY made_at DESC, road_override_id;

-- name: official_orders
SELECT official_order_id, kind, area, authority, issued_at, expires_at FROM official_order
WHERE withdrawn_at IS NULL AND expires_at > %(now)s ORDER BY issued_at DESC, official_order_id;
