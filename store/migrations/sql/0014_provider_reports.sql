-- What providers report of a message after they took it: kept once for each kind, beside the message.
SET LOCAL lock_timeout = '5s';

CREATE TABLE provider_report (
    delivery_id uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('delivered', 'failed')),
    reason      text NOT NULL DEFAULT '',
    at          timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, kind),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES delivery (tenant_id, delivery_id) ON DELETE CASCADE
);

ALTER TABLE provider_report ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_report FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON provider_report TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON provider_report TO tocsin_app USING (tenant_id = current_setting('app.tenant')::uuid)
    WITH CHECK (tenant_id = current_setting('app.tenant')::uuid);

GRANT SELECT, INSERT, DELETE ON provider_report TO tocsin_worker;
GRANT SELECT ON provider_report TO tocsin_app;
