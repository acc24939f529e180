-- name: keep_feed
-- Adds a feed, off, or renews its name and address; whether it is on stays as it is.
INSERT INTO feed (feed_id, tenant_id, code, kind, name, url, options, interval_s)
VALUES (%(feed_id)s, %(tenant_id)s, %(code)s, %(kind)s, %(name)s, %(url)s, %(options)s::jsonb, %(interval_s)s)
ON CONFLICT (tenant_id, code) DO UPDATE
SET kind = excluded.kind, name = excluded.name, url = excluded.url, options = excluded.options,
    interval_s = excluded.interval_s, etag = CASE WHEN feed.url = excluded.url THEN feed.etag END,
    last_modified = CASE WHEN feed.url = excluded.url THEN feed.last_modified END
RETURNING (xmax = 0);

-- name: turn_feed
UPDATE feed SET enabled = %(enabled)s, due_at = NULL, n_failures = 0 WHERE code = %(code)s;

-- name: list_feeds
SELECT feed_id, tenant_id, code, kind, name, url, options, enabled, interval_s, etag, last_modified, state, since, tried_at,
       answered_at, n_failures, detail,
       (SELECT count(*) FROM bulletin AS b WHERE b.feed_id = feed.feed_id) AS n_bulletins
FROM feed WHERE (%(code)s::text IS NULL OR code = %(code)s) ORDER BY code COLLATE "C";

-- name: enabled_feeds
SELECT feed_id, tenant_id, code, kind, name, url, options, enabled, interval_s, etag, last_modified, state, since, tried_at,
       answered_at, n_failures, detail, 0
FROM feed WHERE enabled ORDER BY code COLLATE "C";

-- name: due_feeds
SELECT feed_id, tenant_id, code, kind, name, url, options, enabled, interval_s, etag, last_modified, state, since, tried_at,
       answered_at, n_failures, detail, 0
FROM feed WHERE enabled AND kind <> ALL (%(listened)s) AND (due_at IS NULL OR due_at <= %(now)s) ORDER BY due_at NULLS FIRST LIMIT %(limit)s;

-- name: keep_poll
UPDATE feed SET etag = %(etag)s, last_modified = %(last_modified)s, state = %(state)s, since = %(since)s,
    tried_at = %(now)s, answered_at = coalesce(%(answered_at)s, answered_at), due_at = %(due_at)s,
    n_failures = %(n_failures)s, detail = %(detail)s
WHERE feed_id = %(feed_id)s;

-- name: keep_heard
-- How a feed that speaks first does: whether its broker is there, and when it last said something.
UPDATE feed SET since = CASE WHEN state = %(state)s THEN since ELSE %(now)s END, state = %(state)s, tried_at = %(now)s,
    answered_at = coalesce(%(answered_at)s, answered_at), detail = %(detail)s
WHERE feed_id = %(feed_id)s;

-- name: known_bulletins
-- What judging needs of messages that came before, oldest first.
SELECT sender, identifier, content_sha256, sent_at, status, msg_type, references_, would_notify, ended_by IS NOT NULL
FROM bulletin WHERE content_sha256 IS NOT NULL AND verdict NOT IN ('conflict', 'reject')
  AND seen_at > %(now)s - interval '90 days'
ORDER BY seen_at, bulletin_id;

-- name: seen_links
SELECT DISTINCT link FROM bulletin WHERE feed_id = %(feed_id)s AND link = ANY(%(links)s);

-- name: keep_bulletin
INSERT INTO bulletin (bulletin_id, feed_id, tenant_id, seen_at, raw_sha256, raw, link, verdict, reasons, would_notify, sender,
    identifier, sent_at, status, msg_type, references_, content_sha256, event, severity, headline, languages, colour, onset_at,
    expires_at, area, geocodes)
VALUES (%(bulletin_id)s, %(feed_id)s, %(tenant_id)s, %(seen_at)s, %(raw_sha256)s, %(raw)s, %(link)s, %(verdict)s, %(reasons)s,
    %(would_notify)s, %(sender)s, %(identifier)s, %(sent_at)s, %(status)s, %(msg_type)s, %(references_)s, %(content_sha256)s,
    %(event)s, %(severity)s, %(headline)s, %(languages)s, %(colour)s, %(onset_at)s, %(expires_at)s, %(area)s, %(geocodes)s::jsonb)
ON CONFLICT (feed_id, raw_sha256) DO NOTHING
RETURNING bulletin_id;

-- name: end_bulletins
UPDATE bulletin SET ended_by = %(by)s
WHERE ended_by IS NULL AND bulletin_id <> %(by)s
  AND (sender, identifier) IN (SELECT * FROM unnest(%(senders)s::text[], %(identifiers)s::text[]));

-- name: known_events
SELECT a.alias, a.hazard_event_id, a.updated_at, a.deleted, e.code, e.name, e.peril, e.started_at, a.facts
FROM hazard_alias AS a JOIN hazard_event AS e USING (hazard_event_id)
WHERE a.feed_id = %(feed_id)s AND e.started_at > %(since)s;

-- name: keep_event
INSERT INTO hazard_event (hazard_event_id, tenant_id, code, peril, name, started_at, ended_at)
VALUES (%(hazard_event_id)s, %(tenant_id)s, %(code)s, %(peril)s, %(name)s, %(started_at)s, %(ended_at)s)
ON CONFLICT (hazard_event_id) DO UPDATE SET name = excluded.name, ended_at = excluded.ended_at;

-- name: keep_alias
INSERT INTO hazard_alias (alias, feed_id, hazard_event_id, tenant_id, updated_at, deleted, facts)
VALUES (%(alias)s, %(feed_id)s, %(hazard_event_id)s, %(tenant_id)s, %(updated_at)s, %(deleted)s, %(facts)s::jsonb)
ON CONFLICT (feed_id, alias) DO UPDATE
SET updated_at = excluded.updated_at, deleted = excluded.deleted, facts = excluded.facts
WHERE hazard_alias.updated_at <= excluded.updated_at;

-- name: add_footprint
INSERT INTO footprint (footprint_id, hazard_event_id, tenant_id, version, valid_at, made_how, geometry, zones)
SELECT %(footprint_id)s, %(hazard_event_id)s, %(tenant_id)s,
       coalesce((SELECT max(version) FROM footprint WHERE hazard_event_id = %(hazard_event_id)s), 0) + 1,
       %(valid_at)s, %(made_how)s, %(geometry)s, %(zones)s::jsonb;

-- name: keep_signal
INSERT INTO signal (feed_id, tenant_id, link, title, source, said_at, seen_at, weight)
VALUES (%(feed_id)s, %(tenant_id)s, %(link)s, %(title)s, %(source)s, %(said_at)s, %(seen_at)s, %(weight)s)
ON CONFLICT (feed_id, link) DO NOTHING;

-- name: set_aside
-- A message of a feed that cannot be read: the same one again is counted.
INSERT INTO quarantine (quarantine_id, fingerprint, topic, payload, reason, detail, first_seen_at, last_seen_at)
VALUES (%(quarantine_id)s, %(fingerprint)s, %(topic)s, %(payload)s, 'feed', %(detail)s, %(now)s, %(now)s)
ON CONFLICT (fingerprint) DO UPDATE SET last_seen_at = excluded.last_seen_at, n_seen = quarantine.n_seen + 1;

-- name: keep_grid
INSERT INTO gridded_forecast (gridded_forecast_id, feed_id, tenant_id, variable, quantity, issued_at, valid_at, lon, lat, field,
    received_at)
VALUES (%(gridded_forecast_id)s, %(feed_id)s, %(tenant_id)s, %(variable)s, %(quantity)s, %(issued_at)s, %(valid_at)s, %(lon)s,
        %(lat)s, %(field)s, %(now)s)
ON CONFLICT (feed_id, variable, issued_at) DO UPDATE
SET valid_at = excluded.valid_at, lon = excluded.lon, lat = excluded.lat, field = excluded.field, quantity = excluded.quantity,
    received_at = excluded.received_at
WHERE gridded_forecast.field <> excluded.field OR gridded_forecast.valid_at <> excluded.valid_at;

-- name: drop_grids
DELETE FROM gridded_forecast WHERE gridded_forecast_id IN (
    SELECT gridded_forecast_id FROM (
        SELECT gridded_forecast_id, row_number() OVER (PARTITION BY variable ORDER BY issued_at DESC) AS n
        FROM gridded_forecast WHERE feed_id = %(feed_id)s) AS runs
    WHERE n > %(kept)s);

-- name: newest_grids
SELECT DISTINCT ON (variable) variable, quantity, issued_at, valid_at, lon, lat, field, received_at
FROM gridded_forecast WHERE feed_id = %(feed_id)s ORDER BY variable, issued_at DESC;
