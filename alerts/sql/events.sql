-- name: event_rules
-- Rules of footprints and bulletins in force.
SELECT r.rule_id, r.version, r.tenant_id, r.code, r.definition, r.area, r.area_desc, t.slug, t.name AS tenant_name,
       t.settings AS tenant_settings, scheme.version AS scheme_version, scheme.told AS scheme
FROM rule AS r
JOIN tenant AS t ON t.tenant_id = r.tenant_id
LEFT JOIN LATERAL (
    SELECT version, told FROM level_scheme AS l
    WHERE l.tenant_id = r.tenant_id AND l.effective_from <= %(now)s ORDER BY version DESC LIMIT 1
) AS scheme ON true
WHERE r.datastream_id IS NULL AND r.effective_from <= %(now)s AND (r.effective_to IS NULL OR r.effective_to > %(now)s)
ORDER BY r.rule_id;

-- name: event_states
-- Where a rule stands with each of its events, locked; what another worker holds is left to it.
SELECT s.subject, s.bulletin_id, s.state, s.warning_id, live.expires_at AS live_until
FROM event_state AS s
LEFT JOIN LATERAL (
    SELECT w.expires_at FROM warning AS w
    WHERE w.warning_id = s.warning_id AND w.released_at IS NOT NULL AND w.state IN ('released', 'superseded')
    ORDER BY w.version DESC LIMIT 1
) AS live ON true
WHERE s.rule_id = %(rule_id)s ORDER BY s.subject FOR UPDATE OF s SKIP LOCKED;

-- name: save_event_state
INSERT INTO event_state (rule_id, subject, tenant_id, bulletin_id, state, warning_id, updated_at)
VALUES (%(rule_id)s, %(subject)s, %(tenant_id)s, %(bulletin_id)s, %(state)s, %(warning_id)s, %(at)s)
ON CONFLICT (rule_id, subject) DO UPDATE
SET bulletin_id = excluded.bulletin_id, state = excluded.state, warning_id = excluded.warning_id, updated_at = excluded.updated_at;

-- name: lock_event_rule
-- One worker looks at a rule's events at a time.
SELECT pg_try_advisory_xact_lock(hashtextextended('event_rule:' || %(rule_id)s::text, 0)) AS mine;

-- name: footprints_met
-- The newest footprint of each event of a hazard, with what it touches of the tenant's books; also of events that just ended.
SELECT e.hazard_event_id, e.name, e.ended_at, f.footprint_id, f.version, f.valid_at, f.geometry, f.zones,
       p.name AS portfolio, a.n_policies, a.exposed_tiv, a.n_unknown, a.unknown_tiv, a.currency, a.computed_at
FROM hazard_event AS e
JOIN LATERAL (
    SELECT * FROM footprint WHERE footprint.hazard_event_id = e.hazard_event_id AND footprint.valid_at <= %(now)s
    ORDER BY version DESC LIMIT 1
) AS f ON true
JOIN assessment AS a ON a.footprint_id = f.footprint_id AND a.tenant_id = %(tenant_id)s
JOIN portfolio AS p ON p.portfolio_id = a.portfolio_id
WHERE (e.tenant_id IS NULL OR e.tenant_id = %(tenant_id)s) AND e.peril = %(peril)s AND e.started_at <= %(now)s
  AND (e.ended_at IS NULL OR e.ended_at > %(now)s - interval '2 days')
  AND (%(portfolio)s::text IS NULL OR p.name = %(portfolio)s)
ORDER BY e.hazard_event_id, p.name;

-- name: bulletins_seen
-- What authorities say now, and what became of the bulletins that a rule has spoken of.
SELECT b.bulletin_id, b.sender, b.identifier, b.sent_at, b.seen_at, b.msg_type, b.raw, b.event, b.severity, b.headline, b.colour,
       b.onset_at, b.expires_at, b.area, b.ended_by, b.would_notify,
       ARRAY(SELECT o.bulletin_id FROM bulletin AS o WHERE o.ended_by = b.bulletin_id) AS replaces
FROM bulletin AS b
WHERE (b.tenant_id IS NULL OR b.tenant_id = %(tenant_id)s) AND b.sender = ANY(%(senders)s)
  AND b.verdict IN ('accept', 'accept-with-warnings')
  AND ((b.would_notify AND b.ended_by IS NULL AND b.expires_at > %(now)s)
       OR b.bulletin_id = ANY(%(known)s)
       OR EXISTS (SELECT FROM bulletin AS o WHERE o.ended_by = b.bulletin_id AND o.bulletin_id = ANY(%(known)s)))
ORDER BY b.sent_at, b.bulletin_id;

-- name: footprints_before
-- Every assessed footprint of a hazard's events that was known between two times, for a rehearsal: as `footprints_met`, with
-- when each could be known.
SELECT e.hazard_event_id, e.name, e.ended_at, f.footprint_id, f.version, f.valid_at, f.geometry, f.zones,
       p.name AS portfolio, a.n_policies, a.exposed_tiv, a.n_unknown, a.unknown_tiv, a.currency, a.computed_at,
       greatest(f.valid_at, a.computed_at) AS known_at
FROM hazard_event AS e
JOIN footprint AS f ON f.hazard_event_id = e.hazard_event_id
JOIN assessment AS a ON a.footprint_id = f.footprint_id AND a.tenant_id = %(tenant_id)s
JOIN portfolio AS p ON p.portfolio_id = a.portfolio_id
WHERE (e.tenant_id IS NULL OR e.tenant_id = %(tenant_id)s) AND e.peril = %(peril)s AND e.started_at <= %(until)s
  AND (e.ended_at IS NULL OR e.ended_at > %(since)s) AND f.valid_at <= %(until)s AND a.computed_at <= %(until)s
  AND (%(portfolio)s::text IS NULL OR p.name = %(portfolio)s)
ORDER BY known_at, e.hazard_event_id, p.name;

-- name: bulletins_before
-- Every bulletin of these senders that stood at some time between two, for a rehearsal: as `bulletins_seen`.
SELECT b.bulletin_id, b.sender, b.identifier, b.sent_at, b.seen_at, b.msg_type, b.raw, b.event, b.severity, b.headline, b.colour,
       b.onset_at, b.expires_at, b.area, b.ended_by, b.would_notify,
       ARRAY(SELECT o.bulletin_id FROM bulletin AS o WHERE o.ended_by = b.bulletin_id) AS replaces,
       greatest(b.seen_at, b.sent_at) AS known_at
FROM bulletin AS b
WHERE (b.tenant_id IS NULL OR b.tenant_id = %(tenant_id)s) AND b.sender = ANY(%(senders)s)
  AND b.verdict IN ('accept', 'accept-with-warnings') AND b.seen_at <= %(until)s
  AND (b.expires_at > %(since)s OR b.seen_at >= %(since)s)
ORDER BY b.sent_at, b.bulletin_id;

-- name: others_told
-- Live warnings of the same hazard that speak to these people.
SELECT DISTINCT r.policyholder_id, w.warning_id, w.level, w.authority IS NOT NULL AS official, f.first_sent
FROM warning AS w
JOIN LATERAL (
    SELECT min(o.sent_at) AS first_sent FROM warning AS o WHERE o.warning_id = w.warning_id AND o.released_at IS NOT NULL
) AS f ON true
JOIN warning_recipient AS r ON r.warning_id = w.warning_id AND r.version = w.version
WHERE w.tenant_id = %(tenant_id)s AND w.event = %(event)s AND w.warning_id <> %(warning_id)s AND w.state = 'released'
  AND NOT w.all_clear AND w.msg_type <> 'Cancel' AND w.expires_at > %(now)s AND r.policyholder_id = ANY(%(people)s::uuid[])
  AND r.left_out_by IS NULL
UNION ALL
-- ... and those that stand, and would speak to them were they not told of worse.
SELECT k.policyholder_id, k.warning_id, k.level, false, k.at
FROM kept_out AS k
WHERE k.policyholder_id = ANY(%(people)s::uuid[]) AND k.tenant_id = %(tenant_id)s AND k.warning_id <> %(warning_id)s
  AND (EXISTS (
        SELECT FROM rule_state AS s WHERE s.warning_id = k.warning_id AND s.state ->> 'level' <> 'none'
          AND (SELECT r.definition ->> 'peril' FROM rule AS r WHERE r.rule_id = s.rule_id ORDER BY version DESC LIMIT 1)
              = %(event)s)
       OR EXISTS (
        SELECT FROM event_state AS s WHERE s.warning_id = k.warning_id AND s.state ->> 'level' <> 'none'
          AND (SELECT r.definition ->> 'peril' FROM rule AS r WHERE r.rule_id = s.rule_id ORDER BY version DESC LIMIT 1)
              = %(event)s));

-- name: keep_out
INSERT INTO kept_out (warning_id, policyholder_id, tenant_id, level, at)
SELECT %(warning_id)s, person, %(tenant_id)s, %(level)s, %(at)s FROM unnest(%(people)s::uuid[]) AS person
ON CONFLICT (warning_id, policyholder_id) DO UPDATE SET level = excluded.level;

-- name: kept_out_by
-- What would speak to the people of a warning, were they not told of it.
SELECT DISTINCT k.warning_id FROM kept_out AS k
JOIN warning_recipient AS r ON r.policyholder_id = k.policyholder_id
WHERE r.warning_id = %(warning_id)s AND r.left_out_by IS NULL AND k.warning_id <> %(warning_id)s;

-- name: kept_out_in_vain
-- Whether somebody is kept out of this warning although nothing as bad speaks to them any more.
SELECT EXISTS (
    SELECT FROM kept_out AS k
    WHERE k.warning_id = %(warning_id)s AND NOT EXISTS (
        SELECT FROM warning AS w
        JOIN warning_recipient AS r ON r.warning_id = w.warning_id AND r.version = w.version
        WHERE r.policyholder_id = k.policyholder_id AND w.tenant_id = k.tenant_id AND w.event = %(event)s
          AND r.left_out_by IS NULL AND w.warning_id <> k.warning_id AND w.state = 'released' AND NOT w.all_clear AND w.msg_type <> 'Cancel'
          AND w.expires_at > %(now)s
          AND array_position(ARRAY['blue', 'yellow', 'orange', 'red'], w.level)
              >= array_position(ARRAY['blue', 'yellow', 'orange', 'red'], k.level))) AS in_vain;

-- name: kept_out_of
SELECT policyholder_id FROM kept_out WHERE warning_id = %(warning_id)s;

-- name: let_in
DELETE FROM kept_out WHERE warning_id = %(warning_id)s AND policyholder_id = ANY(%(people)s::uuid[]);

-- name: repeats_due
-- Whoever was told of a live warning longer ago than its level's interval, and has not answered: the address that took it,
-- by the first of push, text message and call that did.
SELECT DISTINCT ON (d.warning_id, d.policyholder_id)
       d.tenant_id, d.warning_id, d.version, d.policyholder_id, d.contact_point_id, d.channel, d.provider, d.exercise, d.priority,
       d.revision, (SELECT max(x.repeat) FROM delivery AS x WHERE x.warning_id = d.warning_id AND x.version = d.version
          AND x.policyholder_id = d.policyholder_id AND x.channel = d.channel) + 1 AS repeat,
       w.rule_id, w.level, w.event, e.minutes AS every_min,
       (SELECT max(coalesce(x.accepted_at, x.queued_at)) FROM delivery AS x WHERE x.warning_id = d.warning_id
          AND x.version = d.version AND x.policyholder_id = d.policyholder_id AND x.state IN ('accepted', 'delivered')
          AND x.channel IN ('web_push', 'sms', 'voice')) AS told_at
FROM warning AS w
JOIN tenant AS t ON t.tenant_id = w.tenant_id
JOIN unnest(%(levels)s::text[], %(minutes)s::double precision[]) AS i (level, minutes) ON i.level = w.level
JOIN LATERAL (SELECT coalesce((t.settings -> 'repeat_min' ->> w.level)::double precision, i.minutes)) AS e (minutes) ON e.minutes >= 10
JOIN delivery AS d ON d.warning_id = w.warning_id AND d.version = w.version
JOIN contact_point AS c ON c.contact_point_id = d.contact_point_id
WHERE w.state = 'released' AND NOT w.all_clear AND w.msg_type <> 'Cancel' AND w.expires_at > %(now)s
  AND w.released_at <= %(now)s - make_interval(secs => 60 * e.minutes)  -- nobody was told of it before it was released
  AND d.state IN ('accepted', 'delivered') AND d.channel IN ('web_push', 'sms', 'voice') AND c.withdrawn_at IS NULL
  AND NOT EXISTS (SELECT FROM answer AS a WHERE a.warning_id = d.warning_id AND a.policyholder_id = d.policyholder_id)
  AND NOT EXISTS (
      SELECT FROM delivery AS x WHERE x.warning_id = d.warning_id AND x.version = d.version
        AND x.policyholder_id = d.policyholder_id AND x.channel IN ('web_push', 'sms', 'voice')
        AND (x.state IN ('queued', 'claimed') OR coalesce(x.accepted_at, x.queued_at) > %(now)s - make_interval(
            secs => 60 * e.minutes)))
ORDER BY d.warning_id, d.policyholder_id, d.rung, d.revision DESC, d.repeat
LIMIT %(limit)s;

-- name: add_repeats
INSERT INTO delivery (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel, provider, exercise,
    priority, available_at, queued_at, revision, repeat)
SELECT n.delivery_id, n.tenant_id, n.warning_id, n.version, n.policyholder_id, n.contact_point_id, n.channel, n.provider,
       n.exercise, n.priority, clock_timestamp(), %(now)s, n.revision, n.repeat
FROM unnest(%(delivery_ids)s::uuid[], %(tenant_ids)s::uuid[], %(warning_ids)s::uuid[], %(versions)s::integer[],
            %(policyholder_ids)s::uuid[], %(contact_point_ids)s::uuid[], %(channels)s::text[], %(providers)s::text[],
            %(exercises)s::boolean[], %(priorities)s::integer[], %(revisions)s::integer[], %(repeats)s::integer[])
     AS n (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel, provider, exercise, priority,
           revision, repeat)
ON CONFLICT DO NOTHING;

-- name: rule_words
SELECT DISTINCT rule_id, code FROM rule WHERE rule_id = ANY(%(rule_ids)s);
