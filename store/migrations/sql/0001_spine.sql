-- The spine and every plain table, the same on both engines. Runs as the owner, in one transaction.
-- Names follow docs/glossary.md. Times are timestamptz in UTC; geometry is WKB in EPSG:4326.

SET LOCAL lock_timeout = '5s';

-- What this database is for. Exactly one row: an exercise database can never hold a live warning, nor a live one an exercise.
CREATE TABLE installation (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    exercise    boolean NOT NULL UNIQUE,
    name        text NOT NULL,
    engine      text NOT NULL CHECK (engine IN ('timescale', 'plain')),  -- what the tables of readings were built for
    fencing_epoch bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- The scenario clock of an exercise or replay database.
CREATE TABLE scenario_clock (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    exercise       boolean NOT NULL DEFAULT true CHECK (exercise) REFERENCES installation (exercise),
    wall_start     timestamptz NOT NULL,
    scenario_start timestamptz NOT NULL,
    speed          double precision NOT NULL CHECK (speed > 0),
    held_at        timestamptz
);

-- ---------------------------------------------------------------- people and tenants
CREATE TABLE tenant (
    tenant_id  uuid PRIMARY KEY,
    slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name       text NOT NULL,
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE principal (
    principal_id  uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenant,
    login         text NOT NULL UNIQUE,
    display_name  text NOT NULL,
    password_hash text NOT NULL,
    roles         text[] NOT NULL CHECK (roles <@ ARRAY['insurer','approver','underwriter','partner','admin','operator']),
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, principal_id)
);

CREATE TABLE session (
    token_sha256 bytea PRIMARY KEY,
    principal_id uuid NOT NULL,
    tenant_id    uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principal (tenant_id, principal_id) ON DELETE CASCADE
);
CREATE INDEX session_age ON session (expires_at);

-- Tries to sign in, by account and by address (hashed): see api/auth.py. The worker's own; tocsin_app has no right on it.
CREATE TABLE login_throttle (
    subject_sha256 bytea PRIMARY KEY,
    n_tries        integer NOT NULL,
    last_try_at    timestamptz NOT NULL,
    blocked_until  timestamptz
);

CREATE TABLE api_key (
    api_key_id   uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenant,
    name         text NOT NULL,
    key_sha256   bytea NOT NULL UNIQUE,
    roles        text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    UNIQUE (tenant_id, name)
);

CREATE TABLE idempotency (
    tenant_id    uuid NOT NULL REFERENCES tenant,
    key          text NOT NULL,
    body_sha256  bytea NOT NULL,
    status       integer,
    body         bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);

CREATE TABLE audit (
    tenant_id  uuid NOT NULL REFERENCES tenant,
    seq        bigint NOT NULL,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    object     text NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}',
    prev_hash  bytea NOT NULL,
    row_hash   bytea NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);

-- ---------------------------------------------------------------- work that passes between rooms
CREATE TABLE outbox (
    outbox_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer     text NOT NULL,
    kind         text NOT NULL,
    ordering_key text NOT NULL,
    tenant_id    uuid REFERENCES tenant,
    payload      jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    available_at timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz,
    claimed_by   text,
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    dead_at      timestamptz
);
CREATE INDEX outbox_due ON outbox (consumer, outbox_id) WHERE dead_at IS NULL;
CREATE INDEX outbox_order ON outbox (consumer, ordering_key, outbox_id) WHERE dead_at IS NULL;

-- Browsers' stream: ids are given by one sequencer after commit, so reading by `stream_id > last` is safe here only.
CREATE TABLE stream_event (
    stream_id  bigint PRIMARY KEY,
    tenant_id  uuid REFERENCES tenant,
    kind       text NOT NULL,
    payload    jsonb NOT NULL,
    at         timestamptz NOT NULL
);

-- The last id given: the sequencer holds this row while it gives the next ones, so that they are committed in order.
CREATE TABLE stream_head (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    stream_id bigint NOT NULL
);
INSERT INTO stream_head (stream_id) VALUES (0);

-- ---------------------------------------------------------------- stations (readings themselves: next file, by engine)
CREATE TABLE station (
    station_id    uuid PRIMARY KEY,
    tenant_id     uuid REFERENCES tenant,          -- none: public
    code          text NOT NULL,
    name          text NOT NULL,
    lon           double precision CHECK (lon BETWEEN -180 AND 180),
    lat           double precision CHECK (lat BETWEEN -90 AND 90),
    river         text,
    basin         text,
    datum         text,
    owner         text,
    gateway_group text,
    power_group   text,
    vendor        text,
    state         text NOT NULL DEFAULT 'unknown' CHECK (state IN ('unknown', 'online', 'silent')),
    state_since   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, code)
);

-- A code as it stands in a topic: white space becomes one underscore (ingest/station.py). Unique within a tenant.
CREATE FUNCTION topic_segment(code text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.regexp_replace(pg_catalog.btrim(code), '\s+', '_', 'g') $$;
CREATE UNIQUE INDEX station_segment ON station (tenant_id, topic_segment(code)) NULLS NOT DISTINCT;

CREATE TABLE datastream (
    datastream_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_id         uuid NOT NULL REFERENCES station,
    tenant_id          uuid REFERENCES tenant,     -- its station's
    quantity           text NOT NULL,
    unit               text NOT NULL,
    interval_s         double precision NOT NULL DEFAULT 600 CHECK (interval_s > 0),
    thresholds         jsonb NOT NULL DEFAULT '{}', -- quality control: see ingest/quality.py
    thresholds_version integer NOT NULL DEFAULT 1,
    UNIQUE (station_id, quantity)
);

CREATE TABLE latest_observation (
    datastream_id bigint PRIMARY KEY REFERENCES datastream,
    observed_at   timestamptz NOT NULL,
    value         double precision,
    quality       smallint NOT NULL,
    received_at   timestamptz NOT NULL,
    effective_at  timestamptz,            -- the time it counts for: observed_at, or received_at where the device's clock is wrong
    heard_at      timestamptz             -- when the datastream last said anything at all, old readings too
);

-- What brings readings in, and whether it does: one row and one alarm when all of it goes, not one a station.
CREATE TABLE feed_state (
    feed       text PRIMARY KEY,          -- 'broker', or 'stations:<tenant_id or public>'
    tenant_id  uuid REFERENCES tenant,
    state      text NOT NULL CHECK (state IN ('up', 'down')),
    since      timestamptz NOT NULL,
    n_stations integer NOT NULL DEFAULT 0,
    detail     text NOT NULL DEFAULT ''
);

CREATE TABLE quarantine (
    quarantine_id uuid PRIMARY KEY,
    fingerprint   bytea NOT NULL UNIQUE,  -- SHA-256 of topic, reason and bytes: the same poison is one row that counts
    topic         text NOT NULL,
    payload       bytea NOT NULL,
    reason        text NOT NULL,
    detail        text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    n_seen        bigint NOT NULL DEFAULT 1
);

CREATE TABLE ingest_ledger (
    source        text NOT NULL,          -- tenant slug and station code
    message_id    text NOT NULL,
    datastream_id bigint NOT NULL,
    observed_at   timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    PRIMARY KEY (source, message_id)
);
CREATE INDEX ingest_ledger_age ON ingest_ledger (received_at);

CREATE TABLE ingest_gap (
    device    text NOT NULL,
    boot      text NOT NULL,
    from_seq  bigint NOT NULL,
    to_seq    bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (device, boot, from_seq)
);

-- ---------------------------------------------------------------- exposure
CREATE TABLE portfolio (
    portfolio_id uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenant,
    name         text NOT NULL,
    currency     text NOT NULL,
    source_sha256 bytea NOT NULL,
    imported_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, portfolio_id)
);

CREATE TABLE location (
    location_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     uuid NOT NULL,
    portfolio_id  uuid NOT NULL,
    acc_number    text NOT NULL,
    loc_number    text NOT NULL,
    lon           double precision CHECK (lon BETWEEN -180 AND 180),  -- none: TIV that cannot be mapped, reported as such
    lat           double precision CHECK (lat BETWEEN -90 AND 90),
    h3            bigint,                  -- cell at resolution 9
    country_code  text,
    occupancy_code integer,
    construction_code integer,
    building_tiv  numeric(20, 2) NOT NULL DEFAULT 0 CHECK (building_tiv >= 0),
    other_tiv     numeric(20, 2) NOT NULL DEFAULT 0 CHECK (other_tiv >= 0),
    contents_tiv  numeric(20, 2) NOT NULL DEFAULT 0 CHECK (contents_tiv >= 0),
    bi_tiv        numeric(20, 2) NOT NULL DEFAULT 0 CHECK (bi_tiv >= 0),
    currency      text NOT NULL,
    loc_perils_covered text NOT NULL DEFAULT '',
    oed           jsonb NOT NULL DEFAULT '{}',  -- every other OED field as it came
    FOREIGN KEY (tenant_id, portfolio_id) REFERENCES portfolio (tenant_id, portfolio_id) ON DELETE CASCADE,
    UNIQUE (portfolio_id, acc_number, loc_number),
    UNIQUE (tenant_id, location_id)
);
CREATE INDEX location_place ON location (portfolio_id, lon, lat);

CREATE TABLE policy (
    policy_id    uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL,
    portfolio_id uuid NOT NULL,
    acc_number   text NOT NULL,
    pol_number   text NOT NULL,
    perils_covered text NOT NULL DEFAULT '',
    inception    date,
    expiry       date,
    FOREIGN KEY (tenant_id, portfolio_id) REFERENCES portfolio (tenant_id, portfolio_id) ON DELETE CASCADE,
    UNIQUE (portfolio_id, acc_number, pol_number),
    UNIQUE (tenant_id, policy_id)
);

CREATE TABLE policyholder (
    policyholder_id uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenant,
    policy_id       uuid,
    location_id     bigint,
    name            text NOT NULL,
    language        text NOT NULL DEFAULT 'en',
    FOREIGN KEY (tenant_id, policy_id) REFERENCES policy (tenant_id, policy_id),
    FOREIGN KEY (tenant_id, location_id) REFERENCES location (tenant_id, location_id),
    UNIQUE (tenant_id, policyholder_id)
);

CREATE TABLE contact_point (
    contact_point_id uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL,
    policyholder_id  uuid NOT NULL,
    channel          text NOT NULL CHECK (channel IN ('web_push', 'email', 'webhook', 'sms', 'voice', 'fake')),
    address          jsonb NOT NULL,
    rank             integer NOT NULL DEFAULT 1,   -- which is tried first
    consent_at       timestamptz NOT NULL,
    withdrawn_at     timestamptz,
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id) ON DELETE CASCADE,
    UNIQUE (policyholder_id, channel, address),
    UNIQUE (tenant_id, contact_point_id)
);

CREATE TABLE household (
    household_id    uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    policyholder_id uuid NOT NULL UNIQUE,
    lon             double precision NOT NULL CHECK (lon BETWEEN -180 AND 180),
    lat             double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    people          integer NOT NULL DEFAULT 1 CHECK (people >= 1),
    mode            text NOT NULL DEFAULT 'car' CHECK (mode IN ('car', 'foot')),
    needs           text[] NOT NULL DEFAULT '{}',
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id) ON DELETE CASCADE,
    UNIQUE (tenant_id, household_id)
);

-- ---------------------------------------------------------------- hazard and getting out
CREATE TABLE hazard_event (
    hazard_event_id uuid PRIMARY KEY,
    tenant_id       uuid REFERENCES tenant,        -- none: public
    code            text NOT NULL,
    peril           text NOT NULL,
    name            text NOT NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    UNIQUE NULLS NOT DISTINCT (tenant_id, code)
);

CREATE TABLE footprint (
    footprint_id    uuid PRIMARY KEY,
    hazard_event_id uuid NOT NULL REFERENCES hazard_event,
    tenant_id       uuid REFERENCES tenant,        -- its event's
    version         integer NOT NULL CHECK (version >= 1),
    valid_at        timestamptz NOT NULL,
    made_how        text NOT NULL,
    geometry        bytea NOT NULL,                -- multipolygon now inside the hazard
    zones           jsonb NOT NULL DEFAULT '[]',   -- [{"arrival_min", "intensity", "unit", "geometry": GeoJSON}] still to come
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (hazard_event_id, version)
);

CREATE TABLE assessment (
    assessment_id  uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL,
    portfolio_id   uuid NOT NULL,
    footprint_id   uuid NOT NULL REFERENCES footprint,
    n_locations    bigint NOT NULL,
    n_policies     bigint NOT NULL,
    exposed_tiv    numeric(22, 2) NOT NULL,
    n_unknown      bigint NOT NULL,                -- locations that could not be placed
    unknown_tiv    numeric(22, 2) NOT NULL,
    currency       text NOT NULL,                  -- of the two amounts above: the portfolio's
    by_currency    jsonb NOT NULL DEFAULT '{}',    -- {"EUR": {"n_locations", "exposed_tiv", "n_unknown", "unknown_tiv"}}, decimal text
    computed_at    timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, portfolio_id) REFERENCES portfolio (tenant_id, portfolio_id) ON DELETE CASCADE,
    UNIQUE (footprint_id, portfolio_id),
    UNIQUE (tenant_id, assessment_id)
);

CREATE TABLE assessment_location (
    assessment_id uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    location_id   bigint NOT NULL,
    exposed_tiv   numeric(20, 2) NOT NULL,
    rank          integer NOT NULL,
    PRIMARY KEY (assessment_id, location_id),
    FOREIGN KEY (tenant_id, assessment_id) REFERENCES assessment (tenant_id, assessment_id) ON DELETE CASCADE
);

CREATE TABLE road_network (
    road_network_id uuid PRIMARY KEY,
    tenant_id       uuid REFERENCES tenant,        -- none: public
    code            text NOT NULL,
    version         integer NOT NULL,
    sha256          bytea NOT NULL,
    file            text NOT NULL,                 -- name under TOCSIN_HOME/roads
    extract_date    date,
    n_nodes         bigint NOT NULL,
    n_edges         bigint NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, code, version)
);

CREATE TABLE safe_zone (
    safe_zone_id     uuid PRIMARY KEY,
    tenant_id        uuid REFERENCES tenant,       -- none: public
    code             text NOT NULL,
    names            jsonb NOT NULL,               -- {"en": ..., "zh": ...}
    lon              double precision NOT NULL CHECK (lon BETWEEN -180 AND 180),
    lat              double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    seats            integer NOT NULL CHECK (seats >= 0),
    accessible_seats integer NOT NULL DEFAULT 0,
    opens_at         timestamptz,
    UNIQUE NULLS NOT DISTINCT (tenant_id, code)
);

CREATE TABLE evacuation_plan (
    evacuation_plan_id uuid PRIMARY KEY,
    footprint_id       uuid NOT NULL REFERENCES footprint,
    road_network_id    uuid NOT NULL REFERENCES road_network,
    tenant_id          uuid NOT NULL REFERENCES tenant,
    counts             jsonb NOT NULL,             -- households by status
    margins            jsonb NOT NULL DEFAULT '{}', -- how careful it is: geo/evacuation.py Margins
    closed_edges       bytea NOT NULL,             -- geometry of closed roads, WKB multilinestring, for the map
    computed_at        timestamptz NOT NULL,
    UNIQUE (tenant_id, footprint_id, road_network_id),
    UNIQUE (tenant_id, evacuation_plan_id)
);

CREATE TABLE household_route (
    evacuation_plan_id uuid NOT NULL,
    household_id       uuid NOT NULL,
    tenant_id          uuid NOT NULL,
    status             text NOT NULL CHECK (status IN ('clear', 'through-hazard', 'shelter-in-place', 'cut-off', 'off-network', 'no-seat')),
    safe_zone_id       uuid REFERENCES safe_zone,
    travel_s           double precision,
    distance_m         double precision,
    leave_by           timestamptz,                -- by when this route must be begun; none: nothing on it is forecast to close
    last_way_out       timestamptz,                -- when the last way by any road closes, never before leave_by; none: never
    inside_m           double precision NOT NULL DEFAULT 0,
    reason             text NOT NULL DEFAULT '',
    geometry           bytea,                      -- line from the household to the safe zone
    changed            boolean NOT NULL DEFAULT true,  -- against the plan before: only then a push is due
    PRIMARY KEY (evacuation_plan_id, household_id),
    FOREIGN KEY (tenant_id, evacuation_plan_id) REFERENCES evacuation_plan (tenant_id, evacuation_plan_id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, household_id) REFERENCES household (tenant_id, household_id) ON DELETE CASCADE
);

-- ---------------------------------------------------------------- warnings
CREATE TABLE rule (
    rule_id        uuid NOT NULL,
    version        integer NOT NULL CHECK (version >= 1),
    tenant_id      uuid NOT NULL REFERENCES tenant,
    code           text NOT NULL,
    datastream_id  bigint NOT NULL REFERENCES datastream,
    definition     jsonb NOT NULL,                 -- see alerts/rule.py
    area           bytea,                          -- polygon that is warned; none: nobody, and the operator is told
    area_desc      jsonb NOT NULL DEFAULT '{}',    -- {"en": ..., "zh": ...}
    effective_from timestamptz NOT NULL,
    effective_to   timestamptz,
    PRIMARY KEY (rule_id, version),
    UNIQUE (tenant_id, code, version),
    UNIQUE (tenant_id, rule_id, version)
);

-- Where each rule's lifecycle stands now.
CREATE TABLE rule_state (
    rule_id       uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenant,
    state         jsonb NOT NULL,                  -- alerts/lifecycle.py: phase, level, since, pending, last reading
    warning_id    uuid,
    updated_at    timestamptz NOT NULL
);

-- Every decision, also the decision to say nothing when something might have been said, with its named reason.
CREATE TABLE decision (
    decision_id   uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenant,
    rule_id       uuid NOT NULL,
    at            timestamptz NOT NULL,
    reason        text NOT NULL,
    level_before  text,
    level_after   text,
    warning_id    uuid,
    version       integer,
    detail        jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX decision_by_rule ON decision (rule_id, at);

-- Immutable versions; only `state` and `released_at` move, and only forward.
CREATE TABLE warning (
    warning_id    uuid NOT NULL,
    version       integer NOT NULL CHECK (version >= 1),
    tenant_id     uuid NOT NULL REFERENCES tenant,
    rule_id       uuid,
    hazard_event_id uuid REFERENCES hazard_event,
    exercise      boolean NOT NULL REFERENCES installation (exercise),
    status        text NOT NULL CHECK (status IN ('Actual', 'Exercise', 'Test', 'Draft', 'System')),
    msg_type      text NOT NULL CHECK (msg_type IN ('Alert', 'Update', 'Cancel')),
    level         text NOT NULL CHECK (level IN ('blue', 'yellow', 'orange', 'red', 'none')),  -- none: all-clear
    all_clear     boolean NOT NULL DEFAULT false,
    reason        text NOT NULL,
    state         text NOT NULL CHECK (state IN ('draft', 'released', 'superseded', 'rejected', 'ended')),
    identifier    text NOT NULL UNIQUE,            -- CAP identifier
    sender        text NOT NULL,
    sent_at       timestamptz NOT NULL,            -- CAP sent
    onset_at      timestamptz,
    expires_at    timestamptz NOT NULL,
    references_   text[] NOT NULL DEFAULT '{}',    -- CAP references: sender,identifier,sent of every earlier live message
    area          bytea,                           -- polygon that is warned; none: nobody can be, and the draft is held
    area_desc     jsonb NOT NULL,
    texts         jsonb NOT NULL,                  -- {"en": {"headline", "description", "instruction"}, "zh": ...}
    event         text NOT NULL DEFAULT 'flood',
    n_people      integer NOT NULL CHECK (n_people >= 0),  -- audience when it was drafted
    n_unreachable integer NOT NULL DEFAULT 0 CHECK (n_unreachable BETWEEN 0 AND n_people),  -- of them without any channel
    content_sha256 bytea NOT NULL,                 -- what an approval binds: text + area + people + channels
    approvals_needed smallint NOT NULL CHECK (approvals_needed BETWEEN 0 AND 2),
    held          text,                            -- why it is held back: a reason of alerts/lifecycle.py
    drafted_by    uuid,                            -- a person; none: the rule. Nobody approves what they drafted
    drafted_at    timestamptz NOT NULL,
    released_at   timestamptz,
    PRIMARY KEY (warning_id, version),
    UNIQUE (tenant_id, warning_id, version),
    CHECK (exercise = (status <> 'Actual')),
    -- The first that goes out is an Alert, whichever version it is; a later one refers to all that went out before.
    CHECK ((msg_type = 'Alert') = (references_ = '{}')),
    CHECK (version > 1 OR msg_type = 'Alert'),
    CHECK (released_at IS NULL OR area IS NOT NULL),
    CHECK (state <> 'released' OR released_at IS NOT NULL)
);
CREATE INDEX warning_open ON warning (tenant_id, state);

-- Who a version is for: drafted with it, bound by an approval, and exactly what is delivered.
CREATE TABLE warning_recipient (
    tenant_id        uuid NOT NULL,
    warning_id       uuid NOT NULL,
    version          integer NOT NULL,
    policyholder_id  uuid NOT NULL,
    channel          text NOT NULL,                -- 'none': inside the area, and no channel reaches them
    contact_point_id uuid,
    language         text NOT NULL,                -- that they are told in
    priority         integer NOT NULL,             -- lower goes first
    PRIMARY KEY (warning_id, version, policyholder_id, channel),
    FOREIGN KEY (tenant_id, warning_id, version) REFERENCES warning (tenant_id, warning_id, version),
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id),
    FOREIGN KEY (tenant_id, contact_point_id) REFERENCES contact_point (tenant_id, contact_point_id),
    CHECK ((channel = 'none') = (contact_point_id IS NULL))
);

CREATE TABLE approval (
    tenant_id      uuid NOT NULL,
    warning_id     uuid NOT NULL,
    version        integer NOT NULL,
    principal_id   uuid NOT NULL,
    content_sha256 bytea NOT NULL,
    approved_at    timestamptz NOT NULL,
    PRIMARY KEY (warning_id, version, principal_id),
    FOREIGN KEY (tenant_id, warning_id, version) REFERENCES warning (tenant_id, warning_id, version),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principal (tenant_id, principal_id)
);

-- The last guard of release, whatever code asks: a version's content never changes, its state only moves forward, and
-- it goes out only with the approvals it needs, of different people, none of them its author, for exactly its content.
CREATE FUNCTION guard_warning() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n_approvals integer;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - '{state,released_at}'::text[] <> to_jsonb(OLD) - '{state,released_at}'::text[] THEN
            RAISE EXCEPTION 'a version of a warning never changes' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (('draft', 'released'), ('draft', 'superseded'),
                ('draft', 'rejected'), ('draft', 'ended'), ('released', 'superseded'), ('released', 'ended')) THEN
            RAISE EXCEPTION 'a warning does not go from % to %', OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF OLD.released_at IS NOT NULL AND NEW.released_at IS DISTINCT FROM OLD.released_at THEN
            RAISE EXCEPTION 'when a warning was released never changes' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSIF NEW.state NOT IN ('draft', 'released') THEN
        RAISE EXCEPTION 'a warning begins as a draft or released' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF current_user = 'tocsin_app' AND (NEW.state <> 'draft' OR NEW.approvals_needed < 1 OR NEW.drafted_by IS NULL) THEN
        RAISE EXCEPTION 'what a person drafts needs another person' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = 'released' AND (TG_OP = 'INSERT' OR OLD.state <> 'released') AND NEW.approvals_needed > 0 THEN
        SELECT count(DISTINCT a.principal_id) INTO n_approvals FROM public.approval AS a
        WHERE a.warning_id = NEW.warning_id AND a.version = NEW.version AND a.content_sha256 = NEW.content_sha256
          AND a.principal_id IS DISTINCT FROM NEW.drafted_by;
        IF n_approvals < NEW.approvals_needed THEN
            RAISE EXCEPTION 'this warning needs % approvals and has %', NEW.approvals_needed, n_approvals
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_warning BEFORE INSERT OR UPDATE ON warning FOR EACH ROW EXECUTE FUNCTION guard_warning();

CREATE TABLE sending_pause (
    scope       text PRIMARY KEY,                  -- 'all', 'tenant:<id>' or 'warning:<id>'
    tenant_id   uuid REFERENCES tenant,
    paused_by   uuid NOT NULL,
    paused_at   timestamptz NOT NULL,
    resume_asked_by uuid,                          -- the first of the two people that resuming needs
    -- A tenant can stop its own sending only: everybody's is stopped by the operator, in a row without a tenant.
    CHECK ((tenant_id IS NULL) = (scope = 'all')),
    CHECK (scope = 'all' OR scope LIKE 'warning:%' OR scope = 'tenant:' || tenant_id::text)
);

CREATE TABLE delivery (
    delivery_id     uuid PRIMARY KEY,              -- UUIDv5 of warning, version, person, channel: the idempotency key
    tenant_id       uuid NOT NULL,
    warning_id      uuid NOT NULL,
    version         integer NOT NULL,
    policyholder_id uuid NOT NULL,
    contact_point_id uuid NOT NULL,
    channel         text NOT NULL,
    provider        text NOT NULL,
    exercise        boolean NOT NULL REFERENCES installation (exercise),
    priority        integer NOT NULL DEFAULT 100,  -- lower goes first
    state           text NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'claimed', 'accepted', 'delivered', 'failed', 'uncertain', 'stopped')),
    attempts        integer NOT NULL DEFAULT 0,
    available_at    timestamptz NOT NULL,
    lease_until     timestamptz,
    claimed_by      text,
    provider_ref    text,
    last_error      text,
    queued_at       timestamptz NOT NULL,
    accepted_at     timestamptz,
    UNIQUE (warning_id, version, policyholder_id, channel),
    UNIQUE (tenant_id, delivery_id),
    FOREIGN KEY (tenant_id, warning_id, version) REFERENCES warning (tenant_id, warning_id, version),
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id),
    FOREIGN KEY (tenant_id, contact_point_id) REFERENCES contact_point (tenant_id, contact_point_id),
    CHECK (NOT exercise OR provider = 'fake')      -- an exercise cannot reach a live channel
);
CREATE INDEX delivery_due ON delivery (priority, queued_at, delivery_id) WHERE state IN ('queued', 'claimed', 'uncertain');

CREATE TABLE receipt (
    delivery_id uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('accepted', 'delivered', 'displayed', 'answered')),
    at          timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, kind),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES delivery (tenant_id, delivery_id)
);

CREATE TABLE answer (
    answer_id       uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    policyholder_id uuid NOT NULL,
    warning_id      uuid,
    kind            text NOT NULL CHECK (kind IN ('safe', 'help', 'damage')),
    detail          jsonb NOT NULL DEFAULT '{}',
    idempotency_key text NOT NULL,
    answered_at     timestamptz NOT NULL,
    handled_at      timestamptz,
    handled_by      uuid,
    FOREIGN KEY (tenant_id, policyholder_id) REFERENCES policyholder (tenant_id, policyholder_id),
    UNIQUE (tenant_id, idempotency_key)
);

-- ---------------------------------------------------------------- IT operations
CREATE TABLE quote (
    quote_id       uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenant,
    inputs_sha256  bytea NOT NULL,
    submission     jsonb NOT NULL,                 -- all inputs, so that it can be computed again
    result         jsonb NOT NULL,
    as_of          date NOT NULL,
    exposure_from  date NOT NULL,
    exposure_to    date NOT NULL,
    model_version  text NOT NULL,
    premium        numeric(20, 2) NOT NULL,
    currency       text NOT NULL,
    issued_at      timestamptz NOT NULL,
    CHECK (exposure_from < exposure_to),
    CHECK (as_of >= exposure_to),
    UNIQUE (tenant_id, inputs_sha256, model_version)
);

-- ---------------------------------------------------------------- who may see what
-- tocsin_worker does the system's own work for every tenant. tocsin_app serves people: its tenant is set for each
-- transaction by set_config('app.tenant', ..., true), and without it the policies below fail closed.
DO $$
DECLARE
    t text;
    -- rows of one tenant
    owned text[] := ARRAY['principal', 'session', 'api_key', 'idempotency', 'audit', 'portfolio', 'location', 'policy', 'policyholder',
        'contact_point', 'household', 'assessment', 'assessment_location', 'evacuation_plan', 'household_route', 'rule', 'rule_state',
        'decision', 'warning', 'warning_recipient', 'approval', 'delivery', 'receipt', 'answer', 'quote'];
    -- rows of one tenant or, without one, public
    public_or_owned text[] := ARRAY['station', 'datastream', 'hazard_event', 'footprint', 'road_network', 'safe_zone', 'stream_event',
        'sending_pause', 'feed_state'];
BEGIN
    FOREACH t IN ARRAY owned LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
    FOREACH t IN ARRAY public_or_owned LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_or_public ON %I FOR SELECT TO tocsin_app'
                       ' USING (tenant_id IS NULL OR tenant_id = current_setting(''app.tenant'')::uuid)', t);
        EXECUTE format('CREATE POLICY own_tenant_writes ON %I TO tocsin_app USING (tenant_id = current_setting(''app.tenant'')::uuid)'
                       ' WITH CHECK (tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO tocsin_worker, tocsin_app;
DO $$ BEGIN  -- ingest stages batches that hold readings twice; the database may have taken this from PUBLIC
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tocsin_worker', current_database());
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tocsin_worker;
REVOKE UPDATE, DELETE ON audit FROM tocsin_worker;
REVOKE UPDATE, DELETE ON quote FROM tocsin_worker;  -- a quote is never changed; another is issued
-- What a database is for cannot be changed by anybody who works in it; a restore raises the epoch.
REVOKE ALL ON installation, alembic_version FROM tocsin_worker;
GRANT SELECT, UPDATE (fencing_epoch) ON installation TO tocsin_worker;
GRANT SELECT ON alembic_version TO tocsin_worker;

ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON tenant TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own ON tenant FOR SELECT TO tocsin_app USING (tenant_id = current_setting('app.tenant')::uuid);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY worker ON outbox TO tocsin_worker USING (true) WITH CHECK (true);
CREATE POLICY own_tenant_publishes ON outbox FOR INSERT TO tocsin_app WITH CHECK (tenant_id = current_setting('app.tenant')::uuid);

GRANT SELECT (principal_id, tenant_id, login, display_name, roles, disabled_at, created_at) ON principal TO tocsin_app;
GRANT SELECT ON tenant, session, api_key, idempotency, audit, stream_event, station, datastream, portfolio, location, policy,
    policyholder, contact_point, household, hazard_event, footprint, assessment, assessment_location, road_network, safe_zone,
    evacuation_plan, household_route, rule, rule_state, decision, warning, warning_recipient, approval, sending_pause, delivery, receipt, answer, quote
    TO tocsin_app;
GRANT SELECT ON feed_state TO tocsin_app;
GRANT SELECT ON installation, scenario_clock TO tocsin_app;  -- no tenant's data: what this database is for, and its time
GRANT INSERT ON outbox, session, idempotency, audit, contact_point, decision, warning, warning_recipient, approval, sending_pause, receipt, answer, quote
    TO tocsin_app;
GRANT UPDATE ON idempotency, sending_pause TO tocsin_app;
GRANT UPDATE (state, released_at) ON warning TO tocsin_app;
GRANT UPDATE (state, warning_id, updated_at) ON rule_state TO tocsin_app;  -- a warning taken back in error
GRANT UPDATE (withdrawn_at, consent_at) ON contact_point TO tocsin_app;
GRANT UPDATE (handled_at, handled_by) ON answer TO tocsin_app;
GRANT DELETE ON session, sending_pause TO tocsin_app;

-- Sign-in happens before a tenant is known. These functions run with the worker's rights, answer for one exact key, and
-- are all that tocsin_app can see across tenants.
CREATE FUNCTION find_principal(login_ text)
    RETURNS TABLE (principal_id uuid, tenant_id uuid, login text, display_name text, password_hash text, roles text[],
                   disabled_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT p.principal_id, p.tenant_id, p.login, p.display_name, p.password_hash, p.roles, p.disabled_at
      FROM public.principal AS p WHERE p.login = login_ $$;

-- The wall decides when a session ends, also in an exercise.
CREATE FUNCTION find_session(token_sha256_ bytea)
    RETURNS TABLE (principal_id uuid, tenant_id uuid, login text, display_name text, roles text[], expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT p.principal_id, p.tenant_id, p.login, p.display_name, p.roles, s.expires_at
      FROM public.session AS s JOIN public.principal AS p ON p.principal_id = s.principal_id
      WHERE s.token_sha256 = token_sha256_ AND s.expires_at > now() AND p.disabled_at IS NULL $$;

CREATE FUNCTION find_api_key(key_sha256_ bytea)
    RETURNS TABLE (api_key_id uuid, tenant_id uuid, name text, roles text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT k.api_key_id, k.tenant_id, k.name, k.roles
      FROM public.api_key AS k WHERE k.key_sha256 = key_sha256_ AND k.revoked_at IS NULL $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION find_principal(text), find_session(bytea), find_api_key(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_principal(text), find_session(bytea), find_api_key(bytea) TO tocsin_app;
GRANT CREATE ON SCHEMA public TO tocsin_worker;  -- a new owner must be able to create; taken back at once
ALTER FUNCTION find_principal(text) OWNER TO tocsin_worker;
ALTER FUNCTION find_session(bytea) OWNER TO tocsin_worker;
ALTER FUNCTION find_api_key(bytea) OWNER TO tocsin_worker;
REVOKE CREATE ON SCHEMA public FROM tocsin_worker;
