-- What ages out. Every statement is a small transaction, deletes at most so many, says how
-- many, and steps over what another replica is deleting.

-- name: delete_idempotency_keys
WITH old AS (
    SELECT org_id, key FROM idempotency_keys
    WHERE created_at < %(before)s
    ORDER BY created_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM idempotency_keys k USING old o
    WHERE k.org_id = o.org_id AND k.key = o.key
    RETURNING k.key
)
SELECT count(*) AS n FROM deleted;

-- name: delete_checkpoints
-- Of runs that have ended: nothing will go on from them.
WITH spent AS (
    SELECT c.run_id, c.task_index
    FROM checkpoints c JOIN runs r ON r.id = c.run_id
    WHERE r.finished_at IS NOT NULL
    LIMIT %(limit)s
    FOR UPDATE OF c SKIP LOCKED
), deleted AS (
    DELETE FROM checkpoints c USING spent s
    WHERE c.run_id = s.run_id AND c.task_index = s.task_index
    RETURNING c.run_id
)
SELECT count(*) AS n FROM deleted;

-- name: delete_effects
-- Of runs that have ended: no call will be made again.
WITH spent AS (
    SELECT e.run_id, e.key
    FROM effects e JOIN runs r ON r.id = e.run_id
    WHERE r.finished_at IS NOT NULL
    LIMIT %(limit)s
    FOR UPDATE OF e SKIP LOCKED
), deleted AS (
    DELETE FROM effects e USING spent s
    WHERE e.run_id = s.run_id AND e.key = s.key
    RETURNING e.run_id
)
SELECT count(*) AS n FROM deleted;

-- name: delete_runs
-- A run that ended before then began before then, so its id is below that moment's: only
-- the oldest end of the index is read. Its artifacts' rows go with it; their bytes follow.
WITH past AS (
    SELECT id FROM runs
    WHERE id < uuidv7_floor(%(before)s) AND finished_at < %(before)s
    ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), bytes_to_go AS (
    INSERT INTO deleted_artifacts (id, org_id)
    SELECT a.id, a.org_id FROM artifacts a JOIN past p ON p.id = a.run_id
), deleted AS (
    DELETE FROM runs r USING past p WHERE r.id = p.id RETURNING r.id
)
SELECT count(*) AS n FROM deleted;

-- name: delete_model_calls
WITH old AS (
    SELECT run_id, seq FROM model_calls
    WHERE run_id < uuidv7_floor(%(before)s) AND at < %(before)s
    ORDER BY run_id, seq LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM model_calls c USING old o
    WHERE c.run_id = o.run_id AND c.seq = o.seq
    RETURNING c.seq
)
SELECT count(*) AS n FROM deleted;

-- name: delete_sessions
-- In which nothing was said for long; messages and memories go along.
WITH past AS (
    SELECT id FROM sessions
    WHERE updated_at < %(before)s AND open_turns = 0
    ORDER BY updated_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM sessions s USING past p WHERE s.id = p.id RETURNING s.id
)
SELECT count(*) AS n FROM deleted;

-- name: delete_memories
-- Of what runs named as their session without there being one.
WITH past AS (
    SELECT m.org_id, m.session_id, m.crew, m.id FROM memories m
    WHERE m.session_id <> '' AND m.saved_at < %(before)s
        AND NOT EXISTS (SELECT FROM sessions s WHERE s.id::text = m.session_id)
    ORDER BY m.saved_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM memories m USING past p
    WHERE m.org_id = p.org_id AND m.session_id = p.session_id AND m.crew = p.crew AND m.id = p.id
    RETURNING m.id
)
SELECT count(*) AS n FROM deleted;

-- name: drop_event_partition
SELECT drop_past_event_partition(%(before)s) AS name;

-- name: delete_events
-- Of runs that are gone, in weeks that are past but have a run left. Counts runs.
WITH RECURSIVE logged (run_id) AS (
    -- Steps from run to run through the index.
    (
        SELECT run_id FROM run_events
        WHERE run_id < uuidv7_floor(date_trunc('week', %(before)s, 'UTC'))
        ORDER BY run_id LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT e.run_id FROM run_events e
        WHERE e.run_id > l.run_id
            AND e.run_id < uuidv7_floor(date_trunc('week', %(before)s, 'UTC'))
        ORDER BY e.run_id LIMIT 1
    )
    FROM logged l WHERE l.run_id IS NOT NULL
), orphaned AS (
    SELECT run_id FROM logged l
    WHERE run_id IS NOT NULL AND (SELECT id FROM runs r WHERE r.id = l.run_id) IS NULL
    LIMIT %(limit)s
), deleted AS (
    DELETE FROM run_events e USING orphaned o
    WHERE e.run_id = o.run_id
        AND e.run_id < uuidv7_floor(date_trunc('week', %(before)s, 'UTC'))
)
SELECT count(*) AS n FROM orphaned;

-- name: list_deleted_artifacts
SELECT id, org_id FROM deleted_artifacts ORDER BY id LIMIT %(limit)s;

-- name: forget_deleted_artifacts
DELETE FROM deleted_artifacts WHERE id = ANY(%(ids)s);
