-- name: audit_lock
SELECT pg_advisory_xact_lock(7463002, hashtext(%(tenant_id)s::uuid::text));

-- name: audit_head
SELECT seq, row_hash FROM audit WHERE tenant_id = %(tenant_id)s ORDER BY seq DESC LIMIT 1;

-- name: audit_append
INSERT INTO audit (tenant_id, seq, at, actor, action, object, detail, prev_hash, row_hash)
VALUES (%(tenant_id)s, %(seq)s, %(at)s, %(actor)s, %(action)s, %(object)s, %(detail)s, %(prev_hash)s, %(row_hash)s);

-- name: audit_rows
SELECT seq, at, actor, action, object, detail, prev_hash, row_hash FROM audit WHERE tenant_id = %(tenant_id)s ORDER BY seq;
