-- What the console shows. Run as tocsin_app in a tenant's transaction: row-level security chooses the rows.

-- name: installation
SELECT exercise, name FROM installation;

-- name: bounds
-- Box around stations and safe zones: the public ones, and in an exercise all.
SELECT min(lon) AS west, min(lat) AS south, max(lon) AS east, max(lat) AS north
FROM (
    SELECT lon, lat FROM station WHERE (tenant_id IS NULL OR %(exercise)s) AND lon IS NOT NULL AND lat IS NOT NULL
    UNION ALL
    SELECT lon, lat FROM safe_zone WHERE tenant_id IS NULL OR %(exercise)s
) AS places;

-- name: stations
-- Every station with its newest readings and the rules that watch it now, each with where its lifecycle stands.
WITH latest AS (
    SELECT station_id, jsonb_agg(jsonb_build_object(
        'quantity', quantity, 'unit', unit, 'value', value, 'quality', quality, 'observed_at', observed_at,
        'received_at', received_at) ORDER BY quantity) AS latest
    FROM tenant_latest_observation
    GROUP BY station_id
), effective AS (
    SELECT DISTINCT ON (rule_id) rule_id, datastream_id, code, definition
    FROM rule
    WHERE effective_from <= %(now)s AND (effective_to IS NULL OR effective_to > %(now)s)
    ORDER BY rule_id, version DESC
), watched AS (
    SELECT d.station_id, jsonb_agg(jsonb_build_object(
        'quantity', d.quantity, 'thresholds', e.definition -> 'thresholds', 'phase', rs.state ->> 'phase',
        'level', rs.state ->> 'level') ORDER BY e.code) AS rules
    FROM effective AS e
    JOIN datastream AS d ON d.datastream_id = e.datastream_id
    LEFT JOIN rule_state AS rs ON rs.rule_id = e.rule_id
    GROUP BY d.station_id
)
SELECT s.station_id, s.code, s.name, s.river, s.state, s.state_since, s.lon, s.lat,
       coalesce(l.latest, '[]') AS latest, coalesce(w.rules, '[]') AS rules
FROM station AS s
LEFT JOIN latest AS l ON l.station_id = s.station_id
LEFT JOIN watched AS w ON w.station_id = s.station_id
ORDER BY s.code, s.station_id;

-- name: find_datastream
SELECT d.datastream_id, d.unit
FROM datastream AS d JOIN station AS s ON s.station_id = d.station_id
WHERE d.station_id = %(station_id)s AND d.quantity = %(quantity)s;

-- name: observations
-- The newest readings of one series in a span, newest first.
SELECT observed_at, received_at, value, quality
FROM tenant_observation
WHERE datastream_id = %(datastream_id)s
  AND observed_at >= coalesce(%(since)s::timestamptz, '-infinity')
  AND observed_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY observed_at DESC
LIMIT %(limit)s;

-- name: latest_forecast
-- What was last forecast for a series, as long as it is not stale: at each horizon the middle and both ends.
SELECT f.made_at, f.model, f.horizons_h, f.taus, f.quantiles
FROM forecast AS f
WHERE f.datastream_id = %(datastream_id)s AND f.made_at > %(now)s::timestamptz - %(withheld_after)s::interval AND f.known_at <= %(now)s
ORDER BY f.made_at DESC LIMIT 1;

-- name: latest_footprints
SELECT DISTINCT ON (f.hazard_event_id)
       f.footprint_id, f.version, f.valid_at, f.made_how, f.created_at, f.geometry, f.zones,
       jsonb_build_object('hazard_event_id', e.hazard_event_id, 'code', e.code, 'peril', e.peril, 'name', e.name,
           'started_at', e.started_at, 'ended_at', e.ended_at) AS hazard_event
FROM footprint AS f
JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
WHERE e.ended_at IS NULL OR e.ended_at > %(now)s
ORDER BY f.hazard_event_id, f.version DESC;

-- name: latest_assessments
-- The newest assessed footprint of every open event, for each portfolio, with the ten locations of most value.
WITH newest AS (
    SELECT DISTINCT ON (f.hazard_event_id, a.portfolio_id)
           a.assessment_id, a.portfolio_id, a.footprint_id, a.n_locations, a.n_policies, a.exposed_tiv, a.n_unknown,
           a.unknown_tiv, a.currency, a.computed_at, f.version AS footprint_version, f.valid_at AS footprint_valid_at,
           jsonb_build_object('hazard_event_id', e.hazard_event_id, 'code', e.code, 'peril', e.peril, 'name', e.name,
               'started_at', e.started_at, 'ended_at', e.ended_at) AS hazard_event
    FROM assessment AS a
    JOIN footprint AS f ON f.footprint_id = a.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
    WHERE e.ended_at IS NULL OR e.ended_at > %(now)s
    ORDER BY f.hazard_event_id, a.portfolio_id, f.version DESC
)
SELECT n.*, p.name AS portfolio_name, coalesce(t.top, '[]') AS top
FROM newest AS n
JOIN portfolio AS p ON p.portfolio_id = n.portfolio_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('rank', al.rank, 'location_id', al.location_id, 'loc_number', l.loc_number,
        'acc_number', l.acc_number, 'exposed_tiv', al.exposed_tiv::text, 'lon', l.lon, 'lat', l.lat) ORDER BY al.rank)
        AS top
    FROM assessment_location AS al
    JOIN location AS l ON l.location_id = al.location_id
    WHERE al.assessment_id = n.assessment_id AND al.rank <= 10
) AS t ON true
ORDER BY n.exposed_tiv DESC, n.assessment_id;

-- name: overview
-- The console's numbers in one statement, so that they tell of one moment: of every open event its newest assessed
-- footprint; where none is open, of the one that was assessed last.
WITH assessed AS (
    SELECT DISTINCT ON (f.hazard_event_id) a.footprint_id, f.version, a.computed_at,
           e.ended_at IS NULL OR e.ended_at > %(now)s AS open
    FROM assessment AS a
    JOIN footprint AS f ON f.footprint_id = a.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
    ORDER BY f.hazard_event_id, f.version DESC, a.computed_at DESC
), newest AS (
    SELECT footprint_id FROM assessed WHERE open
    UNION ALL
    (SELECT footprint_id FROM assessed WHERE NOT EXISTS (SELECT FROM assessed WHERE open)
     ORDER BY computed_at DESC, version DESC, footprint_id LIMIT 1)
), exposure AS (
    SELECT CASE WHEN count(DISTINCT a.currency) = 1 THEN sum(a.exposed_tiv) END AS exposed_tiv,
           CASE WHEN count(DISTINCT a.currency) = 1 THEN sum(a.unknown_tiv) END AS unknown_tiv,
           CASE WHEN count(DISTINCT a.currency) = 1 THEN min(a.currency) END AS currency,
           sum(a.n_locations)::bigint AS n_locations, sum(a.n_policies)::bigint AS n_policies,
           sum(a.n_unknown)::bigint AS n_unknown, count(DISTINCT a.portfolio_id) AS n_portfolios,
           count(DISTINCT f.hazard_event_id) AS n_events, max(a.computed_at) AS computed_at,
           (array_agg(f.version ORDER BY f.valid_at DESC, f.footprint_id))[1] AS footprint_version,
           max(f.valid_at) AS valid_at,
           (array_agg(e.name ORDER BY f.valid_at DESC, f.footprint_id))[1] AS hazard_event,
           (array_agg(e.ended_at ORDER BY f.valid_at DESC, f.footprint_id))[1] AS ended_at
    FROM assessment AS a
    JOIN newest AS n ON n.footprint_id = a.footprint_id
    JOIN footprint AS f ON f.footprint_id = a.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
), live AS (
    SELECT warning_id, version, all_clear, msg_type FROM warning WHERE state = 'released' AND expires_at > %(now)s
), warned AS (
    SELECT DISTINCT d.policyholder_id
    FROM delivery AS d JOIN live AS l ON l.warning_id = d.warning_id
    WHERE d.state IN ('accepted', 'delivered')
), said AS (
    SELECT DISTINCT ON (a.policyholder_id) a.policyholder_id, a.kind
    FROM answer AS a JOIN live AS l ON l.warning_id = a.warning_id
    ORDER BY a.policyholder_id, a.answered_at DESC, a.answer_id DESC
)
SELECT exposure.*,
       (SELECT coalesce(jsonb_object_agg(m.currency, m.tiv::text), '{}')
        FROM (SELECT c.currency, sum(c.tiv) AS tiv
              FROM assessment AS a
              JOIN newest AS n ON n.footprint_id = a.footprint_id
              CROSS JOIN LATERAL (
                  SELECT k AS currency, (v ->> 'exposed_tiv')::numeric AS tiv FROM jsonb_each(a.by_currency) AS e (k, v)
                  UNION ALL
                  SELECT a.currency, a.exposed_tiv WHERE a.by_currency = '{}') AS c
              GROUP BY c.currency) AS m) AS exposed_by_currency,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('feed', split_part(feed, ':', 1), 'state', state, 'since', since,
                   'n_stations', n_stations, 'detail', detail) ORDER BY feed), '[]')
        FROM feed_state) AS feeds,
       (SELECT count(*) FROM live WHERE NOT all_clear AND msg_type <> 'Cancel') AS n_warnings_live,
       (SELECT count(*) FROM warning WHERE state = 'draft') AS n_drafts_waiting,
       (SELECT count(*) FROM warned) AS n_people_warned,
       (SELECT jsonb_build_object(
           'safe', count(*) FILTER (WHERE kind = 'safe'), 'help', count(*) FILTER (WHERE kind = 'help'),
           'damage', count(*) FILTER (WHERE kind = 'damage'),
           'unanswered', (SELECT count(*) FROM warned AS w
                          WHERE NOT EXISTS (SELECT FROM said AS s WHERE s.policyholder_id = w.policyholder_id)))
        FROM said) AS n_answers,
       (SELECT count(*) FROM answer WHERE kind = 'help' AND handled_at IS NULL) AS n_help_open,
       (SELECT jsonb_build_object('online', count(*) FILTER (WHERE state = 'online'),
           'silent', count(*) FILTER (WHERE state = 'silent'), 'unknown', count(*) FILTER (WHERE state = 'unknown'))
        FROM station) AS n_stations,
       (SELECT sum(n)::bigint FROM tenant_observation_rollup) AS messages_stored,
       EXISTS (SELECT FROM sending_pause) AS sending_paused
FROM exposure;

-- name: exposure_cells
-- Insured value by H3 cell. The parent of a resolution-9 cell is found in its bits: the resolution stands in bits 52-55,
-- and every digit finer than it is 7 (H3 index layout, https://h3geo.org/docs/core-library/h3Indexing/).
WITH cells AS (
    SELECT CASE WHEN h3 IS NULL THEN NULL
                ELSE (h3 & ~(15::bigint << 52)) | (%(resolution)s::bigint << 52)
                     | ((1::bigint << (3 * (15 - %(resolution)s))) - 1) END AS cell,
           currency, count(*) AS n_locations, sum(building_tiv + other_tiv + contents_tiv + bi_tiv) AS tiv
    FROM location
    GROUP BY 1, 2
)
SELECT cell, sum(n_locations)::bigint AS n_locations, jsonb_object_agg(currency, tiv::text ORDER BY currency) AS tiv_by_currency
FROM cells
GROUP BY cell
ORDER BY cell;

-- name: locations
-- Locations in a box, largest insured value first; a box may cross the antimeridian (west > east).
WITH newest AS (
    SELECT DISTINCT ON (a.portfolio_id) a.assessment_id
    FROM assessment AS a JOIN footprint AS f ON f.footprint_id = a.footprint_id
    ORDER BY a.portfolio_id, a.computed_at DESC, f.version DESC
), exposed AS (
    SELECT al.location_id, al.exposed_tiv
    FROM assessment_location AS al JOIN newest AS n ON n.assessment_id = al.assessment_id
)
SELECT l.location_id, l.portfolio_id, l.acc_number, l.loc_number, l.lon, l.lat, l.currency, l.occupancy_code,
       l.construction_code, l.building_tiv + l.other_tiv + l.contents_tiv + l.bi_tiv AS tiv, e.exposed_tiv
FROM location AS l
LEFT JOIN exposed AS e ON e.location_id = l.location_id
WHERE l.lon IS NOT NULL AND l.lat IS NOT NULL
  AND (%(west)s::float8 IS NULL
       OR (l.lat BETWEEN %(south)s AND %(north)s
           AND CASE WHEN %(west)s::float8 <= %(east)s::float8 THEN l.lon BETWEEN %(west)s AND %(east)s
                    ELSE l.lon >= %(west)s OR l.lon <= %(east)s END))
ORDER BY tiv DESC, l.location_id
LIMIT %(limit)s;

-- name: latest_plan
SELECT p.evacuation_plan_id, p.footprint_id, f.version AS footprint_version, e.name AS hazard_event, p.counts,
       p.closed_edges, p.computed_at
FROM evacuation_plan AS p
JOIN footprint AS f ON f.footprint_id = p.footprint_id
JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
WHERE e.ended_at IS NULL OR e.ended_at > %(now)s
ORDER BY p.computed_at DESC, f.version DESC, p.evacuation_plan_id
LIMIT 1;

-- name: latest_routes
-- Routes of the newest plan: those without a clear way first, then by when they have to leave.
WITH plan AS (
    SELECT p.evacuation_plan_id
    FROM evacuation_plan AS p
    JOIN footprint AS f ON f.footprint_id = p.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
    WHERE e.ended_at IS NULL OR e.ended_at > %(now)s
    ORDER BY p.computed_at DESC, f.version DESC, p.evacuation_plan_id
    LIMIT 1
)
SELECT r.household_id, r.status, r.safe_zone_id, z.names AS safe_zone_names, r.travel_s, r.distance_m, r.leave_by,
       r.last_way_out, r.inside_m, r.reason, r.changed, r.geometry
FROM household_route AS r
JOIN plan ON plan.evacuation_plan_id = r.evacuation_plan_id
LEFT JOIN safe_zone AS z ON z.safe_zone_id = r.safe_zone_id
ORDER BY (r.status = 'clear'), r.leave_by NULLS LAST, r.household_id
LIMIT %(limit)s;

-- name: safe_zones
WITH plan AS (
    SELECT p.evacuation_plan_id
    FROM evacuation_plan AS p
    JOIN footprint AS f ON f.footprint_id = p.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
    WHERE e.ended_at IS NULL OR e.ended_at > %(now)s
    ORDER BY p.computed_at DESC, f.version DESC, p.evacuation_plan_id
    LIMIT 1
), said AS (
    -- what each person said last, of standing warnings and of none
    SELECT DISTINCT ON (a.policyholder_id) a.policyholder_id, a.kind, a.detail
    FROM answer AS a
    WHERE a.answered_at > %(now)s - interval '3 days'
    ORDER BY a.policyholder_id, a.answered_at DESC, a.answer_id DESC
), sent AS (
    -- who has arrived, here or elsewhere, is no longer on the way
    SELECT r.safe_zone_id, count(*) AS n_households, sum(h.people)::bigint AS n_people
    FROM household_route AS r
    JOIN plan ON plan.evacuation_plan_id = r.evacuation_plan_id
    JOIN household AS h ON h.household_id = r.household_id
    WHERE r.safe_zone_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM said AS s
                      WHERE s.policyholder_id = h.policyholder_id AND s.kind = 'safe' AND s.detail ? 'safe_zone_id')
    GROUP BY r.safe_zone_id
), arrived AS (
    SELECT s.detail ->> 'safe_zone_id' AS safe_zone_id,
           sum(CASE WHEN s.detail ->> 'people' ~ '^[0-9]{1,3}$' THEN (s.detail ->> 'people')::integer
                    ELSE coalesce(h.people, 1) END)::bigint AS n_people
    FROM said AS s LEFT JOIN household AS h ON h.policyholder_id = s.policyholder_id
    WHERE s.kind = 'safe' AND s.detail ? 'safe_zone_id'
    GROUP BY s.detail ->> 'safe_zone_id'
)
SELECT z.safe_zone_id, z.code, z.names, z.lon, z.lat, z.seats, z.accessible_seats, z.opens_at,
       CASE WHEN EXISTS (SELECT FROM plan) THEN coalesce(s.n_households, 0) END AS n_households,
       CASE WHEN EXISTS (SELECT FROM plan) THEN coalesce(s.n_people, 0) END AS n_people,
       coalesce(a.n_people, 0) AS n_arrived
FROM safe_zone AS z
LEFT JOIN sent AS s ON s.safe_zone_id = z.safe_zone_id
LEFT JOIN arrived AS a ON a.safe_zone_id = z.safe_zone_id::text
ORDER BY z.code, z.safe_zone_id;

-- name: latest_losses
-- The newest assessed footprint of every open event, for each portfolio, with its loss; no loss yet gives nulls.
WITH newest AS (
    SELECT DISTINCT ON (f.hazard_event_id, a.portfolio_id)
           a.assessment_id, a.portfolio_id, a.exposed_tiv, a.currency, f.version AS footprint_version,
           jsonb_build_object('hazard_event_id', e.hazard_event_id, 'code', e.code, 'peril', e.peril, 'name', e.name,
               'started_at', e.started_at, 'ended_at', e.ended_at) AS hazard_event
    FROM assessment AS a
    JOIN footprint AS f ON f.footprint_id = a.footprint_id
    JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
    WHERE e.ended_at IS NULL OR e.ended_at > %(now)s
    ORDER BY f.hazard_event_id, a.portfolio_id, f.version DESC
)
SELECT n.*, p.name AS portfolio_name, l.problem, l.currency AS loss_currency, l.result, l.computed_at AS loss_computed_at,
       coalesce(c.locations, '[]') AS locations, coalesce(q.policies, '[]') AS policies
FROM newest AS n
JOIN portfolio AS p ON p.portfolio_id = n.portfolio_id
LEFT JOIN assessment_loss AS l ON l.assessment_id = n.assessment_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('location_id', x.location_id, 'acc_number', o.acc_number, 'loc_number', o.loc_number,
        'lon', o.lon, 'lat', o.lat, 'rank', x.rank, 'sampled', x.sampled, 'intensity', x.intensity, 'ground_up', x.mean_gul,
        'gross', CASE WHEN l.mean_il IS NULL THEN NULL ELSE x.mean_il END,
        'net', CASE WHEN l.mean_ri IS NULL THEN NULL ELSE x.mean_ri END) ORDER BY x.rank) AS locations
    FROM assessment_location_loss AS x JOIN location AS o ON o.location_id = x.location_id
    WHERE x.assessment_id = n.assessment_id AND x.rank <= %(limit)s
) AS c ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('rank', y.rank, 'acc_number', y.acc_number, 'pol_number', y.pol_number,
        'layer_number', y.layer_number, 'mean_gross', y.mean_gross, 'sd_gross', y.sd_gross, 'mean_net', y.mean_net,
        'chance', y.chance) ORDER BY y.rank) AS policies
    FROM assessment_policy AS y WHERE y.assessment_id = n.assessment_id AND y.rank <= %(limit)s
) AS q ON true
ORDER BY l.mean_il DESC NULLS LAST, n.exposed_tiv DESC, n.assessment_id;

-- name: feeds
-- Feeds of others that are on, and how old what they brought is.
SELECT code, kind, name, state, since, answered_at, n_failures, due_at, detail,
       extract(epoch FROM %(now)s - answered_at)::float8 AS age_s,
       (answered_at IS NULL OR answered_at < %(now)s - make_interval(secs => 3 * interval_s)) AS stale
FROM feed WHERE enabled ORDER BY code COLLATE "C";
