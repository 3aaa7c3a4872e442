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

-- name: find_principal_of_key
SELECT k.id AS api_key_id, k.scopes, u.id AS user_id, u.email, u.role, o.id AS org_id,
    o.name AS org_name, o.max_requests_per_minute
FROM api_keys k JOIN users u ON u.id = k.user_id JOIN orgs o ON o.id = k.org_id
WHERE k.secret_hash = %(secret_hash)s AND k.revoked_at IS NULL AND u.disabled_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > now());

-- name: find_principal_of_family
SELECT NULL AS api_key_id, '{*}'::text[] AS scopes, u.id AS user_id, u.email, u.role,
    o.id AS org_id, o.name AS org_name, o.max_requests_per_minute
FROM token_families f JOIN users u ON u.id = f.user_id JOIN orgs o ON o.id = f.org_id
WHERE f.id = %(family_id)s AND f.revoked_at IS NULL AND f.expires_at > now()
    AND u.disabled_at IS NULL;

-- name: see_api_key
-- At most once a minute: a write for each request would be a needless load.
UPDATE api_keys SET last_used_at = now()
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: create_api_key
-- For the caller, or for a service account; an owner's only where the caller may make owners.
INSERT INTO api_keys (org_id, user_id, name, prefix, secret_hash, scopes, expires_at)
SELECT org_id, id, %(name)s, %(prefix)s, %(secret_hash)s, %(scopes)s, %(expires_at)s
FROM users
WHERE id = %(user_id)s AND org_id = %(org_id)s AND disabled_at IS NULL AND (
    id = %(caller_id)s OR (service_account AND (role <> 'owner' OR %(may_own)s::boolean))
)
RETURNING *;

-- name: list_api_keys
SELECT * FROM api_keys
WHERE org_id = %(org_id)s AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
ORDER BY id;

-- name: revoke_api_key
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, now())
WHERE id = %(id)s AND org_id = %(org_id)s AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
RETURNING id;

-- name: create_user
-- No row when the address is taken.
INSERT INTO users (org_id, email, name, role, service_account, password_hash)
VALUES (%(org_id)s, %(email)s, %(name)s, %(role)s, %(service_account)s, %(password_hash)s)
ON CONFLICT DO NOTHING
RETURNING *;

-- name: list_users
SELECT * FROM users
WHERE org_id = %(org_id)s AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: get_user
SELECT * FROM users WHERE id = %(id)s AND org_id = %(org_id)s;

-- name: lock_owners
-- Whoever changes or removes an owner waits for whoever else does, so that one is left.
SELECT id FROM users WHERE org_id = %(org_id)s AND role = 'owner' ORDER BY id FOR UPDATE;

-- name: update_user
-- No row when it would leave the organisation without an owner who can act.
UPDATE users SET
    name = COALESCE(%(name)s::text, name),
    role = COALESCE(%(role)s::text, role),
    disabled_at = CASE %(disabled)s::boolean
        WHEN true THEN COALESCE(disabled_at, now()) WHEN false THEN NULL ELSE disabled_at END,
    password_hash = COALESCE(%(password_hash)s::text, password_hash)
WHERE id = %(id)s AND org_id = %(org_id)s AND (
    role <> 'owner'
    OR (COALESCE(%(role)s::text, role) = 'owner' AND %(disabled)s::boolean IS NOT TRUE)
    OR EXISTS (
        SELECT FROM users other WHERE other.org_id = %(org_id)s AND other.id <> %(id)s
            AND other.role = 'owner' AND other.disabled_at IS NULL
    )
)
RETURNING *;

-- name: delete_user
-- The same holds here.
DELETE FROM users
WHERE id = %(id)s AND org_id = %(org_id)s AND (
    role <> 'owner'
    OR EXISTS (
        SELECT FROM users other WHERE other.org_id = %(org_id)s AND other.id <> %(id)s
            AND other.role = 'owner' AND other.disabled_at IS NULL
    )
)
RETURNING id;

-- name: find_sign_in
SELECT id, org_id, password_hash FROM users
WHERE lower(email) = lower(%(email)s) AND disabled_at IS NULL AND NOT service_account;

-- name: find_external
SELECT u.*, o.name AS org_name
FROM external_identities e JOIN users u ON u.id = e.user_id JOIN orgs o ON o.id = u.org_id
WHERE e.issuer = %(issuer)s AND e.subject = %(subject)s;

-- name: find_org
SELECT id FROM orgs WHERE name = %(name)s LIMIT 2;

-- name: lock_address
-- Two who come with one address are one after the other.
SELECT pg_advisory_xact_lock(7201450, hashtext(lower(%(email)s)));

-- name: link_external
-- The organisation's user with this address, or a new one. No row when the address is somebody's
-- who is elsewhere, disabled, a program or known to the issuer by another subject; or, without a
-- role, when there is none.
WITH there AS (
    SELECT * FROM users WHERE lower(email) = lower(%(email)s)
), made AS (
    INSERT INTO users (org_id, email, name, role)
    SELECT %(org_id)s, %(email)s, %(name)s, %(role)s
    WHERE %(role)s <> '' AND NOT EXISTS (SELECT FROM there)
    RETURNING *
), linked AS (
    INSERT INTO external_identities (issuer, subject, org_id, user_id)
    SELECT %(issuer)s, %(subject)s, org_id, id FROM made
    UNION ALL
    SELECT %(issuer)s, %(subject)s, org_id, id FROM there
    WHERE org_id = %(org_id)s AND disabled_at IS NULL AND NOT service_account
    ON CONFLICT DO NOTHING
    RETURNING user_id
)
SELECT u.* FROM linked JOIN (SELECT * FROM made UNION ALL SELECT * FROM there) u ON u.id = user_id;

-- name: set_said_role
-- Only owners make and unmake owners.
UPDATE users SET role = %(role)s WHERE id = %(id)s AND role NOT IN ('owner', %(role)s);

-- name: get_password_hash
SELECT password_hash FROM users WHERE id = %(id)s AND org_id = %(org_id)s;

-- name: set_password_hash
UPDATE users SET password_hash = %(password_hash)s WHERE id = %(id)s;

-- name: begin_family
WITH family AS (
    INSERT INTO token_families (id, org_id, user_id, expires_at)
    VALUES (%(family_id)s, %(org_id)s, %(user_id)s, now() + %(lifetime)s::interval)
    RETURNING id
), seen AS (
    UPDATE users SET last_sign_in_at = now() WHERE id = %(user_id)s
)
INSERT INTO refresh_tokens (hash, family_id) SELECT %(hash)s, id FROM family;

-- name: use_refresh_token
-- Marks the token as used and puts the next one in its place. A row with `reused` when
-- it was used before, which ends the family; no row when it is good for nothing.
WITH token AS (
    SELECT t.hash, t.used_at, f.id AS family_id, f.org_id, f.user_id
    FROM refresh_tokens t JOIN token_families f ON f.id = t.family_id
    JOIN users u ON u.id = f.user_id
    WHERE t.hash = %(hash)s AND f.revoked_at IS NULL AND f.expires_at > now()
        AND u.disabled_at IS NULL
    FOR UPDATE OF f, t
), used AS (
    UPDATE refresh_tokens r SET used_at = now()
    FROM token WHERE r.hash = token.hash AND token.used_at IS NULL
), next AS (
    INSERT INTO refresh_tokens (hash, family_id)
    SELECT %(next_hash)s, family_id FROM token WHERE used_at IS NULL
), ended AS (
    UPDATE token_families f SET revoked_at = now()
    FROM token WHERE f.id = token.family_id AND token.used_at IS NOT NULL
)
SELECT family_id, org_id, user_id, used_at IS NOT NULL AS reused FROM token;

-- name: end_family
UPDATE token_families f SET revoked_at = COALESCE(revoked_at, now())
FROM refresh_tokens t WHERE t.hash = %(hash)s AND f.id = t.family_id;

-- name: end_families_of_user
UPDATE token_families SET revoked_at = COALESCE(revoked_at, now())
WHERE user_id = %(user_id)s AND revoked_at IS NULL;

-- name: forget_families
DELETE FROM token_families WHERE expires_at < now() - interval '1 day';

-- name: read_sign_in_failures
-- Those of the last quarter of an hour.
SELECT max(failures) AS failures,
    extract(epoch FROM now() - max(last_at)) AS seconds_ago
FROM sign_in_failures
WHERE subject = %(subject)s AND last_at > now() - interval '15 minutes';

-- name: count_sign_in_failure
INSERT INTO sign_in_failures AS f (subject, failures)
SELECT subject, 1 FROM unnest(%(subjects)s::text[]) AS s (subject) ORDER BY subject
ON CONFLICT (subject) DO UPDATE SET
    failures = CASE WHEN f.last_at < now() - interval '15 minutes' THEN 1 ELSE f.failures + 1 END,
    last_at = now();

-- name: forget_sign_in_failures
-- Of the account that has signed in; its network address keeps its own.
DELETE FROM sign_in_failures WHERE subject = %(subject)s OR last_at < now() - interval '1 day';

-- name: lock_signing_keys
SELECT pg_advisory_xact_lock(7201450);

-- name: add_signing_key
-- No row while another signs for long enough, of those that can be read.
INSERT INTO signing_keys (id, private_key, sealed_by, public_jwk, signs_until, verifies_until)
SELECT %(id)s, %(private_key)s, %(sealed_by)s, %(public_jwk)s::json, now() + %(signs)s::interval,
    now() + %(signs)s::interval + %(token_lifetime)s::interval
WHERE NOT EXISTS (
    SELECT FROM signing_keys
    WHERE signs_until > now() + %(ahead)s::interval AND NOT id = ANY(%(unusable)s::text[])
)
RETURNING id;

-- name: read_signing_keys
SELECT *, signs_until > now() AS signs FROM signing_keys WHERE verifies_until > now()
ORDER BY created_at;

-- name: forget_signing_keys
DELETE FROM signing_keys WHERE verifies_until < now() - interval '1 day';
