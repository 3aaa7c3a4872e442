-- Webhooks of runs that have ended.

-- name: claim_deliveries
-- Takes what is due longest, and holds it for a while.
WITH due AS (
    SELECT run_id FROM deliveries
    WHERE status = 'due' AND next_try_at <= now()
    ORDER BY next_try_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET tries = d.tries + 1, next_try_at = now() + %(hold)s::interval
FROM due WHERE d.run_id = due.run_id
RETURNING d.run_id, d.org_id, d.url, d.secret, d.tries;

-- name: report_delivery
-- Of a claim that nobody has made again since.
UPDATE deliveries SET
    status = %(status)s, last_status = %(last_status)s, last_error = %(last_error)s,
    next_try_at = CASE WHEN %(status)s = 'due' THEN now() + %(pause)s::interval END,
    delivered_at = CASE WHEN %(status)s = 'delivered' THEN now() END
WHERE run_id = %(run_id)s AND tries = %(tries)s AND status = 'due';
