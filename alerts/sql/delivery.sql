-- name: plan_deliveries
-- One row for each person and channel of a version; planning it twice plans it once.
INSERT INTO delivery (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel, provider, exercise,
    priority, rung, unless, state, last_error, available_at, queued_at)
SELECT n.delivery_id, %(tenant_id)s, %(warning_id)s, %(version)s, n.policyholder_id, n.contact_point_id, n.channel, n.provider,
       %(exercise)s, n.priority, n.rung, n.unless, CASE WHEN n.held IS NULL THEN 'queued' ELSE 'stopped' END, n.held,
       clock_timestamp() + make_interval(secs => n.wait_s), %(now)s
FROM unnest(%(delivery_ids)s::uuid[], %(policyholder_ids)s::uuid[], %(contact_point_ids)s::uuid[], %(channels)s::text[],
            %(providers)s::text[], %(priorities)s::integer[], %(rungs)s::smallint[], %(waits_s)s::double precision[],
            %(unless)s::text[], %(held)s::text[])
     AS n (delivery_id, policyholder_id, contact_point_id, channel, provider, priority, rung, wait_s, unless, held)
ON CONFLICT DO NOTHING;

-- name: told_on
-- Whom an earlier version reached or may have reached, and how: what is taken back is taken back there.
SELECT DISTINCT policyholder_id, channel FROM delivery
WHERE warning_id = %(warning_id)s AND version < %(version)s
  AND (state IN ('claimed', 'accepted', 'delivered', 'uncertain') OR in_doubt > 0);

-- name: pushes_lately
SELECT d.policyholder_id, count(*) AS n, array_agg(DISTINCT w.level) AS levels
FROM delivery AS d JOIN warning AS w ON w.warning_id = d.warning_id AND w.version = d.version
WHERE d.policyholder_id = ANY(%(people)s::uuid[]) AND d.channel = 'web_push' AND d.queued_at > %(since)s
  AND d.state IN ('claimed', 'accepted', 'delivered', 'uncertain')
  AND (d.warning_id, d.version) <> (%(warning_id)s::uuid, %(version)s::integer)
GROUP BY d.policyholder_id;

-- name: stop_needless
-- Escalation ends where its reason does: the person answered, or below red a channel before took the message.
UPDATE delivery AS d SET state = 'stopped', last_error = d.unless || ' before it was due'
WHERE d.state = 'queued' AND d.unless IS NOT NULL AND (
    (d.unless = 'answered' AND EXISTS (
        SELECT FROM answer AS a WHERE a.warning_id = d.warning_id AND a.policyholder_id = d.policyholder_id))
    OR (d.unless = 'accepted' AND EXISTS (
        SELECT FROM delivery AS o
        WHERE o.warning_id = d.warning_id AND o.version = d.version AND o.policyholder_id = d.policyholder_id
          AND o.channel IN ('web_push', 'sms', 'voice') AND o.rung < d.rung AND o.state IN ('accepted', 'delivered'))));

-- name: keep_delivered
WITH known AS (
    UPDATE delivery SET state = 'delivered'
    WHERE delivery_id = %(delivery_id)s AND state IN ('accepted', 'uncertain', 'failed')
)
INSERT INTO receipt (delivery_id, tenant_id, kind, at)
SELECT delivery_id, tenant_id, 'delivered', %(at)s FROM delivery WHERE delivery_id = %(delivery_id)s
ON CONFLICT DO NOTHING
RETURNING delivery_id;

-- name: silent_sirens
SELECT d.delivery_id, d.tenant_id, c.address ->> 'device' AS device
FROM delivery AS d JOIN contact_point AS c ON c.contact_point_id = d.contact_point_id
WHERE d.channel = 'siren' AND d.state = 'accepted' AND d.accepted_at < %(now)s - make_interval(secs => %(within_s)s)
  AND NOT EXISTS (
      SELECT FROM operator_notice AS n
      WHERE n.tenant_id = d.tenant_id AND n.kind = 'siren_silent' AND n.subject = d.delivery_id::text);

-- name: add_notice
INSERT INTO operator_notice (notice_id, tenant_id, kind, subject, detail, at)
VALUES (%(notice_id)s, %(tenant_id)s, %(kind)s, %(subject)s, %(detail)s, %(at)s)
ON CONFLICT (tenant_id, kind, subject) DO NOTHING;

-- name: read_identity
-- Cluster, timeline and database; and the log's position in bytes, which only rises.
SELECT (SELECT system_identifier FROM pg_control_system())::text || ':' || (SELECT timeline_id FROM pg_control_checkpoint())::text
       || ':' || (SELECT oid FROM pg_database WHERE datname = current_database())::text AS identity,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS lsn;

-- name: read_fence
SELECT identity, epoch FROM sender_fence FOR UPDATE;

-- name: write_fence
INSERT INTO sender_fence (identity, epoch, at) SELECT %(identity)s, fencing_epoch, %(at)s FROM installation
ON CONFLICT (only_row) DO UPDATE SET identity = excluded.identity, epoch = excluded.epoch, at = excluded.at;

-- name: anything_sent
SELECT EXISTS (SELECT FROM delivery WHERE attempts > 0);

-- name: raise_epoch
UPDATE installation SET fencing_epoch = fencing_epoch + 1 RETURNING fencing_epoch;

-- name: hold_everything
INSERT INTO sending_pause (scope, tenant_id, paused_by, paused_at) VALUES ('all', NULL, %(by)s, %(at)s)
ON CONFLICT (scope) DO UPDATE SET resume_asked_by = NULL;

-- name: stop_older_deliveries
-- What a newer version replaces is not sent any more; what is being sent ends by itself.
UPDATE delivery SET state = 'stopped', last_error = 'replaced by a newer version'
WHERE warning_id = %(warning_id)s AND version < %(version)s AND state IN ('queued', 'uncertain');

-- name: claim_in_order
-- For the claim's transaction: read `delivery_due` in its order. Right after ten thousand rows were planned the statistics
-- still know of none, and a claim that trusts them sorts all that is due: 60 ms instead of 1.
SELECT set_config('enable_sort', 'off', true);

-- name: claim_deliveries
-- Leases what is due: the worst first. Stopped sending, expired and replaced versions, withdrawn consent and rungs whose
-- reason is gone stay out. A warning's own stop does not hold its Cancel back: that is what puts it right.
-- A claimed row whose lease ran out was in flight when its sender died: one more attempt of which nobody knows whether it
-- arrived. That stays with the row, so a second one that a provider without keys delivers is found marked.
WITH due AS (
    SELECT d.delivery_id, d.state = 'claimed' AS was_in_flight
    FROM delivery AS d
    JOIN warning AS w ON w.warning_id = d.warning_id AND w.version = d.version
    JOIN contact_point AS c ON c.contact_point_id = d.contact_point_id
    WHERE d.state IN ('queued', 'claimed', 'uncertain') AND d.available_at <= clock_timestamp()
      AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
      AND w.state = 'released' AND w.expires_at > %(now)s AND c.withdrawn_at IS NULL
      AND d.provider <> ALL(%(leaves)s::text[])
      AND (d.unless IS NULL
           OR (d.unless = 'answered' AND NOT EXISTS (
               SELECT FROM answer AS a WHERE a.warning_id = d.warning_id AND a.policyholder_id = d.policyholder_id))
           OR (d.unless = 'accepted' AND NOT EXISTS (
               SELECT FROM delivery AS o
               WHERE o.warning_id = d.warning_id AND o.version = d.version AND o.policyholder_id = d.policyholder_id
                 AND o.channel IN ('web_push', 'sms', 'voice') AND o.rung < d.rung AND o.state IN ('accepted', 'delivered'))))
      AND NOT EXISTS (
          SELECT FROM sending_pause AS p
          WHERE p.scope IN ('all', 'tenant:' || d.tenant_id)
             OR (p.scope = 'warning:' || d.warning_id AND w.msg_type <> 'Cancel'))
    ORDER BY d.priority, d.queued_at, d.delivery_id
    LIMIT %(limit)s
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE delivery AS d
SET state = 'claimed', lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), claimed_by = %(worker)s,
    attempts = d.attempts + 1, composed_at = %(now)s, in_doubt = d.in_doubt + due.was_in_flight::integer
FROM due, contact_point AS c, policyholder AS p
WHERE d.delivery_id = due.delivery_id AND c.contact_point_id = d.contact_point_id AND p.policyholder_id = d.policyholder_id
RETURNING d.delivery_id, d.tenant_id, d.warning_id, d.version, d.policyholder_id, d.contact_point_id, d.channel, d.provider,
    d.exercise, d.priority, d.attempts, d.revision, d.in_doubt, c.address, p.language, p.name;

-- name: still_wanted
-- Asked right before each send: a stop, a newer version or an expiry since the claim holds it back. The rows are found by
-- their ids and before anything else: with statistics that know of no row the plan went through all of the version, for
-- each claim.
WITH mine AS MATERIALIZED (
    SELECT delivery_id, tenant_id, warning_id, version, state, claimed_by FROM delivery
    WHERE delivery_id = ANY(%(delivery_ids)s::uuid[])
)
SELECT d.delivery_id FROM mine AS d
JOIN warning AS w ON w.warning_id = d.warning_id AND w.version = d.version
WHERE d.claimed_by = %(worker)s AND d.state = 'claimed' AND w.state = 'released' AND w.expires_at > %(now)s
  AND NOT EXISTS (
      SELECT FROM sending_pause AS p
      WHERE p.scope IN ('all', 'tenant:' || d.tenant_id)
         OR (p.scope = 'warning:' || d.warning_id AND w.msg_type <> 'Cancel'));

-- name: give_back_deliveries
UPDATE delivery SET state = 'queued', lease_until = NULL, claimed_by = NULL, attempts = attempts - 1
WHERE delivery_id = ANY(%(delivery_ids)s::uuid[]) AND claimed_by = %(worker)s AND state = 'claimed';

-- name: settle_deliveries
-- The outcomes of some sends, where this worker still holds them, with the receipts of those that were accepted.
WITH settled AS (
    UPDATE delivery AS d
    SET state = CASE WHEN n.state = 'accepted' AND EXISTS (
            -- the phone was faster than the provider's answer
            SELECT FROM receipt AS r WHERE r.delivery_id = d.delivery_id AND r.kind IN ('delivered', 'displayed'))
        THEN 'delivered'
        WHEN n.state = 'accepted' AND EXISTS (
            SELECT FROM provider_report AS p WHERE p.delivery_id = d.delivery_id AND p.kind = 'failed')
        THEN 'failed' ELSE n.state END,
        provider_ref = coalesce(n.provider_ref, d.provider_ref), last_error = n.error, lease_until = NULL,
        claimed_by = NULL, available_at = clock_timestamp() + make_interval(secs => n.retry_after_s),
        accepted_at = CASE WHEN n.state = 'accepted' THEN %(now)s ELSE d.accepted_at END,
        in_doubt = d.in_doubt + (n.doubted)::integer, shown = coalesce(n.shown::jsonb, d.shown)
    FROM unnest(%(delivery_ids)s::uuid[], %(states)s::text[], %(provider_refs)s::text[], %(errors)s::text[],
                %(retry_after_s)s::double precision[], %(doubted)s::boolean[], %(shown)s::text[])
         AS n (delivery_id, state, provider_ref, error, retry_after_s, doubted, shown)
    WHERE d.delivery_id = n.delivery_id AND d.claimed_by = %(worker)s AND d.state = 'claimed'
    RETURNING d.delivery_id, d.tenant_id, n.state AS told, d.state, d.warning_id, d.version, d.policyholder_id, d.channel, d.rung, n.retry_after_s
), next_rung AS (
    -- A channel that failed, or that nobody can be sure of, hands on to the next at once.
    UPDATE delivery AS u SET available_at = clock_timestamp()
    FROM settled AS s
    WHERE (s.state = 'failed' OR (s.state = 'uncertain' AND s.retry_after_s > 86400)) AND s.channel IN ('web_push', 'sms', 'voice')
      AND u.warning_id = s.warning_id AND u.version = s.version AND u.policyholder_id = s.policyholder_id
      AND u.rung = s.rung + 1 AND u.state = 'queued' AND u.available_at > clock_timestamp()
), receipts AS (
    INSERT INTO receipt (delivery_id, tenant_id, kind, at)
    SELECT delivery_id, tenant_id, 'accepted', %(now)s FROM settled WHERE told = 'accepted'
    ON CONFLICT DO NOTHING
)
SELECT delivery_id FROM settled;

-- name: withdraw_contact_points
-- These addresses are gone for good, say their providers.
UPDATE contact_point SET withdrawn_at = %(now)s WHERE contact_point_id = ANY(%(contact_point_ids)s) AND withdrawn_at IS NULL;

-- name: routes_of
-- Each person's newest way out, as WKB or as the roads of a network, with the safe zone it leads to.
SELECT DISTINCT ON (h.policyholder_id) h.policyholder_id, r.status, r.leave_by, r.geometry, r.safe_zone_id, h.lon, h.lat,
       r.roads, r.first_share, r.last_share, z.lon AS zone_lon, z.lat AS zone_lat, n.file, n.sha256, e.evacuation_plan_id,
       e.computed_at, f.version AS footprint_version
FROM household AS h
JOIN household_route AS r ON r.household_id = h.household_id
JOIN evacuation_plan AS e ON e.evacuation_plan_id = r.evacuation_plan_id
JOIN footprint AS f ON f.footprint_id = e.footprint_id
JOIN road_network AS n ON n.road_network_id = e.road_network_id
LEFT JOIN safe_zone AS z ON z.safe_zone_id = r.safe_zone_id
WHERE h.tenant_id = %(tenant_id)s AND h.policyholder_id = ANY(%(policyholder_ids)s::uuid[])
ORDER BY h.policyholder_id, e.computed_at DESC;

-- name: homes_of
SELECT policyholder_id, lon, lat FROM household
WHERE tenant_id = %(tenant_id)s AND policyholder_id = ANY(%(policyholder_ids)s::uuid[]);

-- name: safe_zones
SELECT safe_zone_id, names, lon, lat FROM safe_zone WHERE tenant_id IS NULL OR tenant_id = %(tenant_id)s;

-- name: add_answer
INSERT INTO answer (answer_id, tenant_id, policyholder_id, warning_id, kind, detail, idempotency_key, answered_at)
VALUES (%(answer_id)s, %(tenant_id)s, %(policyholder_id)s, %(warning_id)s, %(kind)s, %(detail)s, %(idempotency_key)s, %(at)s)
ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
RETURNING answer_id;

-- name: find_answer
SELECT answer_id, policyholder_id, warning_id, kind, detail, answered_at FROM answer
WHERE tenant_id = %(tenant_id)s AND idempotency_key = %(idempotency_key)s;

-- name: answered_receipts
-- Every message of this warning that reached the person counts as answered.
INSERT INTO receipt (delivery_id, tenant_id, kind, at)
SELECT delivery_id, tenant_id, 'answered', %(at)s FROM delivery
WHERE tenant_id = %(tenant_id)s AND policyholder_id = %(policyholder_id)s AND warning_id = %(warning_id)s
  AND state IN ('accepted', 'delivered', 'uncertain')
ON CONFLICT DO NOTHING;

-- name: warning_of_person
-- Only a warning this person was meant to get can be answered.
SELECT EXISTS (SELECT FROM warning_recipient WHERE warning_id = %(warning_id)s AND policyholder_id = %(policyholder_id)s);

-- name: handle_answer
UPDATE answer SET handled_at = %(at)s, handled_by = %(principal_id)s
WHERE answer_id = %(answer_id)s AND handled_at IS NULL
RETURNING answer_id;

-- name: read_answer
SELECT answer_id, handled_at, handled_by FROM answer WHERE answer_id = %(answer_id)s;
