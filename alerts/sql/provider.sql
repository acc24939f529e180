-- name: reported_delivery
-- The message a provider speaks of, held until what it reports is kept.
SELECT delivery_id, tenant_id, warning_id, policyholder_id, channel, state FROM delivery
WHERE delivery_id = %(delivery_id)s AND channel = %(channel)s FOR UPDATE;

-- name: delivery_to_number
-- The last message to a number on this channel that a reply can be about.
SELECT d.delivery_id, d.tenant_id, d.warning_id, d.policyholder_id, d.channel, d.state
FROM delivery AS d JOIN contact_point AS c ON c.contact_point_id = d.contact_point_id
WHERE d.channel = %(channel)s AND regexp_replace(c.address ->> 'phone', '[^0-9+]', '', 'g') = %(number)s
  AND d.state IN ('claimed', 'accepted', 'delivered', 'uncertain') AND d.queued_at > %(since)s
ORDER BY d.queued_at DESC, d.delivery_id LIMIT 1;

-- name: keep_report
INSERT INTO provider_report (delivery_id, tenant_id, kind, reason, at)
VALUES (%(delivery_id)s, %(tenant_id)s, %(kind)s, %(reason)s, %(now)s)
ON CONFLICT DO NOTHING
RETURNING delivery_id;

-- name: report_failed
-- What was accepted did not arrive after all: the next rung is due at once. Nothing is taken back of what did arrive.
WITH failed AS (
    UPDATE delivery AS d SET state = 'failed', last_error = %(reason)s
    WHERE d.delivery_id = %(delivery_id)s AND d.state IN ('accepted', 'uncertain')
      AND NOT EXISTS (
          SELECT FROM receipt AS r
          WHERE r.delivery_id = d.delivery_id AND r.kind IN ('delivered', 'displayed', 'answered'))
    RETURNING d.warning_id, d.version, d.policyholder_id, d.channel, d.rung
), next_rung AS (
    UPDATE delivery AS u SET available_at = clock_timestamp()
    FROM failed AS s
    WHERE s.channel IN ('web_push', 'sms', 'voice') AND u.warning_id = s.warning_id AND u.version = s.version
      AND u.policyholder_id = s.policyholder_id AND u.rung = s.rung + 1 AND u.state = 'queued'
      AND u.available_at > clock_timestamp()
)
SELECT count(*) AS n FROM failed;

-- name: state_of_delivery
SELECT state FROM delivery WHERE delivery_id = %(delivery_id)s;
