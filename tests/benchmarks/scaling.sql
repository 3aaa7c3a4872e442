-- name: make_partitions
SELECT ensure_event_partition(week)
FROM generate_series(now() - interval '1 day' * %(days)s, now() + interval '7 days', '7 days') week;

-- name: fill_runs
-- Finished runs of one organisation, evenly over the days, oldest first.
INSERT INTO runs (
    id, org_id, crew, crew_version, status, inputs, output, error_code, error_message, attempt,
    max_attempts, priority, timeout_seconds, session_id, created_by, epoch, worker_id, last_seq,
    prompt_tokens, completion_tokens, total_tokens, model_calls, created_at, started_at, finished_at
)
SELECT
    uuidv7(-age), org_id, (ARRAY['hello', 'data-analyst', 'triage'])[1 + n %% 3], '1',
    CASE WHEN n %% 50 = 0 THEN 'failed' WHEN n %% 51 = 0 THEN 'cancelled' ELSE 'succeeded' END::run_status,
    json_build_object('topic', 'the ' || n || 'th', 'question', repeat('Which region grew? ', 4)),
    repeat('North grew fastest, by 12 percent. ', 12),
    CASE WHEN n %% 50 = 0 THEN 'crew_failed' WHEN n %% 51 = 0 THEN 'cancelled' END,
    CASE WHEN n %% 50 = 0 THEN 'the model gave up' WHEN n %% 51 = 0 THEN 'cancelled on request' END,
    1, 3, 0, 3600, CASE WHEN n %% 10 = 0 THEN 'session-' || n %% 1000 END, 'u', 1, 'w', 10,
    700, 120, 820, 3, now() - age, now() - age, now() - age + interval '2 seconds'
FROM (SELECT id AS org_id FROM orgs) org, generate_series(%(runs)s::int, 1, -1) n,
    LATERAL (SELECT n * (interval '1 day' * %(days)s / %(runs)s) AS age) a
ORDER BY n DESC;

-- name: fill_events
-- Ten for each run of the last week, whose partition is the one that is written to, and
-- for a sixteenth of the others.
INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, task, agent, payload)
SELECT r.id, e.seq, r.org_id, r.created_at, 1, e.type, 'answer', 'Host',
    json_build_object('index', 0, 'text', repeat('growing ', 12), 'output', 'North')
FROM runs r, unnest(ARRAY[
    'run.queued', 'run.started', 'task.started', 'agent.started', 'llm.started', 'llm.chunk',
    'llm.completed', 'agent.completed', 'task.completed', 'run.succeeded'
]) WITH ORDINALITY AS e (type, seq)
WHERE r.id >= uuidv7_floor(now() - interval '7 days') OR right(r.id::text, 1) = '0';
