-- How often a message may have gone out without anybody knowing, and what people report of water as readings.

SET LOCAL lock_timeout = '5s';

-- Attempts that may have arrived: the sender died in them, or the provider gave no answer. Stays with the row, whatever
-- becomes of it: only such a message can have been delivered twice.
ALTER TABLE delivery ADD COLUMN in_doubt integer NOT NULL DEFAULT 0 CHECK (in_doubt >= 0);

-- Readings that people give of the water in their homes: a stream of each person and warning, whose newest revision stands.
-- Insert-only. No gauge's rule reads it; the loss of the next footprint version does (geo/reported.py).
CREATE TABLE reported_observation (
    answer_id       uuid PRIMARY KEY REFERENCES answer,  -- where it comes from: the policyholder's own answer
    tenant_id       uuid NOT NULL,
    policyholder_id uuid NOT NULL,
    warning_id      uuid,                          -- none: given without one
    revision        integer NOT NULL CHECK (revision >= 0),  -- a later answer to the same warning replaces the one before
    quantity        text NOT NULL CHECK (quantity = 'depth_inside'),
    unit            text NOT NULL CHECK (unit = 'm'),
    value           double precision NOT NULL CHECK (value >= 0 AND value < 30),
    error           double precision NOT NULL CHECK (error > 0),            -- standard deviation, in the unit
    weight          double precision NOT NULL CHECK (weight > 0 AND weight <= 1),  -- against a surveyed value
    floor_m         double precision NOT NULL,     -- first floor above ground: value + floor_m is depth above ground
    floor_error_m   double precision NOT NULL CHECK (floor_error_m > 0),
    lon             double precision NOT NULL CHECK (lon BETWEEN -180 AND 180),
    lat             double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    observed_at     timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (policyholder_id, warning_id, revision),
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id) ON DELETE CASCADE
);
CREATE INDEX reported_observation_of_tenant ON reported_observation (tenant_id, observed_at);
ALTER TABLE reported_observation ENABLE ROW LEVEL SECURITY;
ALTER TABLE reported_observation FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON reported_observation TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON reported_observation TO tocsin_app USING (tenant_id = current_setting('app.tenant')::uuid)
    WITH CHECK (tenant_id = current_setting('app.tenant')::uuid);
GRANT SELECT, INSERT, DELETE ON reported_observation TO tocsin_worker;
GRANT SELECT, INSERT ON reported_observation TO tocsin_app;

-- An approval may come late: whoever hears something worse by then is not told of less. What the approval bound stays as it
-- was; this says who of it was left out, and for which warning.
ALTER TABLE warning_recipient ADD COLUMN left_out_by uuid;
GRANT UPDATE (left_out_by) ON warning_recipient TO tocsin_app;
GRANT INSERT, DELETE, UPDATE (level) ON kept_out TO tocsin_app;
