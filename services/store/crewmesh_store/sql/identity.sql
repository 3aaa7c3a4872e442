-- name: lock_owner
-- One replica at a time, until the transaction ends.
SELECT pg_advisory_xact_lock(7201449);

-- name: create_owner
-- No row where there is an organisation already.
WITH org AS (
    INSERT INTO orgs (name) SELECT %(org_name)s::text WHERE NOT EXISTS (SELECT FROM orgs) RETURNING id
), owner AS (
    INSERT INTO users (org_id, email, role) SELECT id, %(email)s, 'owner' FROM org RETURNING id, org_id
)
INSERT INTO api_keys (org_id, user_id, name, prefix, secret_hash)
SELECT org_id, id, 'first key', %(prefix)s, %(secret_hash)s FROM owner
RETURNING id;

-- name: find_principal
SELECT k.id AS api_key_id, u.id AS user_id, u.email, u.role, o.id AS org_id, o.name AS org_name
FROM api_keys k JOIN users u ON u.id = k.user_id JOIN orgs o ON o.id = k.org_id
WHERE k.secret_hash = %(secret_hash)s AND k.revoked_at IS NULL;

-- name: see_api_key
-- At most once a minute: a write for each request would be a needless load.
UPDATE api_keys SET last_used_at = now()
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: create_api_key
INSERT INTO api_keys (org_id, user_id, name, prefix, secret_hash)
VALUES (%(org_id)s, %(user_id)s, %(name)s, %(prefix)s, %(secret_hash)s)
RETURNING *;

-- name: list_api_keys
SELECT * FROM api_keys WHERE org_id = %(org_id)s ORDER BY id;

-- name: revoke_api_key
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, now())
WHERE id = %(id)s AND org_id = %(org_id)s
RETURNING id;
