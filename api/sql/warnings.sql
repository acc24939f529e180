-- Warnings, answers and quotes as people read them. Run as tocsin_app in a tenant's transaction.

-- name: warnings
-- The newest version of each warning (or the newest in one state), newest first.
WITH chosen AS (
    SELECT DISTINCT ON (w.warning_id) w.*
    FROM warning AS w
    WHERE %(state)s::text IS NULL OR w.state = %(state)s
    ORDER BY w.warning_id, w.version DESC
), paged AS (
    SELECT * FROM chosen
    WHERE %(before_at)s::timestamptz IS NULL OR (drafted_at, warning_id) < (%(before_at)s, %(before_id)s::uuid)
    ORDER BY drafted_at DESC, warning_id DESC
    LIMIT %(limit)s
)
SELECT p.warning_id, p.version, p.level, p.all_clear, p.state, p.status, p.msg_type, p.reason, p.identifier, p.sender,
       p.area_desc, p.texts, p.n_people, p.sent_at, p.onset_at, p.expires_at, p.drafted_at, p.released_at, p.exercise,
       p.approvals_needed AS n_approvals_needed, p.n_unreachable, p.held, p.event,
       (SELECT count(*) FROM approval AS a
        WHERE a.warning_id = p.warning_id AND a.version = p.version AND a.content_sha256 = p.content_sha256)
           AS n_approvals,
       s.code AS station_code, s.name AS station_name
FROM paged AS p
LEFT JOIN LATERAL (
    SELECT r.datastream_id FROM rule AS r WHERE r.rule_id = p.rule_id ORDER BY r.version DESC LIMIT 1
) AS r ON true
LEFT JOIN datastream AS d ON d.datastream_id = r.datastream_id
LEFT JOIN station AS s ON s.station_id = d.station_id
ORDER BY p.drafted_at DESC, p.warning_id DESC;

-- name: warning_versions
SELECT w.warning_id, w.version, w.level, w.all_clear, w.state, w.status, w.msg_type, w.reason, w.identifier, w.sender,
       w.area_desc, w.texts, w.n_people, w.sent_at, w.onset_at, w.expires_at, w.drafted_at, w.released_at, w.exercise,
       w.approvals_needed AS n_approvals_needed, w.n_unreachable, w.held, w.event,
       w.content_sha256, w.references_ AS references, w.area, s.code AS station_code, s.name AS station_name,
       coalesce(a.approvals, '[]') AS approvals, coalesce(a.n, 0) AS n_approvals,
       coalesce(d.deliveries, '[]') AS deliveries, coalesce(c.receipts, '{}') AS receipts,
       jsonb_build_object('by_language', coalesce(g.languages, '{}'), 'by_channel', coalesce(k.channels, '{}')) AS audience
FROM warning AS w
LEFT JOIN LATERAL (
    SELECT r.datastream_id FROM rule AS r WHERE r.rule_id = w.rule_id ORDER BY r.version DESC LIMIT 1
) AS r ON true
LEFT JOIN datastream AS ds ON ds.datastream_id = r.datastream_id
LEFT JOIN station AS s ON s.station_id = ds.station_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('principal_id', a.principal_id, 'display_name', p.display_name,
               'content_sha256', encode(a.content_sha256, 'hex'), 'approved_at', a.approved_at) ORDER BY a.approved_at)
               AS approvals,
           count(*) FILTER (WHERE a.content_sha256 = w.content_sha256) AS n
    FROM approval AS a JOIN principal AS p ON p.principal_id = a.principal_id
    WHERE a.warning_id = w.warning_id AND a.version = w.version
) AS a ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('channel', channel, 'state', state, 'n', n, 'n_in_doubt', n_in_doubt)
               ORDER BY channel, state) AS deliveries
    FROM (SELECT channel, state, count(*) AS n, count(*) FILTER (WHERE in_doubt > 0) AS n_in_doubt FROM delivery
          WHERE warning_id = w.warning_id AND version = w.version GROUP BY channel, state) AS counted
) AS d ON true
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(kind, n) AS receipts
    FROM (SELECT c.kind, count(*) AS n FROM receipt AS c JOIN delivery AS x ON x.delivery_id = c.delivery_id
          WHERE x.warning_id = w.warning_id AND x.version = w.version GROUP BY c.kind) AS counted
) AS c ON true
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(language, n) AS languages
    FROM (SELECT language, count(DISTINCT policyholder_id) AS n FROM warning_recipient
          WHERE warning_id = w.warning_id AND version = w.version GROUP BY language) AS counted
) AS g ON true
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(channel, n) AS channels
    FROM (SELECT channel, count(DISTINCT policyholder_id) AS n FROM warning_recipient
          WHERE warning_id = w.warning_id AND version = w.version GROUP BY channel) AS counted
) AS k ON true
WHERE w.warning_id = %(warning_id)s
ORDER BY w.version DESC;

-- name: warning_decisions
-- Decisions about a warning, and those of its rule from the warning's start on that named no warning.
SELECT at, reason, level_before, level_after, version, detail
FROM decision
WHERE warning_id = %(warning_id)s
ORDER BY at DESC, decision_id DESC
LIMIT 500;

-- name: pauses
SELECT scope, true AS paused, paused_at, resume_asked_by, resume_asked_by IS NOT NULL AS needs_second_person
FROM sending_pause ORDER BY scope;

-- name: answers
SELECT a.answer_id, a.policyholder_id, h.name, h.language, a.warning_id, a.kind, a.detail, a.answered_at, a.handled_at,
       coalesce(p.display_name, CASE WHEN a.handled_by IS NOT NULL THEN '?' END) AS handled_by,
       coalesce(x.lon, l.lon) AS lon, coalesce(x.lat, l.lat) AS lat
FROM answer AS a
JOIN policyholder AS h ON h.policyholder_id = a.policyholder_id
LEFT JOIN household AS x ON x.policyholder_id = a.policyholder_id
LEFT JOIN location AS l ON l.location_id = h.location_id
LEFT JOIN principal AS p ON p.principal_id = a.handled_by
WHERE (%(kind)s::text IS NULL OR a.kind = %(kind)s)
  AND (NOT %(open_only)s OR a.handled_at IS NULL)
  AND (%(before_at)s::timestamptz IS NULL OR (a.answered_at, a.answer_id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY a.answered_at DESC, a.answer_id DESC
LIMIT %(limit)s;

-- name: display_name
SELECT display_name FROM principal WHERE principal_id = %(principal_id)s;

-- name: quotes
SELECT quote_id, premium, currency, as_of, exposure_from, exposure_to, model_version, result ->> 'insured' AS insured,
       result ->> 'decision' AS decision, (result ->> 'commercial_premium')::numeric AS commercial_premium,
       EXISTS (SELECT FROM quote_action AS a WHERE a.quote_id = quote.quote_id AND a.action = 'bind') AS bound,
       encode(inputs_sha256, 'hex') AS inputs_sha256, issued_at
FROM quote
WHERE %(before_at)s::timestamptz IS NULL OR (issued_at, quote_id) < (%(before_at)s, %(before_id)s::uuid)
ORDER BY issued_at DESC, quote_id DESC
LIMIT %(limit)s;

-- name: find_quote
SELECT quote_id, premium, currency, as_of, exposure_from, exposure_to, model_version, result ->> 'insured' AS insured,
       result ->> 'decision' AS decision, (result ->> 'commercial_premium')::numeric AS commercial_premium,
       EXISTS (SELECT FROM quote_action AS a WHERE a.quote_id = quote.quote_id AND a.action = 'bind') AS bound,
       encode(inputs_sha256, 'hex') AS inputs_sha256, issued_at, submission, result
FROM quote WHERE quote_id = %(quote_id)s;

-- name: cap_feed
-- What was released and is not long over, newest first: every version has its own message.
SELECT warning_id, version, identifier, msg_type, level, all_clear, texts, area_desc, released_at, sent_at, expires_at
FROM warning
WHERE released_at IS NOT NULL AND expires_at > %(now)s - interval '1 day'
ORDER BY released_at DESC, warning_id, version DESC LIMIT %(limit)s;
