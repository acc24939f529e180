-- Quotes: written once, never changed.

-- name: insert_quote
-- The same inputs under the same model are the same quote: the first one stays.
INSERT INTO quote (quote_id, tenant_id, inputs_sha256, submission, result, as_of, exposure_from, exposure_to,
                   model_version, premium, currency, issued_at)
VALUES (%(quote_id)s, %(tenant_id)s, decode(%(inputs_sha256)s, 'hex'), %(submission)s, %(result)s, %(as_of)s,
        %(exposure_from)s, %(exposure_to)s, %(model_version)s, %(premium)s, %(currency)s, %(issued_at)s)
ON CONFLICT (tenant_id, inputs_sha256, model_version) DO NOTHING
RETURNING quote_id;

-- name: find_quote
SELECT quote_id, tenant_id, encode(inputs_sha256, 'hex') AS inputs_sha256, submission, result, model_version, premium,
       currency, issued_at
FROM quote WHERE quote_id = %(quote_id)s;

-- name: find_quote_by_inputs
SELECT quote_id, tenant_id, encode(inputs_sha256, 'hex') AS inputs_sha256, submission, result, model_version, premium,
       currency, issued_at
FROM quote
WHERE tenant_id = %(tenant_id)s AND inputs_sha256 = decode(%(inputs_sha256)s, 'hex') AND model_version = %(model_version)s;

-- name: find_tenant
SELECT tenant_id FROM tenant WHERE slug = %(slug)s;

-- name: add_quote_action
INSERT INTO quote_action (action_id, tenant_id, quote_id, action, option_name, premium, reason, principal_id, acted_by,
                          acted_at)
VALUES (%(action_id)s, %(tenant_id)s, %(quote_id)s, %(action)s, %(option_name)s, %(premium)s, %(reason)s,
        %(principal_id)s, %(acted_by)s, %(acted_at)s)
ON CONFLICT DO NOTHING
RETURNING action_id;

-- name: quote_actions
SELECT action, option_name, premium, reason, principal_id, acted_by, acted_at
FROM quote_action WHERE quote_id = %(quote_id)s ORDER BY acted_at, action_id;

-- name: lock_quote
-- Two people acting on one quote act one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('quote ' || %(quote_id)s::text, 0));

-- name: add_work_order
-- The same order again is the same order: the first one stays. One that was closed answers what was read until then; one
-- that was cancelled also a reading that is no worse.
INSERT INTO work_order (work_order_id, tenant_id, quote_id, asset_id, signal, value, action, hazard_before, hazard_after,
                        premium_before, premium_after, origin, seen_at, opened_at)
SELECT %(work_order_id)s, %(tenant_id)s, %(quote_id)s, %(asset_id)s, %(signal)s, %(value)s, %(action)s,
       %(hazard_before)s, %(hazard_after)s, %(premium_before)s, %(premium_after)s, %(origin)s, %(seen_at)s, %(opened_at)s
WHERE NOT EXISTS (
    SELECT 1 FROM work_order AS w
    WHERE w.quote_id = %(quote_id)s AND w.asset_id = %(asset_id)s AND w.signal = %(signal)s AND w.state <> 'open'
      AND (%(seen_at)s::timestamptz IS NULL OR w.closed_at >= %(seen_at)s::timestamptz
           OR (w.state = 'cancelled' AND w.value >= %(value)s))
)
ON CONFLICT DO NOTHING
RETURNING work_order_id;

-- name: work_orders
SELECT work_order_id, quote_id, asset_id, signal, value, action, hazard_before, hazard_after, premium_before,
       premium_after, origin, state, seen_at, opened_at, closed_at, closed_by, evidence
FROM work_order WHERE quote_id = %(quote_id)s ORDER BY opened_at, asset_id COLLATE "C", signal COLLATE "C";

-- name: close_work_order
-- Only an open order can be closed.
UPDATE work_order SET state = %(state)s, closed_at = %(closed_at)s, closed_by = %(closed_by)s, evidence = %(evidence)s
WHERE work_order_id = %(work_order_id)s AND quote_id = %(quote_id)s AND state = 'open'
RETURNING work_order_id;

-- name: telemetry_of
-- The newest value of each signal of a tenant's devices, as stations of that code published it; none that failed its
-- checks, none that is missing, none that was read after the moment asked for.
SELECT s.code AS asset_id, d.quantity AS signal, l.value, l.observed_at
FROM latest_observation AS l
JOIN datastream AS d ON d.datastream_id = l.datastream_id
JOIN station AS s ON s.station_id = d.station_id
WHERE s.tenant_id = %(tenant_id)s AND d.quantity = ANY(%(signals)s::text[]) AND s.code = ANY(%(asset_ids)s::text[])
  AND l.value IS NOT NULL AND l.quality NOT IN (4, 9) AND l.observed_at <= %(until)s
ORDER BY s.code COLLATE "C", d.quantity;
