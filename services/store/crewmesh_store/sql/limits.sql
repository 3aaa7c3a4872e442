-- name: get_limits
SELECT o.max_running, o.max_queued, o.max_requests_per_minute, COALESCE(
    (SELECT json_agg(json_build_array(crew, max_running) ORDER BY crew)
        FROM crew_limits WHERE org_id = o.id),
    '[]'
) AS crews
FROM orgs o WHERE o.id = %(org_id)s;

-- name: set_limits
-- Replaces all of an organisation's limits.
WITH org AS (
    UPDATE orgs SET max_running = %(max_running)s, max_queued = %(max_queued)s,
        max_requests_per_minute = %(max_requests_per_minute)s
    WHERE id = %(org_id)s
    RETURNING id
), lifted AS (
    DELETE FROM crew_limits WHERE org_id = %(org_id)s AND crew <> ALL(%(crews)s::text[])
)
INSERT INTO crew_limits (org_id, crew, max_running)
SELECT org.id, c.crew, c.max_running
FROM org, unnest(%(crews)s::text[], %(crew_limits)s::int[]) AS c (crew, max_running)
ON CONFLICT (org_id, crew) DO UPDATE SET max_running = excluded.max_running;

-- name: count_requests
-- In order, so that two of these never wait for each other. Who owes more than two minutes, because
-- the edges counted alone while no store could be asked, owes two.
INSERT INTO request_counts AS c (subject, whole_at)
SELECT subject, now() + least(seconds, 120) * interval '1 second'
FROM unnest(%(subjects)s::text[], %(seconds)s::float8[]) AS asked (subject, seconds)
ORDER BY subject
ON CONFLICT (subject) DO UPDATE SET whole_at = least(
    greatest(c.whole_at, now()) + (excluded.whole_at - now()), now() + interval '120 seconds'
)
RETURNING subject, extract(epoch FROM whole_at - clock_timestamp())::float8 AS seconds;

-- name: forget_request_counts
-- None that is being counted on: it would wait for that, and that for it.
DELETE FROM request_counts WHERE subject IN (
    SELECT subject FROM request_counts WHERE whole_at < now() FOR UPDATE SKIP LOCKED
);
