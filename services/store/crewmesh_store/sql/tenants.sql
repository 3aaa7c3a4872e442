-- What organisations have set for their runs: secrets and a policy.

-- name: put_secret
INSERT INTO secrets (org_id, name, key_id, sealed, ending, created_by)
VALUES (%(org_id)s, %(name)s, %(key_id)s, %(sealed)s, %(ending)s, %(created_by)s)
ON CONFLICT (org_id, name) DO UPDATE SET
    key_id = excluded.key_id, sealed = excluded.sealed, ending = excluded.ending,
    created_by = excluded.created_by, created_at = now()
RETURNING *;

-- name: list_secrets
SELECT name, ending, created_by, created_at FROM secrets WHERE org_id = %(org_id)s ORDER BY name;

-- name: get_secret
SELECT name, ending, created_by, created_at FROM secrets
WHERE org_id = %(org_id)s AND name = %(name)s;

-- name: delete_secret
DELETE FROM secrets WHERE org_id = %(org_id)s AND name = %(name)s RETURNING name;

-- name: get_policy
SELECT policy, updated_at FROM policies WHERE org_id = %(org_id)s;

-- name: put_policy
INSERT INTO policies (org_id, policy, updated_by) VALUES (%(org_id)s, %(policy)s, %(updated_by)s)
ON CONFLICT (org_id) DO UPDATE SET
    policy = excluded.policy, updated_by = excluded.updated_by, updated_at = clock_timestamp();
