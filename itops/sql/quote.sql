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
