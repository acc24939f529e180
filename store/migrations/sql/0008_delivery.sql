-- What delivery, answers and loss prevention keep, beyond the spine.

SET LOCAL lock_timeout = '5s';

-- Sirens are reached like people, by an address that somebody consented to.
ALTER TABLE contact_point DROP CONSTRAINT contact_point_channel_check;
ALTER TABLE contact_point ADD CONSTRAINT contact_point_channel_check
    CHECK (channel IN ('web_push', 'email', 'webhook', 'sms', 'voice', 'siren', 'fake'));

-- Push, then a text message, then a call: see alerts/escalation.py.
ALTER TABLE delivery
    ADD COLUMN rung smallint NOT NULL DEFAULT 0 CHECK (rung >= 0),
    ADD COLUMN unless text CHECK (unless IN ('answered', 'accepted'));
CREATE INDEX delivery_waiting ON delivery (warning_id, policyholder_id) WHERE state = 'queued' AND unless IS NOT NULL;
CREATE INDEX answer_by_warning ON answer (warning_id, policyholder_id);
CREATE INDEX delivery_by_person ON delivery (policyholder_id, channel, queued_at);

-- A claim asks whether any row of an ordering key is leased: few rows are.
CREATE INDEX outbox_leased ON outbox (consumer, ordering_key) WHERE dead_at IS NULL AND lease_until IS NOT NULL;

-- Which database the sender last worked on, and how far it was: a copy, or an older state, holds all sending.
CREATE TABLE sender_fence (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    identity text NOT NULL,                        -- cluster, timeline and database
    epoch    bigint NOT NULL,
    at       timestamptz NOT NULL
);

-- What the operator on duty must see: a draft that is held, a siren that did not answer, a fence that came down.
CREATE TABLE operator_notice (
    notice_id  uuid PRIMARY KEY,
    tenant_id  uuid REFERENCES tenant,             -- none: of the whole installation
    kind       text NOT NULL,
    subject    text NOT NULL,                      -- what it is about; told once
    detail     jsonb NOT NULL DEFAULT '{}',
    at         timestamptz NOT NULL,
    seen_at    timestamptz,
    seen_by    uuid,
    UNIQUE NULLS NOT DISTINCT (tenant_id, kind, subject)
);

-- A call for help as work: who has it, whether the person was reached, to whom it was handed over.
CREATE TABLE help_case (
    answer_id    uuid PRIMARY KEY REFERENCES answer,
    tenant_id    uuid NOT NULL REFERENCES tenant,
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'assigned', 'contacted', 'handed_over', 'closed')),
    assigned_to  uuid,
    assigned_at  timestamptz,
    contacted_at timestamptz,
    handed_to    text,                             -- the responders who took it
    handed_at    timestamptz,
    closed_at    timestamptz,
    note         text NOT NULL DEFAULT '',
    CHECK ((assigned_to IS NULL) = (assigned_at IS NULL)),
    CHECK ((handed_to IS NULL) = (handed_at IS NULL)),
    FOREIGN KEY (tenant_id, assigned_to) REFERENCES principal (tenant_id, principal_id)
);

-- A step against loss that somebody says is done, with what it is estimated to have saved, so that it can be credited.
CREATE TABLE step_done (
    tenant_id       uuid NOT NULL,
    policyholder_id uuid NOT NULL,
    warning_id      uuid NOT NULL,
    step            text NOT NULL,
    done_at         timestamptz NOT NULL,
    avoided_loss    numeric(20, 2),                -- none: unknown, because value or depth is
    currency        text,
    estimate        jsonb NOT NULL DEFAULT '{}',   -- what the estimate was made from
    PRIMARY KEY (policyholder_id, warning_id, step),
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id)
);

CREATE TABLE answer_photo (
    photo_sha256    bytea NOT NULL,
    tenant_id       uuid NOT NULL,
    policyholder_id uuid NOT NULL,
    media_type      text NOT NULL CHECK (media_type IN ('image/jpeg', 'image/png', 'image/webp')),
    body            bytea NOT NULL CHECK (octet_length(body) BETWEEN 1 AND 1048576),
    received_at     timestamptz NOT NULL,
    PRIMARY KEY (policyholder_id, photo_sha256),
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id) ON DELETE CASCADE
);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['help_case', 'step_done', 'answer_photo'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['operator_notice'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_or_public ON %I FOR SELECT TO tocsin_app'
                       ' USING (tenant_id IS NULL OR tenant_id = current_setting(''app.tenant'')::uuid)', t);
        EXECUTE format('CREATE POLICY own_tenant_writes ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON sender_fence, operator_notice, help_case, step_done, answer_photo TO tocsin_worker;
GRANT SELECT ON operator_notice, help_case, step_done, answer_photo TO tocsin_app;
GRANT INSERT ON help_case, step_done, answer_photo TO tocsin_app;
GRANT UPDATE (seen_at, seen_by) ON operator_notice TO tocsin_app;
GRANT UPDATE (state, assigned_to, assigned_at, contacted_at, handed_to, handed_at, closed_at, note) ON help_case TO tocsin_app;
-- A receipt makes a delivery `delivered`, an answer stops what would only have asked again.
GRANT UPDATE (state, last_error) ON delivery TO tocsin_app;
