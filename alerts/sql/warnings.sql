-- name: read_installation
-- What this database is for.
SELECT exercise FROM installation;

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

-- name: lock_warning
-- Every version of a warning, oldest first; nobody else changes any while this transaction lasts.
SELECT warning_id, version, tenant_id, rule_id, hazard_event_id, exercise, status, msg_type, level, all_clear, reason, state,
       identifier, sender, sent_at, onset_at, expires_at, references_, area, area_desc, texts, event, n_people, n_unreachable,
       content_sha256, approvals_needed, held, drafted_by, drafted_at, released_at
FROM warning WHERE warning_id = %(warning_id)s ORDER BY version FOR UPDATE;

-- name: read_warning
SELECT w.warning_id, w.version, w.tenant_id, w.rule_id, w.hazard_event_id, w.exercise, w.status, w.msg_type, w.level, w.all_clear,
       w.reason, w.state, w.identifier, w.sender, w.sent_at, w.onset_at, w.expires_at, w.references_, w.area, w.area_desc, w.texts,
       w.event, w.n_people, w.n_unreachable, w.content_sha256, w.approvals_needed, w.held, w.drafted_by, w.drafted_at,
       w.released_at, t.name AS tenant_name, t.settings AS tenant_settings
FROM warning AS w JOIN tenant AS t ON t.tenant_id = w.tenant_id
WHERE w.warning_id = %(warning_id)s AND w.version = %(version)s;

-- name: add_warning
INSERT INTO warning (warning_id, version, tenant_id, rule_id, hazard_event_id, exercise, status, msg_type, level, all_clear,
    reason, state, identifier, sender, sent_at, onset_at, expires_at, references_, area, area_desc, texts, event, n_people,
    n_unreachable, content_sha256, approvals_needed, held, drafted_by, drafted_at, released_at)
VALUES (%(warning_id)s, %(version)s, %(tenant_id)s, %(rule_id)s, %(hazard_event_id)s, %(exercise)s, %(status)s, %(msg_type)s,
    %(level)s, %(all_clear)s, %(reason)s, %(state)s, %(identifier)s, %(sender)s, %(sent_at)s, %(onset_at)s, %(expires_at)s,
    %(references_)s, %(area)s, %(area_desc)s, %(texts)s, %(event)s, %(n_people)s, %(n_unreachable)s, %(content_sha256)s,
    %(approvals_needed)s, %(held)s, %(drafted_by)s, %(drafted_at)s, %(released_at)s);

-- name: supersede_drafts
-- A draft that a newer version replaces can no longer be approved.
UPDATE warning SET state = 'superseded'
WHERE warning_id = %(warning_id)s AND version < %(version)s AND state = 'draft';

-- name: supersede_released
UPDATE warning SET state = 'superseded'
WHERE warning_id = %(warning_id)s AND version < %(version)s AND state = 'released';

-- name: release_warning
UPDATE warning SET state = 'released', released_at = %(at)s
WHERE warning_id = %(warning_id)s AND version = %(version)s AND state = 'draft';

-- name: close_drafts
UPDATE warning SET state = %(state)s
WHERE warning_id = %(warning_id)s AND state = 'draft' AND (%(version)s::integer IS NULL OR version = %(version)s);

-- name: add_recipients
INSERT INTO warning_recipient (tenant_id, warning_id, version, policyholder_id, channel, contact_point_id, language, priority)
SELECT %(tenant_id)s, %(warning_id)s, %(version)s, n.*
FROM unnest(%(policyholder_ids)s::uuid[], %(channels)s::text[], %(contact_point_ids)s::uuid[], %(languages)s::text[],
            %(priorities)s::integer[]) AS n;

-- name: recipients
SELECT policyholder_id, channel, contact_point_id, language, priority FROM warning_recipient
WHERE warning_id = %(warning_id)s AND version = %(version)s;

-- name: people_told
-- Who got, or was about to get, any released version: whoever got v gets v + 1.
SELECT DISTINCT r.policyholder_id FROM warning_recipient AS r
JOIN warning AS w ON w.warning_id = r.warning_id AND w.version = r.version
WHERE r.warning_id = %(warning_id)s AND w.released_at IS NOT NULL;

-- name: people_in_box
-- Where people live: the household, else the insured location.
SELECT p.policyholder_id, p.language, coalesce(h.lon, l.lon) AS lon, coalesce(h.lat, l.lat) AS lat
FROM policyholder AS p
LEFT JOIN household AS h ON h.policyholder_id = p.policyholder_id
LEFT JOIN location AS l ON l.location_id = p.location_id
WHERE p.tenant_id = %(tenant_id)s
  AND coalesce(h.lon, l.lon) BETWEEN %(west)s AND %(east)s AND coalesce(h.lat, l.lat) BETWEEN %(south)s AND %(north)s;

-- name: people_by_id
SELECT p.policyholder_id, p.language, coalesce(h.lon, l.lon) AS lon, coalesce(h.lat, l.lat) AS lat
FROM policyholder AS p
LEFT JOIN household AS h ON h.policyholder_id = p.policyholder_id
LEFT JOIN location AS l ON l.location_id = p.location_id
WHERE p.tenant_id = %(tenant_id)s AND p.policyholder_id = ANY(%(policyholder_ids)s);

-- name: channels_of
-- One address a channel and person: the one to try first, while consent stands.
SELECT DISTINCT ON (policyholder_id, channel) policyholder_id, channel, contact_point_id
FROM contact_point
WHERE tenant_id = %(tenant_id)s AND policyholder_id = ANY(%(policyholder_ids)s) AND withdrawn_at IS NULL
ORDER BY policyholder_id, channel, rank, contact_point_id;

-- name: usual_people
-- The median audience of this rule's released warnings, where there were at least three.
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n_people) FROM warning
WHERE rule_id = %(rule_id)s AND released_at IS NOT NULL AND NOT all_clear
  AND warning_id IS DISTINCT FROM %(warning_id)s
HAVING count(DISTINCT warning_id) >= 3;

-- name: mass_lately
SELECT count(DISTINCT warning_id) AS n FROM warning
WHERE tenant_id = %(tenant_id)s AND released_at > %(since)s AND n_people >= %(n_people)s AND approvals_needed = 0
  AND NOT all_clear AND warning_id <> %(warning_id)s;

-- name: footprints_near
-- The newest footprint of each event that goes on, public or the tenant's.
SELECT DISTINCT ON (f.hazard_event_id) f.geometry, f.zones
FROM footprint AS f JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
WHERE (e.tenant_id IS NULL OR e.tenant_id = %(tenant_id)s) AND e.started_at <= %(now)s
  AND (e.ended_at IS NULL OR e.ended_at > %(now)s) AND f.valid_at <= %(now)s
ORDER BY f.hazard_event_id, f.version DESC;

-- name: first_warnings
-- For each rule and level the first time a warning of at least that level was drafted, and released.
WITH ranked AS (
    SELECT w.rule_id, w.drafted_at, w.released_at, w.sent_at,
           array_position(ARRAY['none', 'blue', 'yellow', 'orange', 'red'], w.level) AS rank
    FROM warning AS w WHERE NOT w.all_clear AND w.msg_type <> 'Cancel' AND (%(tenant_id)s::uuid IS NULL OR w.tenant_id = %(tenant_id)s)
)
SELECT st.code AS station, d.datastream_id, n.level, min(w.sent_at) AS issued_at, min(w.released_at) AS released_at
FROM ranked AS w
JOIN LATERAL unnest(ARRAY['blue', 'yellow', 'orange', 'red']) WITH ORDINALITY AS n (level, place) ON n.place + 1 <= w.rank
JOIN LATERAL (SELECT datastream_id, definition FROM rule WHERE rule.rule_id = w.rule_id ORDER BY version DESC LIMIT 1) AS r ON true
JOIN datastream AS d ON d.datastream_id = r.datastream_id
JOIN station AS st ON st.station_id = d.station_id
WHERE r.definition -> 'thresholds' ? n.level
GROUP BY st.code, d.datastream_id, n.level, n.place
ORDER BY st.code, n.place;

-- name: list_warnings
-- The newest version of each warning, newest first.
SELECT DISTINCT ON (w.warning_id) w.warning_id, w.version, t.slug AS tenant, r.code AS rule, w.level, w.state, w.status, w.msg_type, w.all_clear,
       w.reason, w.held, w.n_people, w.n_unreachable, w.approvals_needed,
       (SELECT count(DISTINCT a.principal_id) FROM approval AS a
        WHERE a.warning_id = w.warning_id AND a.version = w.version AND a.content_sha256 = w.content_sha256) AS n_approvals,
       encode(w.content_sha256, 'hex') AS content_sha256, w.sent_at, w.expires_at, w.released_at, w.texts
FROM warning AS w
JOIN tenant AS t ON t.tenant_id = w.tenant_id
LEFT JOIN LATERAL (SELECT code FROM rule WHERE rule.rule_id = w.rule_id ORDER BY version DESC LIMIT 1) AS r ON true
WHERE (%(state)s::text IS NULL OR w.state = %(state)s)
ORDER BY w.warning_id, w.version DESC;

-- name: read_principal
SELECT principal_id, tenant_id, login, roles, disabled_at FROM principal WHERE principal_id = %(principal_id)s;

-- name: add_approval
INSERT INTO approval (tenant_id, warning_id, version, principal_id, content_sha256, approved_at)
VALUES (%(tenant_id)s, %(warning_id)s, %(version)s, %(principal_id)s, %(content_sha256)s, %(at)s)
ON CONFLICT (warning_id, version, principal_id) DO NOTHING;

-- name: count_approvals
SELECT count(DISTINCT principal_id) FROM approval
WHERE warning_id = %(warning_id)s AND version = %(version)s AND content_sha256 = %(content_sha256)s
  AND principal_id IS DISTINCT FROM %(drafted_by)s;

-- name: lock_rule_state
SELECT state, warning_id FROM rule_state WHERE rule_id = %(rule_id)s FOR UPDATE;

-- name: reset_rule_state
UPDATE rule_state SET state = %(state)s, warning_id = %(warning_id)s, updated_at = %(at)s WHERE rule_id = %(rule_id)s;

-- name: add_pause
INSERT INTO sending_pause (scope, tenant_id, paused_by, paused_at) VALUES (%(scope)s, %(tenant_id)s, %(principal_id)s, %(at)s)
ON CONFLICT (scope) DO UPDATE SET resume_asked_by = NULL
RETURNING scope, paused_at, resume_asked_by;

-- name: lock_pause
SELECT scope, tenant_id, paused_by, paused_at, resume_asked_by FROM sending_pause WHERE scope = %(scope)s FOR UPDATE;

-- name: ask_resume
UPDATE sending_pause SET resume_asked_by = %(principal_id)s WHERE scope = %(scope)s;

-- name: end_pause
DELETE FROM sending_pause WHERE scope = %(scope)s;

-- name: rule_sites
-- Where rules of a tenant may stand: its stations and the public ones, by code and by name.
SELECT s.code, s.name, s.lon, s.lat, d.datastream_id, d.quantity, d.interval_s, coalesce(s.basin, s.river) AS basin
FROM station AS s JOIN datastream AS d ON d.station_id = s.station_id
WHERE s.tenant_id IS NULL OR s.tenant_id = %(tenant_id)s;

-- name: tenant_by_slug
SELECT tenant_id, settings FROM tenant WHERE slug = %(slug)s;

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

-- name: tenant_slug
SELECT slug FROM tenant WHERE tenant_id = %(tenant_id)s;
