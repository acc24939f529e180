-- name: save_rule
-- Closes the version before and adds this one, if it says something new; gives the version that stands.
WITH newest AS (
    SELECT version, datastream_id, definition, area, area_desc, effective_to FROM rule
    WHERE rule_id = %(rule_id)s ORDER BY version DESC LIMIT 1
), same AS (
    SELECT version FROM newest
    WHERE datastream_id IS NOT DISTINCT FROM %(datastream_id)s::bigint AND definition = %(definition)s
      AND area IS NOT DISTINCT FROM %(area)s AND area_desc = %(area_desc)s
      AND (effective_to IS NULL OR effective_to > %(effective_from)s) -- one that is retired does not stand
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
-- Its group follows the newest version; a warning that is open stays where it is.
INSERT INTO rule_state (rule_id, tenant_id, state, group_key, updated_at)
VALUES (%(rule_id)s, %(tenant_id)s, %(state)s, %(group_key)s, %(updated_at)s)
ON CONFLICT (rule_id) DO UPDATE SET group_key = excluded.group_key
WHERE rule_state.group_key IS DISTINCT FROM excluded.group_key;

-- name: withdraw_rule
-- No reading is judged by it any more; a warning that it opened stays with the operator.
UPDATE rule SET effective_to = %(at)s WHERE rule_id = %(rule_id)s AND (effective_to IS NULL OR effective_to > %(at)s);

-- name: rules_of_datastreams
-- The rules in force for these datastreams, and what is open in their groups, each with its state locked, in an order that
-- cannot deadlock.
WITH touched AS MATERIALIZED (
    SELECT r.rule_id, o.group_key
    FROM rule AS r JOIN rule_state AS o ON o.rule_id = r.rule_id
    WHERE r.datastream_id = ANY(%(datastream_ids)s) AND r.effective_from <= %(now)s
      AND (r.effective_to IS NULL OR r.effective_to > %(now)s)
), wanted AS MATERIALIZED (
    SELECT rule_id FROM touched
    UNION
    SELECT m.rule_id FROM rule_state AS m
    WHERE m.group_key IN (SELECT group_key FROM touched WHERE group_key IS NOT NULL)
)
SELECT r.rule_id, r.version, r.tenant_id, r.code, r.datastream_id, r.definition, r.area, r.area_desc, s.state, s.warning_id,
       s.group_key, t.slug, t.name AS tenant_name, t.settings AS tenant_settings, st.name AS station_name,
       live.expires_at AS live_until, scheme.version AS scheme_version, scheme.told AS scheme
FROM wanted
JOIN rule_state AS s ON s.rule_id = wanted.rule_id
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
LEFT JOIN LATERAL (
    SELECT version, told FROM level_scheme AS l
    WHERE l.tenant_id = r.tenant_id AND l.effective_from <= %(now)s ORDER BY version DESC LIMIT 1
) AS scheme ON true
WHERE r.effective_to IS NULL OR r.effective_to > %(now)s OR s.state ->> 'level' <> 'none'
ORDER BY s.rule_id
FOR UPDATE OF s;

-- name: rules_with_something_open
-- The same, for every rule whose warning is open or awaits confirmation: what timers look at. `n_open` counts the open
-- rules of its group, also those that another worker holds.
SELECT r.rule_id, r.version, r.tenant_id, r.code, r.datastream_id, r.definition, r.area, r.area_desc, s.state, s.warning_id,
       s.group_key, t.slug, t.name AS tenant_name, t.settings AS tenant_settings, st.name AS station_name,
       live.expires_at AS live_until, scheme.version AS scheme_version, scheme.told AS scheme,
       (SELECT count(*) FROM rule_state AS o WHERE o.group_key = s.group_key AND o.state ->> 'level' <> 'none') AS n_open
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
LEFT JOIN LATERAL (
    SELECT version, told FROM level_scheme AS l
    WHERE l.tenant_id = r.tenant_id AND l.effective_from <= %(now)s ORDER BY version DESC LIMIT 1
) AS scheme ON true
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

-- name: reset_rule_state
UPDATE rule_state SET state = %(state)s, warning_id = %(warning_id)s, updated_at = %(at)s WHERE rule_id = %(rule_id)s;

-- name: rule_sites
-- Where rules of a tenant may stand: its stations and the public ones, by code and by name.
SELECT s.code, s.name, s.lon, s.lat, d.datastream_id, d.quantity, d.interval_s, coalesce(s.basin, s.river) AS basin
FROM station AS s JOIN datastream AS d ON d.station_id = s.station_id
WHERE s.tenant_id IS NULL OR s.tenant_id = %(tenant_id)s;

-- name: list_rules
-- Every version of each rule, newest first, with its station and where its lifecycle stands.
SELECT r.rule_id, r.version, r.code, coalesce(r.definition ->> 'kind', 'level') AS kind, t.slug AS tenant, st.code AS station,
       d.quantity, r.definition, r.area IS NOT NULL AS has_area, r.area_desc, r.effective_from, r.effective_to, s.group_key,
       CASE WHEN r.effective_to IS NULL OR r.effective_to > %(now)s THEN s.state ->> 'phase' END AS phase,
       CASE WHEN r.effective_to IS NULL OR r.effective_to > %(now)s THEN s.state ->> 'level' END AS level
FROM rule AS r
JOIN tenant AS t ON t.tenant_id = r.tenant_id
LEFT JOIN datastream AS d ON d.datastream_id = r.datastream_id
LEFT JOIN station AS st ON st.station_id = d.station_id
LEFT JOIN rule_state AS s ON s.rule_id = r.rule_id
WHERE (%(slug)s::text IS NULL OR t.slug = %(slug)s)
  AND (%(all_versions)s OR r.effective_to IS NULL OR r.effective_to > %(now)s)
ORDER BY t.slug, r.code, r.version DESC;

-- name: rule_versions
-- Every version of one rule, newest first, with its area and, where a second person agreed to it, whose word it is.
SELECT r.rule_id, r.version, r.code, coalesce(r.definition ->> 'kind', 'level') AS kind, st.code AS station,
       r.definition, r.area, r.area IS NOT NULL AS has_area, r.area_desc, r.effective_from, r.effective_to,
       CASE WHEN r.effective_to IS NULL OR r.effective_to > %(now)s THEN s.state ->> 'phase' END AS phase,
       CASE WHEN r.effective_to IS NULL OR r.effective_to > %(now)s THEN s.state ->> 'level' END AS level,
       p.dry_run, a.login AS proposed_by_login, b.login AS agreed_by_login
FROM rule AS r
LEFT JOIN datastream AS d ON d.datastream_id = r.datastream_id
LEFT JOIN station AS st ON st.station_id = d.station_id
LEFT JOIN rule_state AS s ON s.rule_id = r.rule_id
LEFT JOIN LATERAL (
    SELECT * FROM rule_proposal AS o
    WHERE o.tenant_id = r.tenant_id AND o.code = r.code AND o.version = r.version AND o.state = 'approved'
    ORDER BY o.decided_at DESC LIMIT 1
) AS p ON true
LEFT JOIN principal AS a ON a.principal_id = p.proposed_by
LEFT JOIN principal AS b ON b.principal_id = p.decided_by
WHERE r.tenant_id = %(tenant_id)s AND r.rule_id = %(rule_id)s
ORDER BY r.version DESC;

-- name: standing_rule
-- The version of a rule that stands at a time.
SELECT rule_id, version, tenant_id, code, datastream_id, definition FROM rule
WHERE rule_id = %(rule_id)s AND effective_from <= %(now)s AND (effective_to IS NULL OR effective_to > %(now)s)
  AND datastream_id IS NOT NULL
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

-- name: wake_rules
-- What was kept out by a warning that is over speaks again at the next look.
UPDATE rule_state SET state = jsonb_set(state, '{renew_at}', to_jsonb(%(at)s::text))
WHERE warning_id = ANY(%(warning_ids)s) AND state ->> 'level' <> 'none';

-- name: wake_events
UPDATE event_state SET state = jsonb_set(state, '{renew_at}', to_jsonb(%(at)s::text))
WHERE warning_id = ANY(%(warning_ids)s) AND state ->> 'level' <> 'none';

-- name: wake_silenced
-- A silence ended: the rules that it held look again.
UPDATE rule_state AS s SET state = jsonb_set(s.state, '{renew_at}', to_jsonb(%(at)s::text))
FROM (SELECT DISTINCT ON (rule_id) rule_id, code, definition ->> 'peril' AS peril FROM rule
      WHERE tenant_id = %(tenant_id)s ORDER BY rule_id, version DESC) AS r
WHERE s.rule_id = r.rule_id AND s.state ->> 'level' <> 'none'
  AND (r.code = %(rule_code)s::text OR r.peril = %(peril)s::text);

-- name: rule_states_of_warning
-- Every rule that speaks through this warning, locked.
SELECT rule_id, state FROM rule_state WHERE warning_id = %(warning_id)s ORDER BY rule_id FOR UPDATE;

-- name: event_states_of_warning
SELECT rule_id, subject, state FROM event_state WHERE warning_id = %(warning_id)s ORDER BY rule_id, subject FOR UPDATE;

-- name: reset_event_state
UPDATE event_state SET state = %(state)s, updated_at = %(at)s WHERE rule_id = %(rule_id)s AND subject = %(subject)s;

-- name: live_silences
SELECT silence_id, tenant_id, rule_code, peril, up_to, starts_at, ends_at, author, reason, second, ended_at
FROM silence WHERE tenant_id = %(tenant_id)s AND starts_at <= %(now)s AND ends_at > %(now)s
  AND (ended_at IS NULL OR ended_at > %(now)s);

-- name: list_silences
SELECT s.silence_id, s.tenant_id, t.slug AS tenant, s.rule_code, s.peril, s.up_to, s.starts_at, s.ends_at, s.author,
       a.login AS author_login, s.reason, s.second, b.login AS second_login, s.ended_at, s.ended_by
FROM silence AS s JOIN tenant AS t ON t.tenant_id = s.tenant_id
JOIN principal AS a ON a.principal_id = s.author
LEFT JOIN principal AS b ON b.principal_id = s.second
WHERE (%(slug)s::text IS NULL OR t.slug = %(slug)s) AND (%(all)s OR (s.ends_at > %(now)s AND s.ended_at IS NULL))
ORDER BY s.starts_at DESC, s.silence_id;

-- name: add_silence
INSERT INTO silence (silence_id, tenant_id, rule_code, peril, up_to, starts_at, ends_at, author, reason)
VALUES (%(silence_id)s, %(tenant_id)s, %(rule_code)s, %(peril)s, %(up_to)s, %(starts_at)s, %(ends_at)s, %(author)s, %(reason)s);

-- name: lock_silence
SELECT silence_id, tenant_id, rule_code, peril, up_to, starts_at, ends_at, author, reason, second, ended_at
FROM silence WHERE silence_id = %(silence_id)s FOR UPDATE;

-- name: second_silence
UPDATE silence SET second = %(principal_id)s WHERE silence_id = %(silence_id)s;

-- name: end_silence
UPDATE silence SET ended_at = %(at)s, ended_by = %(principal_id)s WHERE silence_id = %(silence_id)s AND ended_at IS NULL;

-- name: newest_scheme
SELECT version, told, effective_from FROM level_scheme
WHERE tenant_id = %(tenant_id)s AND effective_from <= %(now)s ORDER BY version DESC LIMIT 1;

-- name: add_scheme
INSERT INTO level_scheme (tenant_id, version, told, effective_from, set_by)
SELECT %(tenant_id)s, coalesce(max(version), 0) + 1, %(told)s, %(effective_from)s, %(set_by)s
FROM level_scheme WHERE tenant_id = %(tenant_id)s
RETURNING version;

-- name: add_proposal
INSERT INTO rule_proposal (proposal_id, tenant_id, code, told, content_sha256, effective_from, dry_run, proposed_by, proposed_at)
VALUES (%(proposal_id)s, %(tenant_id)s, %(code)s, %(told)s, %(content_sha256)s, %(effective_from)s, %(dry_run)s,
        %(proposed_by)s, %(proposed_at)s);

-- name: lock_proposal
SELECT proposal_id, tenant_id, code, told, content_sha256, state, effective_from, dry_run, proposed_by, proposed_at
FROM rule_proposal WHERE proposal_id = %(proposal_id)s FOR UPDATE;

-- name: decide_proposal
UPDATE rule_proposal SET state = %(state)s, decided_by = %(by)s, decided_at = %(at)s, why = %(why)s, version = %(version)s
WHERE proposal_id = %(proposal_id)s AND state = 'proposed';

-- name: list_proposals
SELECT p.proposal_id, p.code, p.told, encode(p.content_sha256, 'hex') AS content_sha256, p.state, p.effective_from, p.dry_run,
       p.proposed_by, a.login AS proposed_by_login, p.proposed_at, p.decided_by, p.decided_at, p.why, p.version
FROM rule_proposal AS p JOIN principal AS a ON a.principal_id = p.proposed_by
WHERE p.tenant_id = %(tenant_id)s AND (%(all)s OR p.state = 'proposed') ORDER BY p.proposed_at DESC, p.proposal_id;

-- name: rule_by_code
SELECT rule_id, version, effective_from, effective_to FROM rule WHERE tenant_id = %(tenant_id)s AND code = %(code)s
ORDER BY version DESC LIMIT 1;

-- name: principal_by_login
SELECT principal_id, tenant_id, login, roles, disabled_at FROM principal WHERE login = %(login)s;

-- name: code_of
SELECT code FROM rule WHERE tenant_id = %(tenant_id)s AND rule_id = %(rule_id)s LIMIT 1;
