-- name: read_installation
-- What this database is for.
SELECT exercise FROM installation;

-- name: lock_warning
-- Every version of a warning, oldest first; nobody else changes any while this transaction lasts.
SELECT warning_id, version, tenant_id, rule_id, hazard_event_id, exercise, status, msg_type, level, all_clear, reason, state,
       identifier, sender, sent_at, onset_at, expires_at, references_, area, area_desc, texts, event, n_people, n_unreachable,
       content_sha256, approvals_needed, held, drafted_by, drafted_at, released_at, severity, certainty, stage, authority, incident
FROM warning WHERE warning_id = %(warning_id)s ORDER BY version FOR UPDATE;

-- name: newest_sent
SELECT sent_at, level FROM warning WHERE warning_id = %(warning_id)s ORDER BY version DESC LIMIT 1;

-- name: read_warning
SELECT w.warning_id, w.version, w.tenant_id, w.rule_id, w.hazard_event_id, w.exercise, w.status, w.msg_type, w.level, w.all_clear,
       w.reason, w.state, w.identifier, w.sender, w.sent_at, w.onset_at, w.expires_at, w.references_, w.area, w.area_desc, w.texts,
       w.event, w.n_people, w.n_unreachable, w.content_sha256, w.approvals_needed, w.held, w.drafted_by, w.drafted_at,
       w.released_at, w.severity, w.certainty, w.stage, w.authority, w.incident, t.name AS tenant_name, t.settings AS tenant_settings
FROM warning AS w JOIN tenant AS t ON t.tenant_id = w.tenant_id
WHERE w.warning_id = %(warning_id)s AND w.version = %(version)s;

-- name: add_warning
INSERT INTO warning (warning_id, version, tenant_id, rule_id, hazard_event_id, exercise, status, msg_type, level, all_clear,
    reason, state, identifier, sender, sent_at, onset_at, expires_at, references_, area, area_desc, texts, event, n_people,
    n_unreachable, content_sha256, approvals_needed, held, drafted_by, drafted_at, released_at, severity, certainty, stage,
    authority, incident)
VALUES (%(warning_id)s, %(version)s, %(tenant_id)s, %(rule_id)s, %(hazard_event_id)s, %(exercise)s, %(status)s, %(msg_type)s,
    %(level)s, %(all_clear)s, %(reason)s, %(state)s, %(identifier)s, %(sender)s, %(sent_at)s, %(onset_at)s, %(expires_at)s,
    %(references_)s, %(area)s, %(area_desc)s, %(texts)s, %(event)s, %(n_people)s, %(n_unreachable)s, %(content_sha256)s,
    %(approvals_needed)s, %(held)s, %(drafted_by)s, %(drafted_at)s, %(released_at)s, %(severity)s, %(certainty)s, %(stage)s,
    %(authority)s, %(incident)s);

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

-- name: first_recipients
-- The people of a version whom the hazard reaches first, each with all channels. Windows, and no join of the version with
-- itself: right after ten thousand rows were written the statistics know of none, and a join is then a nested loop.
SELECT policyholder_id, channel, contact_point_id, language, priority FROM (
    SELECT *, dense_rank() OVER (ORDER BY first, policyholder_id) AS place FROM (
        SELECT policyholder_id, channel, contact_point_id, language, priority,
               min(priority) OVER (PARTITION BY policyholder_id) AS first
        FROM warning_recipient WHERE warning_id = %(warning_id)s AND version = %(version)s) AS of_version) AS placed
WHERE place <= %(n_people)s;

-- name: leave_out
-- These hear something worse by the time the version is approved: they stay in what was approved, and are not told.
UPDATE warning_recipient AS r SET left_out_by = n.stands
FROM unnest(%(people)s::uuid[], %(stands)s::uuid[]) AS n (person, stands)
WHERE r.warning_id = %(warning_id)s AND r.version = %(version)s AND r.policyholder_id = n.person;

-- name: left_out
SELECT DISTINCT policyholder_id FROM warning_recipient
WHERE warning_id = %(warning_id)s AND version = %(version)s AND left_out_by IS NOT NULL;

-- name: standing_levels
-- Where every rule stands now that speaks through a warning.
SELECT state ->> 'level' AS level FROM rule_state WHERE warning_id = %(warning_id)s
UNION ALL
SELECT state ->> 'level' FROM event_state WHERE warning_id = %(warning_id)s;

-- name: people_told
-- Who got, or was about to get, any released version: whoever got v gets v + 1.
SELECT DISTINCT r.policyholder_id FROM warning_recipient AS r
JOIN warning AS w ON w.warning_id = r.warning_id AND w.version = r.version
WHERE r.warning_id = %(warning_id)s AND w.released_at IS NOT NULL AND r.left_out_by IS NULL;

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
WHERE p.tenant_id = %(tenant_id)s AND p.policyholder_id = ANY(%(policyholder_ids)s::uuid[]);

-- name: channels_of
-- One address a channel and person: the one to try first, while consent stands.
SELECT DISTINCT ON (policyholder_id, channel) policyholder_id, channel, contact_point_id
FROM contact_point
WHERE tenant_id = %(tenant_id)s AND policyholder_id = ANY(%(policyholder_ids)s::uuid[]) AND withdrawn_at IS NULL
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

-- name: tenant_by_slug
SELECT tenant_id, settings FROM tenant WHERE slug = %(slug)s;

-- name: tenant_slug
SELECT slug FROM tenant WHERE tenant_id = %(tenant_id)s;
