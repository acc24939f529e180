-- name: home_facts
-- What is known of people's homes: place, who lives there, the insured values, and by when the newest route is begun.
SELECT h.policyholder_id, coalesce(x.lon, l.lon) AS lon, coalesce(x.lat, l.lat) AS lat, x.mode, x.needs, l.occupancy_code, l.building_tiv,
       l.contents_tiv, l.currency, l.oed, t.settings AS tenant_settings,
       (SELECT r.leave_by FROM household_route AS r
        JOIN evacuation_plan AS e ON e.evacuation_plan_id = r.evacuation_plan_id
        WHERE r.household_id = x.household_id ORDER BY e.computed_at DESC LIMIT 1) AS leave_by
FROM policyholder AS h
JOIN tenant AS t ON t.tenant_id = h.tenant_id
LEFT JOIN household AS x ON x.policyholder_id = h.policyholder_id
LEFT JOIN location AS l ON l.location_id = h.location_id
WHERE h.tenant_id = %(tenant_id)s AND h.policyholder_id = ANY(%(policyholder_ids)s::uuid[]);

-- name: flood_zones
-- The newest footprint of each flood that goes on: its polygon and what is still to come.
SELECT DISTINCT ON (f.hazard_event_id) f.geometry, f.zones, f.valid_at
FROM footprint AS f JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id
WHERE e.peril IN ('flood', 'surge') AND (e.tenant_id IS NULL OR e.tenant_id = %(tenant_id)s) AND e.started_at <= %(now)s
  AND (e.ended_at IS NULL OR e.ended_at > %(now)s) AND f.valid_at <= %(now)s
ORDER BY f.hazard_event_id, f.version DESC;

-- name: steps_done
SELECT step, done_at, avoided_loss, currency FROM step_done
WHERE policyholder_id = %(policyholder_id)s AND warning_id = %(warning_id)s ORDER BY done_at, step;

-- name: add_step_done
INSERT INTO step_done (tenant_id, policyholder_id, warning_id, step, done_at, avoided_loss, currency, estimate)
VALUES (%(tenant_id)s, %(policyholder_id)s, %(warning_id)s, %(step)s, %(at)s, %(avoided_loss)s, %(currency)s, %(estimate)s)
ON CONFLICT DO NOTHING;

-- name: avoided_by_warning
-- What steps that people say are done are estimated to have saved.
SELECT warning_id, step, count(*) AS n_done, count(avoided_loss) AS n_known, sum(avoided_loss) AS avoided_loss, currency
FROM step_done WHERE %(warning_id)s::uuid IS NULL OR warning_id = %(warning_id)s
GROUP BY warning_id, step, currency ORDER BY warning_id, sum(avoided_loss) DESC NULLS LAST, step;

-- name: open_case
INSERT INTO help_case (answer_id, tenant_id) VALUES (%(answer_id)s, %(tenant_id)s) ON CONFLICT DO NOTHING;

-- name: help_cases
-- Calls for help as work, the newest 500; their order is alerts/cases.py's. Answers from before have no row yet: open.
SELECT a.answer_id, a.policyholder_id, h.name, h.language, a.warning_id, a.detail, a.answered_at, coalesce(c.state, CASE WHEN
       a.handled_at IS NULL THEN 'open' ELSE 'closed' END) AS state, p.display_name AS assigned_to, c.assigned_at, c.contacted_at,
       c.handed_to, c.handed_at, c.closed_at, coalesce(c.note, '') AS note, coalesce(x.lon, l.lon) AS lon,
       coalesce(x.lat, l.lat) AS lat, coalesce(x.needs, '{}') AS needs,
       (SELECT w.level FROM warning AS w WHERE w.warning_id = a.warning_id ORDER BY w.version DESC LIMIT 1) AS level,
       (SELECT r.status FROM household_route AS r JOIN evacuation_plan AS e ON e.evacuation_plan_id = r.evacuation_plan_id
        WHERE r.household_id = x.household_id ORDER BY e.computed_at DESC LIMIT 1) AS route_status,
       EXISTS (SELECT FROM answer AS s WHERE s.policyholder_id = a.policyholder_id AND s.kind = 'safe'
               AND s.answered_at > a.answered_at) AS safe_since
FROM answer AS a
JOIN policyholder AS h ON h.policyholder_id = a.policyholder_id
LEFT JOIN help_case AS c ON c.answer_id = a.answer_id
LEFT JOIN household AS x ON x.policyholder_id = a.policyholder_id
LEFT JOIN location AS l ON l.location_id = h.location_id
LEFT JOIN principal AS p ON p.principal_id = c.assigned_to
WHERE a.kind = 'help' AND (%(answer_id)s::uuid IS NULL OR a.answer_id = %(answer_id)s)
ORDER BY a.answered_at DESC, a.answer_id LIMIT 500;

-- name: lock_case
SELECT c.answer_id, c.tenant_id, c.state, c.assigned_to, c.contacted_at, c.handed_at FROM help_case AS c
WHERE c.answer_id = %(answer_id)s FOR UPDATE;

-- name: move_case
UPDATE help_case SET state = %(state)s,
    assigned_to = coalesce(%(assigned_to)s, assigned_to),
    assigned_at = CASE WHEN %(assigned_to)s::uuid IS NULL THEN assigned_at ELSE %(at)s END,
    contacted_at = CASE WHEN %(state)s = 'contacted' THEN coalesce(contacted_at, %(at)s) ELSE contacted_at END,
    handed_to = coalesce(%(handed_to)s, handed_to),
    handed_at = CASE WHEN %(handed_to)s::text IS NULL THEN handed_at ELSE %(at)s END,
    closed_at = CASE WHEN %(state)s = 'closed' THEN %(at)s END,
    note = CASE WHEN %(note)s = '' THEN note WHEN note = '' THEN %(note)s ELSE note || E'\n' || %(note)s END
WHERE answer_id = %(answer_id)s;

-- name: close_case
UPDATE help_case SET state = 'closed', closed_at = %(at)s WHERE answer_id = %(answer_id)s AND state <> 'closed';

-- name: notices
SELECT n.notice_id, n.kind, n.subject, n.detail, n.at, n.seen_at, p.display_name AS seen_by FROM operator_notice AS n
LEFT JOIN principal AS p ON p.principal_id = n.seen_by
ORDER BY n.seen_at IS NOT NULL, n.at DESC, n.notice_id LIMIT 200;

-- name: see_notice
UPDATE operator_notice SET seen_at = %(at)s, seen_by = %(principal_id)s
WHERE notice_id = %(notice_id)s AND seen_at IS NULL;

-- name: damage_answers
-- What people said of water inside their homes, with what the damage curve needs to know of each.
SELECT a.answer_id, a.policyholder_id, a.warning_id, a.detail, a.answered_at, l.occupancy_code, l.oed, coalesce(x.lon, l.lon) AS lon,
       coalesce(x.lat, l.lat) AS lat
FROM answer AS a
JOIN policyholder AS h ON h.policyholder_id = a.policyholder_id
LEFT JOIN household AS x ON x.policyholder_id = a.policyholder_id
LEFT JOIN location AS l ON l.location_id = h.location_id
WHERE a.kind = 'damage' AND (%(warning_id)s::uuid IS NULL OR a.warning_id = %(warning_id)s)
ORDER BY a.answered_at, a.answer_id;

-- name: keep_photo
INSERT INTO answer_photo (photo_sha256, tenant_id, policyholder_id, media_type, body, received_at)
VALUES (%(sha256)s, %(tenant_id)s, %(policyholder_id)s, %(media_type)s, %(body)s, %(at)s)
ON CONFLICT (policyholder_id, photo_sha256) DO NOTHING;

-- name: photo_of_answer
SELECT p.media_type, p.body FROM answer AS a
JOIN answer_photo AS p ON p.policyholder_id = a.policyholder_id AND encode(p.photo_sha256, 'hex') = a.detail ->> 'photo'
WHERE a.answer_id = %(answer_id)s;

-- name: take_turn_to_report
-- Puts two answers of one person in order. A statement of its own: the next one sees what the other committed.
SELECT pg_advisory_xact_lock(hashtextextended(%(policyholder_id)s::uuid::text, 7464));

-- name: keep_reported
-- A depth that a person told, as a reading of their home: the next revision of their stream for this warning. Once for each
-- answer. Nothing where the home has no place.
INSERT INTO reported_observation (answer_id, tenant_id, policyholder_id, warning_id, revision, quantity, unit, value, error, weight,
    floor_m, floor_error_m, lon, lat, observed_at)
SELECT %(answer_id)s, h.tenant_id, h.policyholder_id, %(warning_id)s,
       (SELECT coalesce(max(r.revision) + 1, 0) FROM reported_observation AS r
        WHERE r.policyholder_id = %(policyholder_id)s AND r.warning_id IS NOT DISTINCT FROM %(warning_id)s::uuid),
       'depth_inside', 'm', %(value)s, %(error)s, %(weight)s, %(floor_m)s, %(floor_error_m)s, coalesce(x.lon, l.lon),
       coalesce(x.lat, l.lat), %(at)s
FROM policyholder AS h
LEFT JOIN household AS x ON x.policyholder_id = h.policyholder_id
LEFT JOIN location AS l ON l.location_id = h.location_id
WHERE h.policyholder_id = %(policyholder_id)s AND h.tenant_id = %(tenant_id)s
  AND coalesce(x.lon, l.lon) IS NOT NULL AND coalesce(x.lat, l.lat) IS NOT NULL
ON CONFLICT (answer_id) DO NOTHING;

-- name: home_oed
-- What the book says of a person's building.
SELECT l.oed FROM policyholder AS h JOIN location AS l ON l.location_id = h.location_id
WHERE h.policyholder_id = %(policyholder_id)s AND h.tenant_id = %(tenant_id)s;
