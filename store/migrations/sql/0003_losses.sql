-- Hazard fields of footprints, OED files behind a book, and losses of assessments. Additions only: the release before works on.

SET LOCAL lock_timeout = '5s';

-- How strong the hazard is, where a footprint says so: geo/hazard_field.py. '{}': it says only where.
ALTER TABLE footprint ADD COLUMN field jsonb NOT NULL DEFAULT '{}';
ALTER TABLE footprint ADD COLUMN field_grid bytea;

-- The OED files that a book's terms are read from, as Parquet of their texts.
CREATE TABLE portfolio_file (
    tenant_id    uuid NOT NULL,
    portfolio_id uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('location', 'account', 'ri_info', 'ri_scope', 'rates')),
    name         text NOT NULL,
    content      bytea NOT NULL,
    PRIMARY KEY (portfolio_id, kind),
    FOREIGN KEY (tenant_id, portfolio_id) REFERENCES portfolio (tenant_id, portfolio_id) ON DELETE CASCADE
);

-- The loss of an assessment: distributions, sources of uncertainty, assumptions, reconciliation. Beside the assessment,
-- since value is known at once and a loss some seconds later; `problem` says why there is none.
CREATE TABLE assessment_loss (
    assessment_id uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    currency      text NOT NULL,
    problem       text NOT NULL DEFAULT '',
    mean_gul      double precision,
    mean_il       double precision,
    mean_ri       double precision,
    result        jsonb NOT NULL DEFAULT '{}',
    computed_at   timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, assessment_id) REFERENCES assessment (tenant_id, assessment_id) ON DELETE CASCADE
);

-- Locations with a loss: the largest, and of the others a sample that stands for all of them on the map.
CREATE TABLE assessment_location_loss (
    assessment_id uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    location_id   bigint NOT NULL,
    rank          integer NOT NULL,
    sampled       boolean NOT NULL,     -- one of the sample, not of the largest
    intensity     double precision NOT NULL,
    mean_gul      double precision NOT NULL,
    mean_il       double precision NOT NULL,
    mean_ri       double precision NOT NULL,
    PRIMARY KEY (assessment_id, location_id),
    FOREIGN KEY (tenant_id, assessment_id) REFERENCES assessment (tenant_id, assessment_id) ON DELETE CASCADE
);

-- Policies ranked for claims triage.
CREATE TABLE assessment_policy (
    assessment_id uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    rank          integer NOT NULL,
    acc_number    text NOT NULL,
    pol_number    text NOT NULL,
    layer_number  text NOT NULL,
    mean_gross    double precision NOT NULL,
    sd_gross      double precision NOT NULL,
    mean_net      double precision NOT NULL,
    chance        double precision NOT NULL CHECK (chance BETWEEN 0 AND 1),  -- that it pays at all
    PRIMARY KEY (assessment_id, rank),
    FOREIGN KEY (tenant_id, assessment_id) REFERENCES assessment (tenant_id, assessment_id) ON DELETE CASCADE
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['portfolio_file', 'assessment_loss', 'assessment_location_loss', 'assessment_policy'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON portfolio_file, assessment_loss, assessment_location_loss, assessment_policy TO tocsin_worker;
GRANT SELECT ON portfolio_file, assessment_loss, assessment_location_loss, assessment_policy TO tocsin_app;
