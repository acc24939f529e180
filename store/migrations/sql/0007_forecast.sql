-- What was forecast for a datastream, at each reading; one row is what was known then, and never changes.
SET LOCAL lock_timeout = '5s';

CREATE TABLE forecast (
    datastream_id bigint NOT NULL REFERENCES datastream,
    tenant_id     uuid REFERENCES tenant,            -- its station's
    made_at       timestamptz NOT NULL,              -- observed_at of the newest reading it knows
    known_at      timestamptz NOT NULL,              -- received_at of that reading
    model         text NOT NULL,
    value         double precision NOT NULL,         -- the reading it was made from, stored unit
    horizons_h    real[] NOT NULL,
    path          real[] NOT NULL,                   -- by horizon
    reach         real[] NOT NULL,                   -- by horizon: what holds a warning (ingest/forecast/trigger.py)
    taus          real[] NOT NULL,
    quantiles     real[] NOT NULL,                   -- horizons x taus, row by row
    PRIMARY KEY (datastream_id, made_at),
    CHECK (cardinality(path) = cardinality(horizons_h) AND cardinality(reach) = cardinality(horizons_h)),
    CHECK (cardinality(quantiles) = cardinality(horizons_h) * cardinality(taus))
);
CREATE INDEX forecast_age ON forecast (known_at);

ALTER TABLE forecast ENABLE ROW LEVEL SECURITY;
ALTER TABLE forecast FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON forecast TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_or_public ON forecast FOR SELECT TO tocsin_app
    USING (tenant_id IS NULL OR tenant_id = current_setting('app.tenant')::uuid);
GRANT SELECT, INSERT, DELETE ON forecast TO tocsin_worker;
GRANT SELECT ON forecast TO tocsin_app;
