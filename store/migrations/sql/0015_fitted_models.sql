-- Fits of other records that quotes stand on. A fit is never changed: a newer one is put beside it.
SET LOCAL lock_timeout = '5s';

CREATE TABLE fitted_model (
    fitted_model_id uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenant,
    kind            text NOT NULL CHECK (kind IN ('fleet', 'repair')),
    device_class    text,                          -- null: a repair fit for every class
    unit            text,                          -- the device's attribute that names its unit in the fit
    same_record     boolean NOT NULL,              -- made from the incidents that the tenant's submissions bring
    model_version   text NOT NULL,
    document_sha256 bytea NOT NULL CHECK (length(document_sha256) = 32),
    document        jsonb NOT NULL,
    as_of           date,                          -- null: the record has no dates
    stored_at       timestamptz NOT NULL,
    CHECK (kind = 'repair' OR device_class IS NOT NULL)
);
CREATE UNIQUE INDEX fitted_model_once
    ON fitted_model (tenant_id, kind, coalesce(device_class, ''), document_sha256);

ALTER TABLE fitted_model ENABLE ROW LEVEL SECURITY;
ALTER TABLE fitted_model FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON fitted_model TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON fitted_model TO tocsin_app USING (tenant_id = current_setting('app.tenant')::uuid)
    WITH CHECK (tenant_id = current_setting('app.tenant')::uuid);
GRANT SELECT, INSERT ON fitted_model TO tocsin_worker, tocsin_app;
