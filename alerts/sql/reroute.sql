-- name: rerouted
-- People whose way out a plan changed after they were last told, with the version that stands and the channels that
-- carried an earlier message. Left out: who was told nothing yet or still waits for a message (it will carry the new
-- way), who said that they are safe, and what only came by a later rung when an earlier one carried it.
WITH named AS (
    SELECT h.policyholder_id, max(r.changed_at) AS changed_at
    FROM household_route AS r JOIN household AS h ON h.household_id = r.household_id
    WHERE r.evacuation_plan_id = %(evacuation_plan_id)s AND r.changed AND r.changed_at IS NOT NULL
    GROUP BY h.policyholder_id
), standing AS (
    -- of several warnings the worst, then the newest: one message about one change
    SELECT DISTINCT ON (n.policyholder_id) n.policyholder_id, n.changed_at, w.tenant_id, w.warning_id, w.version, w.exercise
    FROM named AS n
    JOIN warning_recipient AS p ON p.policyholder_id = n.policyholder_id
    JOIN warning AS w ON w.warning_id = p.warning_id AND w.version = p.version
    WHERE w.state = 'released' AND NOT w.all_clear AND w.msg_type <> 'Cancel' AND w.expires_at > %(now)s
    ORDER BY n.policyholder_id, array_position(ARRAY['red', 'orange', 'yellow', 'blue'], w.level), w.sent_at DESC, w.warning_id
), told AS (
    SELECT s.policyholder_id, max(coalesce(d.composed_at, d.accepted_at, d.queued_at)) AS told_at
    FROM standing AS s
    JOIN delivery AS d ON d.policyholder_id = s.policyholder_id
    JOIN warning AS w ON w.warning_id = d.warning_id AND w.version = d.version
    WHERE d.state IN ('claimed', 'accepted', 'delivered', 'uncertain') AND w.expires_at > %(now)s
    GROUP BY s.policyholder_id
), carried AS (
    SELECT DISTINCT ON (d.policyholder_id, d.channel) d.policyholder_id, d.channel, d.provider, d.contact_point_id,
           d.priority, d.rung
    FROM standing AS s
    JOIN delivery AS d ON d.policyholder_id = s.policyholder_id AND d.warning_id = s.warning_id
    WHERE d.state IN ('claimed', 'accepted', 'delivered', 'uncertain')
      AND d.channel IN ('web_push', 'sms', 'voice', 'email', 'fake')
    ORDER BY d.policyholder_id, d.channel, d.version DESC, d.revision DESC
)
SELECT s.tenant_id, s.warning_id, s.version, s.exercise, s.policyholder_id, s.changed_at, c.channel, c.provider,
       c.contact_point_id, c.priority, c.rung,
       coalesce((SELECT max(o.revision) FROM delivery AS o
                 WHERE o.warning_id = s.warning_id AND o.version = s.version AND o.policyholder_id = s.policyholder_id
                   AND o.channel = c.channel), 0) + 1 AS revision,
       ARRAY(SELECT o.queued_at FROM delivery AS o
             WHERE o.policyholder_id = s.policyholder_id AND o.channel = 'web_push' AND o.queued_at > %(since)s
               AND o.state IN ('queued', 'claimed', 'accepted', 'delivered', 'uncertain')
             ORDER BY o.queued_at DESC) AS pushed_at
FROM standing AS s
JOIN told AS t ON t.policyholder_id = s.policyholder_id AND t.told_at < s.changed_at
JOIN carried AS c ON c.policyholder_id = s.policyholder_id
WHERE c.rung = (SELECT min(o.rung) FROM carried AS o WHERE o.policyholder_id = s.policyholder_id)
  AND NOT EXISTS (
      SELECT FROM delivery AS o JOIN warning AS w ON w.warning_id = o.warning_id AND w.version = o.version
      WHERE o.policyholder_id = s.policyholder_id AND o.state = 'queued' AND o.unless IS NULL
        AND w.state = 'released' AND w.expires_at > %(now)s)
  AND coalesce((SELECT a.kind FROM answer AS a WHERE a.policyholder_id = s.policyholder_id
                  AND a.answered_at > %(now)s - interval '3 days'
                ORDER BY a.answered_at DESC, a.answer_id DESC LIMIT 1), '') <> 'safe'
ORDER BY s.policyholder_id, c.channel;

-- name: plan_revisions
INSERT INTO delivery (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel, provider, exercise,
    priority, revision, state, available_at, queued_at)
SELECT n.delivery_id, n.tenant_id, n.warning_id, n.version, n.policyholder_id, n.contact_point_id, n.channel, n.provider,
       n.exercise, n.priority, n.revision, 'queued', clock_timestamp() + make_interval(secs => n.wait_s), %(now)s
FROM unnest(%(delivery_ids)s::uuid[], %(tenant_ids)s::uuid[], %(warning_ids)s::uuid[], %(versions)s::integer[],
            %(policyholder_ids)s::uuid[], %(contact_point_ids)s::uuid[], %(channels)s::text[], %(providers)s::text[],
            %(exercises)s::boolean[], %(priorities)s::integer[], %(revisions)s::integer[], %(waits_s)s::double precision[])
     AS n (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel, provider, exercise,
           priority, revision, wait_s)
ON CONFLICT DO NOTHING;
