-- Feeds of others and what they bring beyond readings. Without a tenant a row is public.

-- One source, off until somebody turns it on. What follows `on_` is how it does.
CREATE TABLE feed (
    feed_id       uuid PRIMARY KEY,
    tenant_id     uuid REFERENCES tenant,
    code          text NOT NULL,
    kind          text NOT NULL,                   -- see ingest/poll.py
    name          text NOT NULL,
    url           text NOT NULL,
    options       jsonb NOT NULL DEFAULT '{}',
    enabled       boolean NOT NULL DEFAULT false,
    interval_s    double precision NOT NULL DEFAULT 300 CHECK (interval_s BETWEEN 5 AND 86400),
    etag          text,
    last_modified text,
    state         text NOT NULL DEFAULT 'unknown' CHECK (state IN ('unknown', 'up', 'down')),
    since         timestamptz,
    tried_at      timestamptz,
    answered_at   timestamptz,                     -- last good answer, also "nothing new": what is shown is as old as this
    due_at        timestamptz,
    n_failures    integer NOT NULL DEFAULT 0,
    detail        text NOT NULL DEFAULT '',
    UNIQUE NULLS NOT DISTINCT (tenant_id, code)
);

-- Official bulletins, judged; each once and never changed but for what a later one did to it.
CREATE TABLE bulletin (
    bulletin_id    uuid PRIMARY KEY,
    feed_id        uuid NOT NULL REFERENCES feed,
    tenant_id      uuid REFERENCES tenant,         -- its feed's
    seen_at        timestamptz NOT NULL,
    raw_sha256     bytea NOT NULL,
    raw            bytea NOT NULL,
    link           text NOT NULL DEFAULT '',
    verdict        text NOT NULL CHECK (verdict IN ('accept', 'accept-with-warnings', 'store-only', 'conflict', 'reject')),
    reasons        text[] NOT NULL DEFAULT '{}',
    would_notify   boolean NOT NULL,
    sender         text,
    identifier     text,
    sent_at        timestamptz,
    status         text,
    msg_type       text,
    references_    text[] NOT NULL DEFAULT '{}',
    content_sha256 bytea,
    event          text,
    severity       text,
    headline       text,
    languages      text[] NOT NULL DEFAULT '{}',
    colour         text CHECK (colour IN ('blue', 'yellow', 'orange', 'red')),
    onset_at       timestamptz,
    expires_at     timestamptz,
    area           bytea,                          -- multipolygon; none: named by codes or words alone
    geocodes       jsonb NOT NULL DEFAULT '[]',
    ended_by       uuid REFERENCES bulletin,       -- the update or cancel that took its place
    UNIQUE (feed_id, raw_sha256),
    CHECK (NOT would_notify OR verdict IN ('accept', 'accept-with-warnings'))
);
CREATE INDEX bulletin_name ON bulletin (sender, identifier);
CREATE INDEX bulletin_live ON bulletin (expires_at) WHERE would_notify AND ended_by IS NULL;

-- What an event was known by: ids that change, and the newest telling of it.
CREATE TABLE hazard_alias (
    alias           text NOT NULL,
    feed_id         uuid NOT NULL REFERENCES feed,
    hazard_event_id uuid NOT NULL REFERENCES hazard_event,
    tenant_id       uuid REFERENCES tenant,
    updated_at      timestamptz NOT NULL,
    deleted         boolean NOT NULL DEFAULT false,
    facts           jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (feed_id, alias)
);

-- Hints from the news: shown with their source, never a trigger.
CREATE TABLE signal (
    feed_id   uuid NOT NULL REFERENCES feed,
    tenant_id uuid REFERENCES tenant,
    link      text NOT NULL,
    title     text NOT NULL,
    source    text NOT NULL,
    said_at   timestamptz,
    seen_at   timestamptz NOT NULL,
    weight    double precision NOT NULL CHECK (weight BETWEEN 0 AND 0.1),
    PRIMARY KEY (feed_id, link)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['feed', 'bulletin', 'hazard_alias', 'signal'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON %I TO tocsin_worker USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY own_or_public ON %I FOR SELECT TO tocsin_app'
                       ' USING (tenant_id IS NULL OR tenant_id = current_setting(''app.tenant'')::uuid)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON feed, bulletin, hazard_alias, signal TO tocsin_worker;
GRANT SELECT ON feed, bulletin, hazard_alias, signal TO tocsin_app;
