-- How much work there is for workers.

-- name: read_demand
-- Runs that are running, those that a further worker could begin at once, and how long the
-- oldest of these has been due, in seconds. What waits for a limit, for its session's earlier
-- run or for its next attempt isn't counted: no worker could take it.
WITH running AS (
    SELECT org_id, crew, count(*) AS n FROM runs WHERE status = 'running' GROUP BY org_id, crew
), due AS (
    SELECT r.org_id, r.crew, count(*) AS n, min(r.available_at) AS since
    FROM runs r
    WHERE r.status = 'queued' AND r.available_at <= now()
        AND (r.turn IS NULL OR NOT EXISTS (
            SELECT FROM runs e
            WHERE e.session_id = r.session_id AND e.turn < r.turn AND e.finished_at IS NULL
        ))
    GROUP BY r.org_id, r.crew
), of_crews AS (
    -- least() passes over NULL, which is no limit.
    SELECT d.org_id, d.since,
        least(d.n, CASE WHEN l.max_running IS NOT NULL
            THEN greatest(l.max_running - COALESCE(r.n, 0), 0) END) AS n
    FROM due d
    LEFT JOIN crew_limits l USING (org_id, crew)
    LEFT JOIN running r USING (org_id, crew)
), of_orgs AS (
    SELECT least(sum(c.n), CASE WHEN o.max_running IS NOT NULL THEN greatest(
            o.max_running - (SELECT COALESCE(sum(r.n), 0) FROM running r WHERE r.org_id = o.id), 0
        ) END) AS n,
        min(c.since) FILTER (WHERE c.n > 0) AS since
    FROM of_crews c JOIN orgs o ON o.id = c.org_id
    GROUP BY o.id
)
SELECT (SELECT COALESCE(sum(n), 0) FROM running)::bigint AS running,
    COALESCE(sum(n), 0)::bigint AS startable,
    COALESCE(extract(epoch FROM now() - min(since) FILTER (WHERE n > 0)), 0)::float8
        AS oldest_seconds
FROM of_orgs;
