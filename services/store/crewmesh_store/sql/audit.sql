-- Who did what. Only triggers write it: see migration 0009.

-- name: list_newest_entries
SELECT seq, entry, hash FROM audit_log
WHERE org_id = %(org_id)s AND (%(before)s::bigint = 0 OR seq < %(before)s)
ORDER BY seq DESC LIMIT %(limit)s;

-- name: list_entries_after
SELECT seq, entry, hash FROM audit_log
WHERE org_id = %(org_id)s AND seq > %(after)s AND (%(before)s::bigint = 0 OR seq < %(before)s)
ORDER BY seq LIMIT %(limit)s;

-- name: get_head
SELECT seq, hash FROM audit_heads WHERE org_id = %(org_id)s;
