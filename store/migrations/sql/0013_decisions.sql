-- Decisions beyond one gauge: groups, silences, events, proposals of rules, tables of levels, repeats.

SET LOCAL lock_timeout = '5s';

-- Rules of one hazard and the same area, or of one named group, speak with one voice (alerts/voice.py).
ALTER TABLE rule_state ADD COLUMN group_key text;
CREATE INDEX rule_state_group ON rule_state (group_key) WHERE group_key IS NOT NULL;
CREATE INDEX rule_state_warning ON rule_state (warning_id) WHERE warning_id IS NOT NULL;

-- A rule of a footprint or of bulletins looks at no gauge (alerts/event_rule.py).
ALTER TABLE rule ALTER COLUMN datastream_id DROP NOT NULL;
ALTER TABLE rule ADD CONSTRAINT rule_looks_at_something CHECK (datastream_id IS NOT NULL OR definition ? 'kind');

-- Where such a rule stands with each event.
CREATE TABLE event_state (
    rule_id     uuid NOT NULL,
    subject     text NOT NULL,                     -- hazard event, or first bulletin of a chain
    tenant_id   uuid NOT NULL REFERENCES tenant,
    bulletin_id uuid REFERENCES bulletin,          -- the newest of the chain
    state       jsonb NOT NULL,                    -- alerts/lifecycle.py
    warning_id  uuid,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (rule_id, subject)
);

-- Whom a warning would speak to, were they not told of worse: what must not be told that all is clear meanwhile.
CREATE TABLE kept_out (
    warning_id      uuid NOT NULL,
    policyholder_id uuid NOT NULL,
    tenant_id       uuid NOT NULL,
    level           text NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (warning_id, policyholder_id),
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id) ON DELETE CASCADE
);
CREATE INDEX kept_out_person ON kept_out (policyholder_id);

-- What is not said for a while, by whose word. Red needs a second person.
CREATE TABLE silence (
    silence_id uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenant,
    rule_code  text,
    peril      text,
    up_to      text NOT NULL CHECK (up_to IN ('blue', 'yellow', 'orange', 'red')),
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    author     uuid NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    second     uuid,
    ended_at   timestamptz,
    ended_by   uuid,
    CHECK ((rule_code IS NULL) <> (peril IS NULL)),
    CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '7 days'),
    CHECK (second IS NULL OR second <> author),
    FOREIGN KEY (tenant_id, author) REFERENCES principal (tenant_id, principal_id),
    FOREIGN KEY (tenant_id, second) REFERENCES principal (tenant_id, principal_id)
);
CREATE INDEX silence_live ON silence (tenant_id, ends_at) WHERE ended_at IS NULL;

-- A rule that would release by itself is in force only once a second person agreed to exactly this content.
CREATE TABLE rule_proposal (
    proposal_id    uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenant,
    code           text NOT NULL,
    told           jsonb NOT NULL,                 -- the rule as a file has it
    content_sha256 bytea NOT NULL,
    state          text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'approved', 'rejected')),
    effective_from timestamptz,                    -- none: from the approval on
    dry_run        jsonb,                          -- what it would have said of the last days
    proposed_by    uuid NOT NULL,
    proposed_at    timestamptz NOT NULL,
    decided_by     uuid,
    decided_at     timestamptz,
    why            text NOT NULL DEFAULT '',
    version        integer,                        -- that it became
    CHECK ((state = 'proposed') = (decided_by IS NULL)),
    CHECK (state <> 'approved' OR decided_by <> proposed_by),
    FOREIGN KEY (tenant_id, proposed_by) REFERENCES principal (tenant_id, principal_id),
    FOREIGN KEY (tenant_id, decided_by) REFERENCES principal (tenant_id, principal_id)
);

-- What a tenant calls the levels (alerts/scheme.py); versions never change.
CREATE TABLE level_scheme (
    tenant_id      uuid NOT NULL REFERENCES tenant,
    version        integer NOT NULL CHECK (version >= 1),
    told           jsonb NOT NULL,
    effective_from timestamptz NOT NULL,
    set_by         uuid,
    PRIMARY KEY (tenant_id, version)
);

-- What a version of a warning says beyond its level; none: the common words.
ALTER TABLE warning
    ADD COLUMN severity text CHECK (severity IN ('Minor', 'Moderate', 'Severe', 'Extreme')),
    ADD COLUMN certainty text CHECK (certainty IN ('Observed', 'Likely', 'Possible', 'Unlikely', 'Unknown')),
    ADD COLUMN stage jsonb NOT NULL DEFAULT '{}',  -- {"en": ..., "zh": ...}
    ADD COLUMN authority text,                     -- who issued it, where we pass an official bulletin on
    ADD COLUMN incident text;                      -- what it shares with other warnings of the same event

-- The same message said again to whoever has not answered: its own row, its own key.
ALTER TABLE delivery ADD COLUMN repeat integer NOT NULL DEFAULT 0 CHECK (repeat >= 0);
ALTER TABLE delivery DROP CONSTRAINT delivery_one_of_each;
ALTER TABLE delivery
    ADD CONSTRAINT delivery_one_of_each UNIQUE (warning_id, version, policyholder_id, channel, revision, repeat);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['event_state', 'kept_out', 'silence', 'rule_proposal', 'level_scheme'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON event_state, kept_out, silence, rule_proposal, level_scheme TO tocsin_worker;
REVOKE UPDATE, DELETE ON level_scheme FROM tocsin_worker;
GRANT SELECT ON event_state, kept_out, silence, rule_proposal, level_scheme TO tocsin_app;
-- A warning taken back in error closes its event too.
GRANT UPDATE (state, warning_id, updated_at) ON event_state TO tocsin_app;
