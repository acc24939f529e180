-- Fits of other records, and what the telemetry of devices under cover says.

-- name: add_fitted_model
-- The same document for the same class is the same fit: the first one stays.
INSERT INTO fitted_model (fitted_model_id, tenant_id, kind, device_class, unit, same_record, model_version, document_sha256,
                          document, as_of, stored_at)
VALUES (%(fitted_model_id)s, %(tenant_id)s, %(kind)s, %(device_class)s, %(unit)s, %(same_record)s, %(model_version)s,
        decode(%(document_sha256)s, 'hex'), %(document)s, %(as_of)s, %(stored_at)s)
ON CONFLICT DO NOTHING
RETURNING fitted_model_id;

-- name: fitted_models
-- The newest fit of each kind and class that was known on a day.
SELECT DISTINCT ON (kind, coalesce(device_class, '')) kind, device_class, unit, same_record, document
FROM fitted_model
WHERE tenant_id = %(tenant_id)s AND (as_of IS NULL OR as_of <= %(as_of)s) AND model_version = ANY(%(versions)s::text[])
ORDER BY kind, coalesce(device_class, ''), as_of DESC NULLS LAST, stored_at DESC;

-- name: in_force_with_alarms
-- Bound quotes whose period covers a day and of whose devices one published an alarm that no work order answers yet: none
-- is open, and none was closed since it was read, or cancelled at a value that was as bad.
WITH alarmed AS (
    SELECT s.tenant_id, s.code AS asset_id, d.quantity AS signal, l.value, l.observed_at
    FROM unnest(%(signals)s::text[], %(least)s::float8[]) AS t (signal, least)
    JOIN datastream AS d ON d.quantity = t.signal
    JOIN latest_observation AS l ON l.datastream_id = d.datastream_id
    JOIN station AS s ON s.station_id = d.station_id
    WHERE l.value >= t.least AND l.quality NOT IN (4, 9) AND l.observed_at <= %(until)s
)
SELECT DISTINCT q.quote_id
FROM quote_action AS a
JOIN quote AS q ON q.quote_id = a.quote_id
JOIN alarmed AS x ON x.tenant_id = q.tenant_id
WHERE a.action = 'bind'
  AND (q.result -> 'policy_period' ->> 'from')::date <= %(today)s
  AND (q.result -> 'policy_period' ->> 'to')::date > %(today)s
  AND EXISTS (
      SELECT 1 FROM jsonb_array_elements(q.submission -> 'fleet' -> 'rows') AS r (cells) WHERE r.cells ->> 0 = x.asset_id
  )
  AND NOT EXISTS (
      SELECT 1 FROM work_order AS w
      WHERE w.quote_id = q.quote_id AND w.asset_id = x.asset_id
        AND (w.state = 'open' OR w.closed_at >= x.observed_at
             OR (w.state = 'cancelled' AND w.signal = x.signal AND w.value >= x.value))
  )
ORDER BY q.quote_id;
