-- Sessions, their messages, and what crews remember. Messages are written where runs are:
-- by create_run, and by the trigger runs_turn.

-- name: create_session
INSERT INTO sessions (id, org_id, crew, title, inputs, created_by)
VALUES (%(id)s, %(org_id)s, %(crew)s, %(title)s, %(inputs)s::json, %(created_by)s)
RETURNING *;

-- name: get_session
SELECT * FROM sessions WHERE id = %(id)s AND org_id = %(org_id)s;

-- name: list_sessions
-- Newest first, from below a given id.
SELECT * FROM sessions
WHERE org_id = %(org_id)s
    AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
    AND (%(crew)s::text IS NULL OR crew = %(crew)s)
ORDER BY id DESC LIMIT %(limit)s;

-- name: delete_session
DELETE FROM sessions WHERE id = %(id)s AND org_id = %(org_id)s RETURNING id;

-- name: list_open_runs
SELECT id FROM runs
WHERE org_id = %(org_id)s AND session_id = %(session_id)s::text AND turn IS NOT NULL
    AND finished_at IS NULL
ORDER BY turn DESC;

-- name: list_messages
SELECT number, role, content, run_id, created_at FROM session_messages
WHERE session_id = %(session_id)s AND number > %(after_number)s
ORDER BY number LIMIT %(limit)s;

-- name: list_newest_messages
SELECT number, role, content, run_id, created_at FROM session_messages
WHERE session_id = %(session_id)s
    AND (%(before_number)s::bigint = 0 OR number < %(before_number)s)
ORDER BY number DESC LIMIT %(limit)s;

-- name: read_history
-- The newest messages before a turn that have so many characters together.
SELECT number, role, content, run_id, created_at FROM (
    SELECT m.*, sum(length(content)) OVER (ORDER BY number DESC) AS characters
    FROM (
        SELECT * FROM session_messages
        WHERE session_id = %(session_id)s AND number < 2 * %(turn)s::bigint - 1
        ORDER BY number DESC LIMIT %(limit)s
    ) m
) newest
WHERE characters <= %(characters)s
ORDER BY number;

-- name: count_history
SELECT count(*) AS n FROM session_messages
WHERE session_id = %(session_id)s AND number < 2 * %(turn)s::bigint - 1;

-- name: read_memories
-- No row at all when the lease is no longer the caller's; one without a memory's id when
-- there are none.
SELECT m.id, m.content, m.record, m.embedding, m.embedder, m.importance
FROM runs r
LEFT JOIN memories m ON m.org_id = r.org_id AND m.session_id = COALESCE(r.session_id, '')
    AND m.crew = r.crew
WHERE r.id = %(run_id)s AND r.epoch = %(epoch)s AND r.status = 'running'
ORDER BY m.saved_at, m.id;

-- name: forget_memory
WITH deleted AS (
    DELETE FROM memories
    WHERE org_id = %(org_id)s::uuid AND session_id = %(session_id)s::text
    RETURNING id
)
SELECT count(*) AS n FROM deleted;
