-- name: try_lead
SELECT pg_try_advisory_lock(hashtextextended('lead:' || %(role)s::text, 0));

-- name: still_here
-- The session that holds the lock answers: it holds it still.
SELECT true WHERE %(role)s::text IS NOT NULL;
