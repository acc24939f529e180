-- What providers report of messages, and gridded forecasts of feeds.
SET LOCAL lock_timeout = '5s';

-- Kept once for each kind, beside the message.
CREATE TABLE provider_report (
    delivery_id uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('delivered', 'failed')),
    reason      text NOT NULL DEFAULT '',
    at          timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, kind),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES delivery (tenant_id, delivery_id) ON DELETE CASCADE
);

-- A variable of one run over an area. Without a tenant it is public.
CREATE TABLE gridded_forecast (
    gridded_forecast_id uuid PRIMARY KEY,
    feed_id     uuid NOT NULL REFERENCES feed ON DELETE CASCADE,
    tenant_id   uuid REFERENCES tenant,            -- its feed's
    variable    text NOT NULL,                     -- as the file calls it
    quantity    text NOT NULL,
    issued_at   timestamptz NOT NULL,
    valid_at    timestamptz[] NOT NULL,
    lon         double precision[] NOT NULL,       -- rising, in [-180, 180)
    lat         double precision[] NOT NULL,       -- rising
    field       bytea NOT NULL,                    -- deflated float32, little-endian, (time, lat, lon); NaN: no value
    received_at timestamptz NOT NULL,
    UNIQUE (feed_id, variable, issued_at)
);
ALTER TABLE gridded_forecast ENABLE ROW LEVEL SECURITY;
ALTER TABLE gridded_forecast FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON gridded_forecast TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_or_public ON gridded_forecast FOR SELECT TO tocsin_app
    USING (tenant_id IS NULL OR tenant_id = current_setting('app.tenant')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON gridded_forecast TO tocsin_worker;
GRANT SELECT ON gridded_forecast TO tocsin_app;

ALTER TABLE provider_report ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_report FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON provider_report TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON provider_report TO tocsin_app USING (tenant_id = current_setting('app.tenant')::uuid)
    WITH CHECK (tenant_id = current_setting('app.tenant')::uuid);

GRANT SELECT, INSERT, DELETE ON provider_report TO tocsin_worker;
GRANT SELECT ON provider_report TO tocsin_app;
