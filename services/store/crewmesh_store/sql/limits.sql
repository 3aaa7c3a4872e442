-- name: get_limits
SELECT o.max_running, o.max_queued, COALESCE(
    (SELECT json_agg(json_build_array(crew, max_running) ORDER BY crew)
        FROM crew_limits WHERE org_id = o.id),
    '[]'
) AS crews
FROM orgs o WHERE o.id = %(org_id)s;

-- name: set_limits
-- Replaces all of an organisation's limits.
WITH org AS (
    UPDATE orgs SET max_running = %(max_running)s, max_queued = %(max_queued)s
    WHERE id = %(org_id)s
    RETURNING id
), lifted AS (
    DELETE FROM crew_limits WHERE org_id = %(org_id)s AND crew <> ALL(%(crews)s::text[])
)
INSERT INTO crew_limits (org_id, crew, max_running)
SELECT org.id, c.crew, c.max_running
FROM org, unnest(%(crews)s::text[], %(crew_limits)s::int[]) AS c (crew, max_running)
ON CONFLICT (org_id, crew) DO UPDATE SET max_running = excluded.max_running;
