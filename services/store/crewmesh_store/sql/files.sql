-- name: create_dataset
INSERT INTO datasets (id, org_id, name, media_type, size_bytes, sha256)
VALUES (%(id)s, %(org_id)s, %(name)s, %(media_type)s, %(size_bytes)s, %(sha256)s)
RETURNING *;

-- name: list_datasets
SELECT * FROM datasets
WHERE org_id = %(org_id)s AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: get_dataset
SELECT * FROM datasets WHERE org_id = %(org_id)s AND id = %(id)s;

-- name: get_newest_dataset
SELECT * FROM datasets WHERE org_id = %(org_id)s AND name = %(name)s ORDER BY id DESC LIMIT 1;

-- name: delete_dataset
DELETE FROM datasets WHERE org_id = %(org_id)s AND id = %(id)s RETURNING id;

-- name: create_artifact
-- No row when the lease is no longer the writer's. The same artifact again changes nothing.
INSERT INTO artifacts (id, org_id, run_id, name, media_type, size_bytes, sha256)
SELECT %(id)s, org_id, id, %(name)s, %(media_type)s, %(size_bytes)s, %(sha256)s
FROM runs WHERE id = %(run_id)s AND epoch = %(epoch)s AND status = 'running'
ON CONFLICT (id) DO UPDATE SET name = artifacts.name WHERE artifacts.run_id = excluded.run_id
RETURNING *;

-- name: list_artifacts_of_runs
SELECT * FROM artifacts
WHERE org_id = %(org_id)s::uuid AND run_id = ANY(%(run_ids)s::uuid[]) ORDER BY id;

-- name: list_artifacts
SELECT * FROM artifacts WHERE org_id = %(org_id)s AND run_id = %(run_id)s ORDER BY id;

-- name: get_artifact
SELECT * FROM artifacts WHERE org_id = %(org_id)s AND id = %(id)s;
