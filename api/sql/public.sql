-- What one policyholder's phone reads. Run as tocsin_app in the transaction of the tenant that the signed link names.

-- name: person
SELECT h.policyholder_id, h.name, h.language, x.household_id, coalesce(x.lon, l.lon) AS lon, coalesce(x.lat, l.lat) AS lat
FROM policyholder AS h
LEFT JOIN household AS x ON x.policyholder_id = h.policyholder_id
LEFT JOIN location AS l ON l.location_id = h.location_id
WHERE h.policyholder_id = %(policyholder_id)s;

-- name: person_warnings
-- Warnings that stand, and those that were taken back as sent in error (msg_type Cancel). `mine`: any version is for this
-- person; the area decides for the others.
SELECT w.warning_id, w.version, w.msg_type, w.level, w.all_clear, w.texts, w.area, w.area_desc, w.sent_at, w.expires_at, w.sender,
       d.delivery_id,
       EXISTS (SELECT FROM warning_recipient AS x
               WHERE x.warning_id = w.warning_id AND x.policyholder_id = %(policyholder_id)s AND x.left_out_by IS NULL) AS mine,
       (SELECT a.kind FROM answer AS a
        WHERE a.warning_id = w.warning_id AND a.policyholder_id = %(policyholder_id)s
        ORDER BY a.answered_at DESC, a.answer_id DESC LIMIT 1) AS answered
FROM warning AS w
LEFT JOIN LATERAL (
    SELECT x.delivery_id FROM delivery AS x
    WHERE x.warning_id = w.warning_id AND x.version = w.version AND x.policyholder_id = %(policyholder_id)s
    ORDER BY (x.channel = 'web_push') DESC, x.channel LIMIT 1
) AS d ON true
WHERE w.state = 'released' AND w.expires_at > %(now)s
ORDER BY w.sent_at DESC, w.warning_id;

-- name: person_rules
-- Rules that are in force, with where each stands and whether its station is heard.
SELECT DISTINCT ON (r.rule_id) r.rule_id, r.area, rs.state ->> 'phase' AS phase, rs.state ->> 'level' AS level,
       (rs.state ->> 'evaluated_until')::timestamptz AS evaluated_until, s.state AS station_state,
       coalesce((r.definition ->> 'interval_s')::float8, d.interval_s) AS interval_s
FROM rule AS r
JOIN datastream AS d ON d.datastream_id = r.datastream_id
JOIN station AS s ON s.station_id = d.station_id
LEFT JOIN rule_state AS rs ON rs.rule_id = r.rule_id
WHERE r.effective_from <= %(now)s AND (r.effective_to IS NULL OR r.effective_to > %(now)s)
ORDER BY r.rule_id, r.version DESC;

-- name: person_route
SELECT r.status, r.travel_s, r.distance_m, r.leave_by, r.last_way_out, r.inside_m, r.reason, r.geometry, p.computed_at,
       f.geometry AS footprint, z.safe_zone_id, z.names, z.lon, z.lat, z.opens_at, r.roads, r.first_share, r.last_share, n.file,
       n.sha256, h.lon AS home_lon, h.lat AS home_lat
FROM household_route AS r
JOIN household AS h ON h.household_id = r.household_id
JOIN evacuation_plan AS p ON p.evacuation_plan_id = r.evacuation_plan_id
JOIN footprint AS f ON f.footprint_id = p.footprint_id
JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
JOIN road_network AS n ON n.road_network_id = p.road_network_id
LEFT JOIN safe_zone AS z ON z.safe_zone_id = r.safe_zone_id
WHERE r.household_id = %(household_id)s AND (e.ended_at IS NULL OR e.ended_at > %(now)s)
ORDER BY p.computed_at DESC, f.version DESC
LIMIT 1;

-- name: nearest_safe_zones
-- The three nearest by great circle (haversine, mean Earth radius 6 371 008.8 m).
SELECT safe_zone_id, names, lon, lat, opens_at,
       2 * 6371008.8 * asin(least(1, sqrt(
           power(sin(radians(lat - %(lat)s) / 2), 2)
           + cos(radians(%(lat)s)) * cos(radians(lat)) * power(sin(radians(lon - %(lon)s) / 2), 2)))) AS distance_m
FROM safe_zone
ORDER BY distance_m, safe_zone_id
LIMIT 3;

-- name: person_channels
SELECT c.channel, c.address,
       (SELECT max(d.accepted_at) FROM delivery AS d WHERE d.contact_point_id = c.contact_point_id) AS last_accepted_at
FROM contact_point AS c
WHERE c.policyholder_id = %(policyholder_id)s AND c.withdrawn_at IS NULL
ORDER BY c.rank, c.channel, c.contact_point_id;

-- name: is_paused
-- Of everything or of the tenant; that one warning is stopped does not concern everybody.
SELECT EXISTS (SELECT FROM sending_pause WHERE scope = 'all' OR scope LIKE 'tenant:%%') AS paused;

-- name: delivery_of
SELECT delivery_id FROM delivery WHERE delivery_id = %(delivery_id)s AND policyholder_id = %(policyholder_id)s;

-- name: insert_receipt
-- The phone itself says so: only now is a message delivered.
WITH known AS (
    UPDATE delivery SET state = 'delivered'
    WHERE delivery_id = %(delivery_id)s AND state IN ('accepted', 'uncertain')
)
INSERT INTO receipt (delivery_id, tenant_id, kind, at) VALUES (%(delivery_id)s, %(tenant_id)s, %(kind)s, %(at)s)
ON CONFLICT (delivery_id, kind) DO NOTHING;

-- name: push_endpoints
-- Devices of this person, and whether somebody else of this tenant has the endpoint.
SELECT count(*) FILTER (WHERE policyholder_id = %(policyholder_id)s AND withdrawn_at IS NULL) AS n_devices,
       coalesce(bool_or(policyholder_id = %(policyholder_id)s AND address ->> 'endpoint' = %(endpoint)s), false) AS mine,
       coalesce(bool_or(policyholder_id <> %(policyholder_id)s AND address ->> 'endpoint' = %(endpoint)s
                        AND withdrawn_at IS NULL), false) AS taken
FROM contact_point WHERE channel = 'web_push'
  AND (policyholder_id = %(policyholder_id)s OR address ->> 'endpoint' = %(endpoint)s);

-- name: withdraw_push
-- The same device with new keys: the old ones open nothing any more.
UPDATE contact_point SET withdrawn_at = %(at)s
WHERE policyholder_id = %(policyholder_id)s AND channel = 'web_push' AND withdrawn_at IS NULL
  AND address ->> 'endpoint' = %(endpoint)s AND address <> %(address)s;

-- name: upsert_push
INSERT INTO contact_point (contact_point_id, tenant_id, policyholder_id, channel, address, rank, consent_at)
VALUES (%(contact_point_id)s, %(tenant_id)s, %(policyholder_id)s, 'web_push', %(address)s, 0, %(at)s)
ON CONFLICT (policyholder_id, channel, address) DO UPDATE SET withdrawn_at = NULL, consent_at = excluded.consent_at;
