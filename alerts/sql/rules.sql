-- name: save_rule
-- Closes the version before and adds this one, if it says something new; gives the version that stands.
WITH newest AS (
    SELECT version, datastream_id, definition, area, area_desc FROM rule
    WHERE rule_id = %(rule_id)s ORDER BY version DESC LIMIT 1
), same AS (
    SELECT version FROM newest
    WHERE datastream_id = %(datastream_id)s AND definition = %(definition)s AND area IS NOT DISTINCT FROM %(area)s
      AND area_desc = %(area_desc)s
), closed AS (
    UPDATE rule SET effective_to = %(effective_from)s
    FROM newest
    WHERE rule.rule_id = %(rule_id)s AND rule.version = newest.version AND NOT EXISTS (SELECT FROM same)
      AND (rule.effective_to IS NULL OR rule.effective_to > %(effective_from)s)
), added AS (
    INSERT INTO rule (rule_id, version, tenant_id, code, datastream_id, definition, area, area_desc, effective_from)
    SELECT %(rule_id)s, coalesce((SELECT version FROM newest), 0) + 1, %(tenant_id)s, %(code)s, %(datastream_id)s,
           %(definition)s, %(area)s, %(area_desc)s, %(effective_from)s
    WHERE NOT EXISTS (SELECT FROM same)
    RETURNING version
)
SELECT coalesce((SELECT version FROM added), (SELECT version FROM same));

-- name: start_rule_state
INSERT INTO rule_state (rule_id, tenant_id, state, updated_at)
VALUES (%(rule_id)s, %(tenant_id)s, %(state)s, %(updated_at)s)
ON CONFLICT (rule_id) DO NOTHING;

-- name: withdraw_rule
-- No reading is judged by it any more; a warning that it opened stays with the operator.
UPDATE rule SET effective_to = %(at)s WHERE rule_id = %(rule_id)s AND (effective_to IS NULL OR effective_to > %(at)s);

-- name: rules_of_datastreams
-- The rules in force for these datastreams, each with its state locked, in an order that cannot deadlock.
SELECT r.rule_id, r.version, r.tenant_id, r.code, r.datastream_id, r.definition, r.area, r.area_desc, s.state, s.warning_id,
       t.slug, t.name AS tenant_name, t.settings AS tenant_settings, st.name AS station_name, live.expires_at AS live_until
FROM rule AS r
JOIN rule_state AS s ON s.rule_id = r.rule_id
JOIN tenant AS t ON t.tenant_id = r.tenant_id
JOIN datastream AS d ON d.datastream_id = r.datastream_id
JOIN station AS st ON st.station_id = d.station_id
LEFT JOIN LATERAL (
    SELECT w.expires_at FROM warning AS w
    WHERE w.warning_id = s.warning_id AND w.released_at IS NOT NULL AND w.state IN ('released', 'superseded')
    ORDER BY w.version DESC LIMIT 1
) AS live ON true
WHERE r.datastream_id = ANY(%(datastream_ids)s) AND r.effective_from <= %(now)s
  AND (r.effective_to IS NULL OR r.effective_to > %(now)s)
ORDER BY r.rule_id
FOR UPDATE OF s;

-- name: rules_with_something_open
-- The same, for every rule whose warning is open or awaits confirmation: what timers look at.
SELECT r.rule_id, r.version, r.tenant_id, r.code, r.datastream_id, r.definition, r.area, r.area_desc, s.state, s.warning_id,
       t.slug, t.name AS tenant_name, t.settings AS tenant_settings, st.name AS station_name, live.expires_at AS live_until
FROM rule_state AS s
JOIN LATERAL (
    SELECT * FROM rule WHERE rule.rule_id = s.rule_id AND rule.effective_from <= %(now)s ORDER BY version DESC LIMIT 1
) AS r ON true
JOIN tenant AS t ON t.tenant_id = r.tenant_id
JOIN datastream AS d ON d.datastream_id = r.datastream_id
JOIN station AS st ON st.station_id = d.station_id
LEFT JOIN LATERAL (
    SELECT w.expires_at FROM warning AS w
    WHERE w.warning_id = s.warning_id AND w.released_at IS NOT NULL AND w.state IN ('released', 'superseded')
    ORDER BY w.version DESC LIMIT 1
) AS live ON true
WHERE s.state ->> 'phase' IN ('pending', 'active', 'stale', 'clearing', 'expired')
ORDER BY s.rule_id
FOR UPDATE OF s SKIP LOCKED;

-- name: readings_since
-- Every version of the readings of these datastreams since a time of each; readings of unset clocks by their arrival.
SELECT w.datastream_id, o.observed_at, o.received_at, o.value, o.quality, 0 AS revision, 0 AS flags_version
FROM unnest(%(datastream_ids)s::bigint[], %(since)s::timestamptz[]) AS w (datastream_id, since)
JOIN LATERAL (
    SELECT * FROM observation WHERE observation.datastream_id = w.datastream_id AND observation.observed_at >= w.since
) AS o ON true
UNION ALL
SELECT w.datastream_id, v.observed_at, v.received_at, v.value, v.quality, v.revision, v.flags_version
FROM unnest(%(datastream_ids)s::bigint[], %(since)s::timestamptz[]) AS w (datastream_id, since)
JOIN LATERAL (
    SELECT * FROM observation_revision AS r WHERE r.datastream_id = w.datastream_id AND r.observed_at >= w.since
) AS v ON true
UNION ALL
SELECT w.datastream_id, o.observed_at, o.received_at, o.value, o.quality, 0, 0
FROM unnest(%(datastream_ids)s::bigint[], %(since)s::timestamptz[]) AS w (datastream_id, since)
JOIN LATERAL (
    SELECT * FROM observation
    WHERE observation.datastream_id = w.datastream_id AND observation.observed_at < '2000-01-01T00:00:00Z'
      AND observation.received_at >= w.since
) AS o ON true;

-- name: save_rule_states
UPDATE rule_state AS s SET state = n.state, warning_id = n.warning_id, updated_at = %(at)s
FROM unnest(%(rule_ids)s::uuid[], %(states)s::jsonb[], %(warning_ids)s::uuid[]) AS n (rule_id, state, warning_id)
WHERE s.rule_id = n.rule_id;

-- name: save_decision
INSERT INTO decision (decision_id, tenant_id, rule_id, at, reason, level_before, level_after, warning_id, version, detail)
VALUES (%(decision_id)s, %(tenant_id)s, %(rule_id)s, %(at)s, %(reason)s, %(level_before)s, %(level_after)s, %(warning_id)s,
        %(version)s, %(detail)s);

-- name: lock_rule_state
SELECT state, warning_id FROM rule_state WHERE rule_id = %(rule_id)s FOR UPDATE;

-- name: reset_rule_state
UPDATE rule_state SET state = %(state)s, warning_id = %(warning_id)s, updated_at = %(at)s WHERE rule_id = %(rule_id)s;

-- name: rule_sites
-- Where rules of a tenant may stand: its stations and the public ones, by code and by name.
SELECT s.code, s.name, s.lon, s.lat, d.datastream_id, d.quantity, d.interval_s, coalesce(s.basin, s.river) AS basin
FROM station AS s JOIN datastream AS d ON d.station_id = s.station_id
WHERE s.tenant_id IS NULL OR s.tenant_id = %(tenant_id)s;

-- name: list_rules
-- Every version of each rule, newest first, with its station and where its lifecycle stands.
SELECT r.rule_id, r.version, r.code, t.slug AS tenant, st.code AS station, d.quantity, r.definition, r.area IS NOT NULL AS has_area,
       r.area_desc, r.effective_from, r.effective_to,
       CASE WHEN r.effective_to IS NULL OR r.effective_to > %(now)s THEN s.state ->> 'phase' END AS phase,
       CASE WHEN r.effective_to IS NULL OR r.effective_to > %(now)s THEN s.state ->> 'level' END AS level
FROM rule AS r
JOIN tenant AS t ON t.tenant_id = r.tenant_id
JOIN datastream AS d ON d.datastream_id = r.datastream_id
JOIN station AS st ON st.station_id = d.station_id
LEFT JOIN rule_state AS s ON s.rule_id = r.rule_id
WHERE (%(slug)s::text IS NULL OR t.slug = %(slug)s)
  AND (%(all_versions)s OR r.effective_to IS NULL OR r.effective_to > %(now)s)
ORDER BY t.slug, r.code, r.version DESC;

-- name: standing_rule
-- The version of a rule that stands at a time.
SELECT rule_id, version, tenant_id, code, datastream_id, definition FROM rule
WHERE rule_id = %(rule_id)s AND effective_from <= %(now)s AND (effective_to IS NULL OR effective_to > %(now)s)
ORDER BY version DESC LIMIT 1;

-- name: domains_of_stream
-- What the station of a datastream would fail with.
SELECT st.code AS station, st.gateway_group AS gateway, st.power_group AS power, st.vendor
FROM datastream AS d JOIN station AS st ON st.station_id = d.station_id WHERE d.datastream_id = %(datastream_id)s;

-- name: stations_that_agree
-- Other stations of the basin whose own readings hold a warning of one of these levels now, not by silence.
SELECT DISTINCT st.code AS station, st.gateway_group AS gateway, st.power_group AS power, st.vendor
FROM datastream AS d
JOIN station AS own ON own.station_id = d.station_id
JOIN station AS st ON coalesce(st.basin, st.river) = coalesce(own.basin, own.river) AND st.station_id <> own.station_id
JOIN datastream AS e ON e.station_id = st.station_id
JOIN rule AS r ON r.datastream_id = e.datastream_id AND r.tenant_id = %(tenant_id)s AND r.effective_from <= %(now)s
                  AND (r.effective_to IS NULL OR r.effective_to > %(now)s)
JOIN rule_state AS s ON s.rule_id = r.rule_id
WHERE d.datastream_id = %(datastream_id)s AND s.state ->> 'phase' IN ('active', 'clearing') AND s.state ->> 'level' = ANY(%(levels)s);
