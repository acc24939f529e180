-- name: save_road_network
INSERT INTO road_network (road_network_id, tenant_id, code, version, sha256, file, extract_date, n_nodes, n_edges)
SELECT %(road_network_id)s, %(tenant_id)s, %(code)s, coalesce(max(version), 0) + 1, %(sha256)s, %(file)s, %(extract_date)s,
    %(n_nodes)s, %(n_edges)s
FROM road_network WHERE code = %(code)s AND tenant_id IS NOT DISTINCT FROM %(tenant_id)s
RETURNING road_network_id, version;

-- name: newest_network_of_code
SELECT road_network_id, version, sha256 FROM road_network
WHERE code = %(code)s AND tenant_id IS NOT DISTINCT FROM %(tenant_id)s ORDER BY version DESC LIMIT 1;

-- name: network_for_tenant
-- The tenant's own newest network, else the newest public one.
SELECT road_network_id, file, sha256 FROM road_network WHERE tenant_id = %(tenant_id)s OR tenant_id IS NULL
ORDER BY tenant_id IS NULL, created_at DESC, version DESC LIMIT 1;

-- name: save_safe_zone
INSERT INTO safe_zone (safe_zone_id, tenant_id, code, names, lon, lat, seats, accessible_seats)
VALUES (%(safe_zone_id)s, %(tenant_id)s, %(code)s, %(names)s, %(lon)s, %(lat)s, %(seats)s, %(accessible_seats)s)
ON CONFLICT (tenant_id, code) DO UPDATE SET names = excluded.names, lon = excluded.lon, lat = excluded.lat,
    seats = excluded.seats, accessible_seats = excluded.accessible_seats;

-- name: save_household
INSERT INTO household (household_id, tenant_id, policyholder_id, lon, lat, people, mode, needs)
VALUES (%(household_id)s, %(tenant_id)s, %(policyholder_id)s, %(lon)s, %(lat)s, %(people)s, %(mode)s, %(needs)s)
ON CONFLICT (policyholder_id) DO UPDATE SET lon = excluded.lon, lat = excluded.lat, people = excluded.people,
    mode = excluded.mode, needs = excluded.needs;

-- name: save_policyholder
INSERT INTO policyholder (policyholder_id, tenant_id, policy_id, location_id, name, language)
VALUES (%(policyholder_id)s, %(tenant_id)s, %(policy_id)s, %(location_id)s, %(name)s, %(language)s)
ON CONFLICT (policyholder_id) DO UPDATE SET policy_id = excluded.policy_id, location_id = excluded.location_id,
    name = excluded.name, language = excluded.language;

-- name: save_contact_point
INSERT INTO contact_point (contact_point_id, tenant_id, policyholder_id, channel, address, rank, consent_at)
VALUES (%(contact_point_id)s, %(tenant_id)s, %(policyholder_id)s, %(channel)s, %(address)s, %(rank)s, %(consent_at)s)
ON CONFLICT (policyholder_id, channel, address) DO NOTHING;

-- name: tenants_with_households
SELECT DISTINCT tenant_id FROM household WHERE %(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s ORDER BY tenant_id;

-- name: households_of_tenant
SELECT household_id, lon, lat, mode, people, needs FROM household WHERE tenant_id = %(tenant_id)s ORDER BY household_id;

-- name: told_routes
-- What each household was last told about this event: the newest of its routes that was marked as changed.
SELECT DISTINCT ON (r.household_id) r.household_id, r.status, r.safe_zone_id, r.travel_s, r.leave_by, r.reason, r.roads
FROM household_route AS r
JOIN evacuation_plan AS p USING (evacuation_plan_id)
JOIN footprint AS f USING (footprint_id)
WHERE p.tenant_id = %(tenant_id)s AND f.hazard_event_id = %(hazard_event_id)s AND f.version < %(version)s AND r.changed
ORDER BY r.household_id, f.version DESC;

-- name: save_plan
INSERT INTO evacuation_plan (evacuation_plan_id, footprint_id, road_network_id, tenant_id, counts, margins, closed_edges, computed_at)
VALUES (%(evacuation_plan_id)s, %(footprint_id)s, %(road_network_id)s, %(tenant_id)s, %(counts)s, %(margins)s, %(closed_edges)s,
    %(computed_at)s)
ON CONFLICT (tenant_id, footprint_id, road_network_id) DO NOTHING RETURNING evacuation_plan_id;

-- name: save_routes
-- One array for each column: COPY cannot write a table with row-level security. The roads come as one flat array, of
-- which `first` and `n` say each household's part: arrays of arrays must all be of one length.
INSERT INTO household_route (evacuation_plan_id, tenant_id, household_id, status, safe_zone_id, travel_s, distance_m, leave_by,
    last_way_out, inside_m, reason, geometry, changed, changed_at, roads, first_share, last_share)
SELECT %(evacuation_plan_id)s, %(tenant_id)s, route.household_id, route.status, route.safe_zone_id, route.travel_s, route.distance_m,
    route.leave_by, route.last_way_out, route.inside_m, route.reason, route.geometry, route.changed,
    CASE WHEN route.changed THEN %(changed_at)s::timestamptz END,
    (%(roads)s::integer[])[route.first:route.first + route.n - 1], route.first_share, route.last_share
FROM unnest(%(household_id)s::uuid[], %(status)s::text[], %(safe_zone_id)s::uuid[], %(travel_s)s::float8[],
    %(distance_m)s::float8[], %(leave_by)s::timestamptz[], %(last_way_out)s::timestamptz[], %(inside_m)s::float8[],
    %(reason)s::text[], %(geometry)s::bytea[], %(changed)s::boolean[], %(first)s::integer[], %(n)s::integer[],
    %(first_share)s::float8[], %(last_share)s::float8[])
    AS route (household_id, status, safe_zone_id, travel_s, distance_m, leave_by, last_way_out, inside_m, reason, geometry,
        changed, first, n, first_share, last_share);

-- name: plan_again
-- The plan of a footprint that is made again because an operator or an authority said something.
UPDATE evacuation_plan SET counts = %(counts)s, margins = %(margins)s, closed_edges = %(closed_edges)s, computed_at = %(computed_at)s
WHERE tenant_id = %(tenant_id)s AND footprint_id = %(footprint_id)s AND road_network_id = %(road_network_id)s
RETURNING evacuation_plan_id;

-- name: forget_routes
DELETE FROM household_route WHERE evacuation_plan_id = %(evacuation_plan_id)s AND household_id = ANY(%(household_ids)s);

-- name: open_footprints
-- The newest footprint of every open event that concerns a tenant.
SELECT DISTINCT ON (f.hazard_event_id) f.footprint_id
FROM footprint AS f JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
WHERE (e.ended_at IS NULL OR e.ended_at > %(now)s) AND (f.tenant_id IS NULL OR f.tenant_id = %(tenant_id)s)
ORDER BY f.hazard_event_id, f.version DESC;

-- name: standing_overrides
-- What operators said of the roads of a network, in the order in which they said it.
SELECT roads, action, made_by::text, reason FROM road_override
WHERE tenant_id = %(tenant_id)s AND road_network_id = %(road_network_id)s AND withdrawn_at IS NULL
ORDER BY made_at, road_override_id;

-- name: add_override
INSERT INTO road_override (road_override_id, tenant_id, road_network_id, roads, action, reason, made_by, made_at)
VALUES (%(road_override_id)s, %(tenant_id)s, %(road_network_id)s, %(roads)s, %(action)s, %(reason)s, %(made_by)s, %(made_at)s);

-- name: withdraw_override
UPDATE road_override SET withdrawn_by = %(withdrawn_by)s, withdrawn_at = %(withdrawn_at)s
WHERE road_override_id = %(road_override_id)s AND withdrawn_at IS NULL;

-- name: standing_orders
SELECT official_order_id, kind, area, authority, issued_at, expires_at FROM official_order
WHERE tenant_id = %(tenant_id)s AND withdrawn_at IS NULL AND expires_at > %(now)s ORDER BY issued_at, official_order_id;

-- name: add_order
INSERT INTO official_order (official_order_id, tenant_id, kind, area, authority, issued_at, expires_at, made_by)
VALUES (%(official_order_id)s, %(tenant_id)s, %(kind)s, %(area)s, %(authority)s, %(issued_at)s, %(expires_at)s, %(made_by)s);

-- name: withdraw_order
UPDATE official_order SET withdrawn_by = %(withdrawn_by)s, withdrawn_at = %(withdrawn_at)s
WHERE official_order_id = %(official_order_id)s AND withdrawn_at IS NULL;
