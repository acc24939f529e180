-- The roads of a route, so that its line and its turns can be made on request: 2 * road along its shape, + 1 against it.
ALTER TABLE household_route ADD COLUMN roads integer[];
ALTER TABLE household_route ADD COLUMN first_share double precision;  -- of the first road, until its end
ALTER TABLE household_route ADD COLUMN last_share double precision;   -- of the last road, from its start

-- An operator's word on a road. It wins over what is computed, until it is taken back.
CREATE TABLE road_override (
    road_override_id uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenant,
    road_network_id  uuid NOT NULL REFERENCES road_network,
    roads            integer[] NOT NULL,            -- indices into the network's roads
    action           text NOT NULL CHECK (action IN ('open', 'close')),
    reason           text NOT NULL CHECK (reason <> ''),
    made_by          uuid NOT NULL,
    made_at          timestamptz NOT NULL,
    withdrawn_by     uuid,
    withdrawn_at     timestamptz
);

-- An authority's order for an area. It goes before every route of ours.
CREATE TABLE official_order (
    official_order_id uuid PRIMARY KEY,
    tenant_id         uuid NOT NULL REFERENCES tenant,
    kind              text NOT NULL CHECK (kind IN ('evacuate', 'stay')),
    area              bytea NOT NULL,               -- WKB multipolygon
    authority         text NOT NULL CHECK (authority <> ''),
    issued_at         timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL CHECK (expires_at > issued_at),
    made_by           uuid NOT NULL,
    withdrawn_by      uuid,
    withdrawn_at      timestamptz
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['road_override', 'official_order'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON road_override, official_order TO tocsin_worker;
GRANT SELECT, INSERT ON road_override, official_order TO tocsin_app;
GRANT UPDATE (withdrawn_by, withdrawn_at) ON road_override, official_order TO tocsin_app;
CREATE INDEX road_override_standing ON road_override (tenant_id) WHERE withdrawn_at IS NULL;
CREATE INDEX official_order_standing ON official_order (tenant_id) WHERE withdrawn_at IS NULL;
