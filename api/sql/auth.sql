-- Sign-in. Run as tocsin_worker: there is no tenant to ask as until a session is found.

-- name: count_try
-- Counts one try of a subject before its password is looked at; no row where the subject has to wait.
INSERT INTO login_throttle AS t (subject_sha256, n_tries, last_try_at, blocked_until)
VALUES (%(subject)s, 1, clock_timestamp(), NULL)
ON CONFLICT (subject_sha256) DO UPDATE SET
    n_tries = CASE WHEN t.last_try_at < clock_timestamp() - %(window_s)s * interval '1 second' THEN 1
                   ELSE t.n_tries + 1 END,
    last_try_at = clock_timestamp(),
    blocked_until = CASE
        WHEN t.last_try_at < clock_timestamp() - %(window_s)s * interval '1 second' OR t.n_tries < %(n_free)s THEN NULL
        ELSE clock_timestamp() + least(
            %(first_wait_s)s * power(2::float8, least(t.n_tries - %(n_free)s, 20)::float8), %(longest_wait_s)s) * interval '1 second'
    END
WHERE t.blocked_until IS NULL OR t.blocked_until <= clock_timestamp()
RETURNING n_tries;

-- name: wait_of
-- Seconds that a subject still has to wait.
SELECT greatest(extract(epoch FROM blocked_until - clock_timestamp()), 0)::float8 AS wait_s
FROM login_throttle WHERE subject_sha256 = %(subject)s AND blocked_until IS NOT NULL;

-- name: forget_account_tries
DELETE FROM login_throttle WHERE subject_sha256 = %(account)s;

-- name: return_address_try
-- A right password costs its address nothing.
UPDATE login_throttle SET n_tries = greatest(n_tries - 1, 0) WHERE subject_sha256 = %(address)s;

-- name: sweep_tries
DELETE FROM login_throttle
WHERE last_try_at < clock_timestamp() - interval '1 day' AND coalesce(blocked_until < clock_timestamp(), true);

-- name: find_principal
SELECT principal_id, tenant_id, login, display_name, password_hash, roles, disabled_at
FROM principal WHERE login = %(login)s;

-- name: open_session
INSERT INTO session (token_sha256, principal_id, tenant_id, expires_at)
VALUES (%(token_sha256)s, %(principal_id)s, %(tenant_id)s, clock_timestamp() + %(hours)s * interval '1 hour')
RETURNING expires_at;

-- name: sweep_sessions
DELETE FROM session WHERE expires_at < clock_timestamp();

-- name: find_session
-- The account behind a session, as it is now: a role taken away or an account disabled counts from the next request.
SELECT s.tenant_id, s.principal_id, s.expires_at, p.login, p.display_name, p.roles
FROM session AS s
JOIN principal AS p ON p.principal_id = s.principal_id AND p.tenant_id = s.tenant_id
WHERE s.token_sha256 = %(token_sha256)s AND s.expires_at > clock_timestamp() AND p.disabled_at IS NULL;

-- name: close_session
DELETE FROM session WHERE token_sha256 = %(token_sha256)s;

-- name: update_password
UPDATE principal SET password_hash = %(password_hash)s WHERE principal_id = %(principal_id)s;

-- name: find_api_key
SELECT api_key_id, tenant_id, name, roles FROM api_key WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL;

-- name: ensure_tenant
INSERT INTO tenant (tenant_id, slug, name) VALUES (%(tenant_id)s, %(slug)s, %(slug)s)
ON CONFLICT (slug) DO UPDATE SET slug = excluded.slug
RETURNING tenant_id;

-- name: insert_principal
INSERT INTO principal (principal_id, tenant_id, login, display_name, password_hash, roles)
VALUES (%(principal_id)s, %(tenant_id)s, %(login)s, %(display_name)s, %(password_hash)s, %(roles)s)
ON CONFLICT (login) DO NOTHING
RETURNING principal_id;

-- name: insert_api_key
INSERT INTO api_key (api_key_id, tenant_id, name, key_sha256, roles)
VALUES (%(api_key_id)s, %(tenant_id)s, %(name)s, %(key_sha256)s, %(roles)s)
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING api_key_id;

-- name: find_tenant
SELECT tenant_id, slug, name FROM tenant WHERE tenant_id = %(tenant_id)s;

-- name: policyholder_exists
SELECT 1 AS found FROM policyholder WHERE policyholder_id = %(policyholder_id)s;

-- name: hold_key
-- True for the one transaction that works on this key; the lock ends with it.
SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, 1869771621)) AS held;

-- name: find_idempotent
SELECT body_sha256, status, body FROM idempotency WHERE tenant_id = %(tenant_id)s AND key = %(key)s;

-- name: insert_idempotent
INSERT INTO idempotency (tenant_id, key, body_sha256, status, body)
VALUES (%(tenant_id)s, %(key)s, %(body_sha256)s, %(status)s, %(body)s);
