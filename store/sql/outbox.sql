-- name: publish
-- One row for each consumer that subscribes, in the transaction of the fact itself; NOTIFY only says "look now".
WITH rows AS (
    SELECT consumer FROM unnest(%(consumers)s::text[]) AS consumer
), kept AS (
    INSERT INTO outbox (consumer, kind, ordering_key, tenant_id, payload)
    SELECT consumer, %(kind)s, %(ordering_key)s, %(tenant_id)s::uuid, %(payload)s FROM rows
)
SELECT pg_notify('tocsin_outbox', consumer) FROM rows;

-- name: claim_lock
-- One claimer of a consumer at a time, for the milliseconds a claim takes: two at once could each miss the other's lease.
SELECT pg_advisory_xact_lock(7463001, hashtext(%(consumer)s));

-- name: bury
-- Work that killed its worker again and again never reaches `fail`; it is found here, when its last lease has run out.
UPDATE outbox SET dead_at = clock_timestamp(), lease_until = NULL, claimed_by = NULL,
    last_error = coalesce(last_error, 'its worker died each time')
WHERE outbox_id IN (
    SELECT outbox_id FROM outbox
    WHERE consumer = %(consumer)s AND dead_at IS NULL AND attempts >= %(max_attempts)s AND lease_until < clock_timestamp()
    FOR UPDATE SKIP LOCKED)
RETURNING outbox_id, kind;

-- name: claim
-- The oldest live row of each ordering key among the oldest rows of all, unless another row of that key is leased: two
-- transactions can commit in another order than they took their ids, so an older row may appear while a younger one is at
-- work. Only the heads are looked at: thousands of rows behind one of them cost nothing.
WITH oldest AS MATERIALIZED (
    SELECT outbox_id, ordering_key FROM outbox
    WHERE consumer = %(consumer)s AND dead_at IS NULL ORDER BY outbox_id LIMIT %(window)s
), heads AS (
    SELECT min(outbox_id) AS outbox_id FROM oldest GROUP BY ordering_key
), due AS (
    SELECT o.outbox_id FROM heads JOIN outbox AS o ON o.outbox_id = heads.outbox_id
    WHERE o.dead_at IS NULL AND o.available_at <= clock_timestamp()
      AND (o.lease_until IS NULL OR o.lease_until < clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM outbox AS other
          WHERE other.consumer = o.consumer AND other.ordering_key = o.ordering_key AND other.dead_at IS NULL
            AND other.outbox_id <> o.outbox_id AND other.lease_until IS NOT NULL AND other.lease_until >= clock_timestamp())
    ORDER BY o.outbox_id
    LIMIT %(limit)s
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox AS o
SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), claimed_by = %(worker)s, attempts = o.attempts + 1
FROM due
WHERE o.outbox_id = due.outbox_id
RETURNING o.outbox_id, o.consumer, o.kind, o.ordering_key, o.tenant_id, o.payload, o.attempts, o.claimed_by;

-- name: claim_by_key
-- The same over every ordering key, one index probe a key: where the oldest rows are all of keys that wait.
WITH RECURSIVE keys AS (
    (SELECT ordering_key FROM outbox WHERE consumer = %(consumer)s AND dead_at IS NULL ORDER BY ordering_key LIMIT 1)
    UNION ALL
    SELECT (SELECT o.ordering_key FROM outbox AS o
            WHERE o.consumer = %(consumer)s AND o.dead_at IS NULL AND o.ordering_key > keys.ordering_key
            ORDER BY o.ordering_key LIMIT 1)
    FROM keys WHERE keys.ordering_key IS NOT NULL
), heads AS (
    SELECT (SELECT o.outbox_id FROM outbox AS o
            WHERE o.consumer = %(consumer)s AND o.ordering_key = keys.ordering_key AND o.dead_at IS NULL
            ORDER BY o.outbox_id LIMIT 1) AS outbox_id
    FROM keys WHERE keys.ordering_key IS NOT NULL
), due AS (
    SELECT o.outbox_id FROM heads JOIN outbox AS o ON o.outbox_id = heads.outbox_id
    WHERE o.dead_at IS NULL AND o.available_at <= clock_timestamp()
      AND (o.lease_until IS NULL OR o.lease_until < clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM outbox AS other
          WHERE other.consumer = o.consumer AND other.ordering_key = o.ordering_key AND other.dead_at IS NULL
            AND other.outbox_id <> o.outbox_id AND other.lease_until IS NOT NULL AND other.lease_until >= clock_timestamp())
    ORDER BY o.outbox_id
    LIMIT %(limit)s
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox AS o
SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s), claimed_by = %(worker)s, attempts = o.attempts + 1
FROM due
WHERE o.outbox_id = due.outbox_id
RETURNING o.outbox_id, o.consumer, o.kind, o.ordering_key, o.tenant_id, o.payload, o.attempts, o.claimed_by;

-- name: more_than
SELECT EXISTS (SELECT FROM outbox WHERE consumer = %(consumer)s AND dead_at IS NULL ORDER BY outbox_id OFFSET %(window)s);

-- name: hold
-- Locks the row while its work is done, if the lease is still this worker's: claims skip locked rows, so even a lease
-- that runs out meanwhile does not bring a second worker.
SELECT FROM outbox
WHERE outbox_id = %(outbox_id)s AND claimed_by = %(worker)s AND attempts = %(attempts)s AND dead_at IS NULL
FOR UPDATE;

-- name: extend
-- Leases of work that waits its turn in this worker; those another worker took meanwhile stay out.
UPDATE outbox SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
WHERE outbox_id = ANY(%(ids)s) AND claimed_by = %(worker)s AND dead_at IS NULL
RETURNING outbox_id;

-- name: complete
DELETE FROM outbox WHERE outbox_id = ANY(%(ids)s) RETURNING outbox_id;

-- name: take_along
-- Completes the younger rows of a key that is held, up to the first that waits for another attempt. Nobody else can have
-- them: one row of a key at a time is leased, and that is the older one.
DELETE FROM outbox WHERE outbox_id IN (
    SELECT o.outbox_id FROM outbox AS o
    WHERE o.consumer = %(consumer)s AND o.ordering_key = %(ordering_key)s AND o.dead_at IS NULL
      AND o.outbox_id > %(outbox_id)s
      AND o.outbox_id < coalesce((
          SELECT min(other.outbox_id) FROM outbox AS other
          WHERE other.consumer = o.consumer AND other.ordering_key = o.ordering_key AND other.dead_at IS NULL
            AND other.outbox_id > %(outbox_id)s
            AND (other.kind <> %(kind)s OR other.attempts > 0 OR other.lease_until IS NOT NULL
                 OR other.available_at > clock_timestamp())), 9223372036854775807)
    ORDER BY o.outbox_id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)
RETURNING outbox_id, consumer, kind, ordering_key, tenant_id, payload, attempts;

-- name: fail
-- Tried again later, twice as late each time up to five minutes; after the last attempt it is a dead letter.
UPDATE outbox
SET lease_until = NULL, claimed_by = NULL, last_error = %(error)s,
    attempts = CASE WHEN %(counts)s THEN attempts ELSE attempts - 1 END,
    dead_at = CASE WHEN %(counts)s AND attempts >= %(max_attempts)s THEN clock_timestamp() END,
    available_at = clock_timestamp() + make_interval(secs => %(retry_after_s)s)
WHERE outbox_id = %(outbox_id)s AND claimed_by = %(worker)s AND attempts = %(attempts)s
RETURNING dead_at IS NOT NULL AS dead;

-- name: release
-- Given back untouched, as a worker that stops does.
UPDATE outbox SET lease_until = NULL, claimed_by = NULL, attempts = attempts - 1
WHERE outbox_id = ANY(%(ids)s) AND claimed_by = %(worker)s;

-- name: dead_letters
SELECT outbox_id, consumer, kind, payload, published_at, dead_at, last_error FROM outbox
WHERE dead_at IS NOT NULL AND (%(consumer)s::text IS NULL OR consumer = %(consumer)s) ORDER BY outbox_id;

-- name: revive
-- A dead letter gets all its attempts again.
UPDATE outbox SET dead_at = NULL, attempts = 0, available_at = clock_timestamp(), lease_until = NULL, claimed_by = NULL
WHERE outbox_id = %(outbox_id)s AND dead_at IS NOT NULL
RETURNING consumer;

-- name: sequence_lock
-- Holding the head row keeps every other sequencer out until this one has committed, so that ids appear in order.
SELECT stream_id FROM stream_head FOR UPDATE;

-- name: sequence
-- After `sequence_lock`, in the same transaction and with a younger snapshot.
WITH head AS (
    SELECT stream_id FROM stream_head
), taken AS (
    DELETE FROM outbox
    WHERE outbox_id IN (
        SELECT outbox_id FROM outbox WHERE consumer = 'stream' AND dead_at IS NULL ORDER BY outbox_id LIMIT %(limit)s)
    RETURNING outbox_id, kind, tenant_id, payload, published_at
), given AS (
    INSERT INTO stream_event (stream_id, tenant_id, kind, payload, at)
    SELECT head.stream_id + row_number() OVER (ORDER BY taken.outbox_id), taken.tenant_id, taken.kind, taken.payload,
           taken.published_at
    FROM taken CROSS JOIN head
    RETURNING stream_id
), moved AS (
    UPDATE stream_head SET stream_id = (SELECT max(stream_id) FROM given) WHERE EXISTS (SELECT FROM given)
    RETURNING stream_id
)
SELECT (SELECT count(*) FROM given), (SELECT stream_id FROM moved),
       (SELECT pg_notify('tocsin_stream', stream_id::text) FROM moved);
