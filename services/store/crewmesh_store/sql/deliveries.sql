-- Webhooks of runs that have ended.

-- name: claim_deliveries
-- Takes what is due longest, and holds it for a while.
WITH due AS (
    SELECT run_id, org_id FROM deliveries
    WHERE status = 'due' AND next_try_at <= now()
    ORDER BY next_try_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET tries = d.tries + 1, next_try_at = now() + %(hold)s::interval
FROM due LEFT JOIN policies p ON p.org_id = due.org_id
WHERE d.run_id = due.run_id
RETURNING d.run_id, d.org_id, d.url, d.secret, d.key_id, d.sealed, d.tries, p.policy;

-- name: report_delivery
-- Of a claim that nobody has made again since. The secret goes with the last try.
UPDATE deliveries SET
    status = %(status)s, last_status = %(last_status)s, last_error = %(last_error)s,
    next_try_at = CASE WHEN %(status)s = 'due' THEN now() + %(pause)s::interval END,
    delivered_at = CASE WHEN %(status)s = 'delivered' THEN now() END,
    secret = CASE WHEN %(status)s = 'due' THEN secret ELSE '' END,
    sealed = CASE WHEN %(status)s = 'due' THEN sealed END
WHERE run_id = %(run_id)s AND tries = %(tries)s AND status = 'due';

-- name: list_unsealed
-- Written before secrets were sealed, or by a replica that doesn't seal them.
SELECT run_id, org_id, secret FROM deliveries
WHERE secret <> '' LIMIT %(limit)s;

-- name: seal_secret
UPDATE deliveries SET secret = '', key_id = %(key_id)s, sealed = %(sealed)s
WHERE run_id = %(run_id)s AND secret = %(secret)s;
