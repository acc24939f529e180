-- What became of a quote. A quote itself is never changed: what is decided about it stands beside it, row by row.
SET LOCAL lock_timeout = '5s';

CREATE TABLE quote_action (
    action_id    uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenant,
    quote_id     uuid NOT NULL REFERENCES quote,
    action       text NOT NULL CHECK (action IN ('refer', 'approve', 'decline', 'bind')),
    option_name  text,                            -- bind: which of the quote's options
    premium      numeric(20, 2),                  -- bind: what was agreed
    reason       text NOT NULL CHECK (length(reason) BETWEEN 1 AND 2000),
    principal_id uuid NOT NULL,
    acted_by     text NOT NULL,                   -- the name, as it was then
    acted_at     timestamptz NOT NULL,
    CHECK (action <> 'bind' OR (option_name IS NOT NULL AND premium IS NOT NULL))
);
CREATE INDEX quote_action_quote ON quote_action (quote_id, acted_at);
CREATE UNIQUE INDEX quote_action_bound_once ON quote_action (quote_id) WHERE action = 'bind';
-- One person is one voice, however often they say it.
CREATE UNIQUE INDEX quote_action_one_voice ON quote_action (quote_id, principal_id) WHERE action = 'approve';

CREATE TABLE work_order (
    work_order_id  uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenant,
    quote_id       uuid NOT NULL REFERENCES quote,
    asset_id       text NOT NULL,
    signal         text NOT NULL,
    value          double precision NOT NULL,
    action         text NOT NULL CHECK (action IN ('replace', 'inspect', 'firmware')),
    hazard_before  double precision NOT NULL CHECK (hazard_before >= 1),
    hazard_after   double precision NOT NULL CHECK (hazard_after >= 1),
    premium_before numeric(20, 2) NOT NULL,       -- of the quote as it stands
    premium_after  numeric(20, 2) NOT NULL,       -- with this one order done
    origin         text NOT NULL CHECK (origin IN ('inception', 'in_force')),
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'cancelled')),
    opened_at      timestamptz NOT NULL,
    closed_at      timestamptz,
    closed_by      text,
    evidence       text,
    UNIQUE (tenant_id, quote_id, asset_id, signal, action),
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK (state = 'open' OR (closed_by IS NOT NULL AND evidence IS NOT NULL))
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['quote_action', 'work_order'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT ON quote_action TO tocsin_worker, tocsin_app;  -- what was done stays done
GRANT SELECT, INSERT ON work_order TO tocsin_worker, tocsin_app;
GRANT UPDATE (state, closed_at, closed_by, evidence) ON work_order TO tocsin_worker, tocsin_app;
