-- Crews' definitions. Every statement is one transaction.

-- name: put_crew
-- Makes the next version, unless this content is current already. No row when there would
-- be too many crews, or too many versions of this one.
WITH crew AS (
    INSERT INTO crews AS c (org_id, name, current_version, current_hash, newest_version)
    SELECT %(org_id)s::uuid, %(name)s, 1, %(hash)s::bytea, 1
    WHERE (
        SELECT count(*) FROM crews
        WHERE org_id = %(org_id)s::uuid AND deleted_at IS NULL AND name <> %(name)s
    ) < %(max_crews)s
    ON CONFLICT (org_id, name) DO UPDATE SET
        newest_version = c.newest_version
            + (c.deleted_at IS NOT NULL OR c.current_hash <> excluded.current_hash)::int,
        current_version = CASE
            WHEN c.deleted_at IS NULL AND c.current_hash = excluded.current_hash
            THEN c.current_version ELSE c.newest_version + 1 END,
        current_hash = excluded.current_hash,
        deleted_at = NULL
    WHERE c.newest_version < %(max_versions)s
        OR (c.deleted_at IS NULL AND c.current_hash = excluded.current_hash)
    RETURNING new.name, new.current_version,
        old.name IS NULL OR old.deleted_at IS NOT NULL AS created,
        old.newest_version IS DISTINCT FROM new.newest_version AS changed
), made AS (
    INSERT INTO crew_versions (org_id, name, version, definition, content_hash, created_by)
    SELECT %(org_id)s, name, current_version, %(definition)s::json, %(hash)s, %(created_by)s
    FROM crew WHERE changed
    RETURNING version, created_by, created_at
)
SELECT c.name, c.current_version, c.current_version AS version, c.created, c.changed,
    COALESCE(m.created_by, v.created_by) AS created_by,
    COALESCE(m.created_at, v.created_at) AS created_at
FROM crew c
LEFT JOIN made m ON true
LEFT JOIN crew_versions v
    ON v.org_id = %(org_id)s AND v.name = c.name AND v.version = c.current_version;

-- name: get_crew
SELECT v.name, v.version, v.created_by, v.created_at, c.current_version,
    CASE WHEN v.version IS DISTINCT FROM %(known_version)s THEN v.definition END AS definition
FROM crews c JOIN crew_versions v USING (org_id, name)
WHERE c.org_id = %(org_id)s AND c.name = %(name)s
    AND v.version = COALESCE(%(version)s::int, c.current_version)
    AND (c.deleted_at IS NULL OR %(pinned)s);

-- name: get_shared_crew
SELECT name, version, source, created_at, definition FROM shared_crew_versions
WHERE name = %(name)s AND version = %(version)s;

-- name: list_crews
-- With definitions, of up to max_bytes in all, but for one at least.
WITH page AS (
    SELECT v.name, v.version, v.created_by, v.created_at, c.current_version, v.definition,
        sum(octet_length(v.definition::text)) OVER (ORDER BY v.name) AS bytes,
        row_number() OVER (ORDER BY v.name) AS place
    FROM (
        SELECT * FROM crews
        WHERE org_id = %(org_id)s AND name > %(after_name)s AND deleted_at IS NULL
        ORDER BY name LIMIT %(limit)s
    ) c
    JOIN crew_versions v
        ON v.org_id = c.org_id AND v.name = c.name AND v.version = c.current_version
)
SELECT * FROM page WHERE bytes <= %(max_bytes)s OR place = 1 ORDER BY name;

-- name: list_versions
SELECT v.name, v.version, v.created_by, v.created_at, c.current_version, u.email AS created_by_email
FROM crews c JOIN crew_versions v USING (org_id, name)
LEFT JOIN users u ON u.org_id = c.org_id AND u.id::text = v.created_by
WHERE c.org_id = %(org_id)s AND c.name = %(name)s AND c.deleted_at IS NULL
    AND (%(before)s::int IS NULL OR v.version < %(before)s)
ORDER BY v.version DESC LIMIT %(limit)s;

-- name: list_shared_versions
SELECT id, name, version, source, created_at FROM shared_crew_versions
WHERE name = %(name)s AND (%(before)s::uuid IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: set_current_version
-- No row where there is no such crew, or it has no such version.
UPDATE crews c SET current_version = v.version, current_hash = v.content_hash
FROM crew_versions v
WHERE c.org_id = %(org_id)s AND c.name = %(name)s AND c.deleted_at IS NULL
    AND v.org_id = c.org_id AND v.name = c.name AND v.version = %(version)s
RETURNING v.name, v.version, v.created_by, v.created_at, v.definition, c.current_version;

-- name: delete_crew
UPDATE crews SET deleted_at = now()
WHERE org_id = %(org_id)s AND name = %(name)s AND deleted_at IS NULL
RETURNING name;

-- name: publish_crews
INSERT INTO shared_crew_versions (name, version, source, definition, content_hash)
SELECT * FROM unnest(
    %(names)s::text[], %(versions)s::text[], %(sources)s::text[], %(definitions)s::json[],
    %(hashes)s::bytea[]
) AS p (name, version, source, definition, content_hash)
ORDER BY name, version
ON CONFLICT DO NOTHING;

-- name: read_published
SELECT name, version, source, content_hash, created_at FROM shared_crew_versions
WHERE (name, version) IN (SELECT * FROM unnest(%(names)s::text[], %(versions)s::text[]));

-- name: list_owners
SELECT org_id, name FROM crews WHERE name = ANY(%(names)s) AND deleted_at IS NULL;
