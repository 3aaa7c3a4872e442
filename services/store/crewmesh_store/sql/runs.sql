-- Runs, leases and logs. Every statement is one transaction, and one round trip.

-- name: create_run
-- One row when the run was made; none when its idempotency key exists already, when the
-- organisation's queue is full, when its session isn't there or has too many open turns, or
-- when it was admitted by a policy that isn't in force.
-- The run starts at once, leased to the caller, when nothing else is waiting, its
-- organisation has no limits (those are kept by claim_runs, one claim at a time), and its
-- session has no run before it.
WITH full_queue AS (
    SELECT FROM runs
    WHERE status = 'queued' AND org_id = %(org_id)s::uuid
    OFFSET (SELECT max_queued - 1 FROM orgs WHERE id = %(org_id)s::uuid) LIMIT 1
), session AS MATERIALIZED (
    -- Locked: messages posted at once are numbered one after another, and each sees how
    -- many are open before it.
    SELECT id, turns, open_turns FROM sessions
    WHERE %(message)s::text IS NOT NULL AND id = %(conversation)s::uuid AND org_id = %(org_id)s::uuid
    FOR UPDATE
), admitted AS (
    SELECT WHERE NOT EXISTS (SELECT FROM full_queue) AND %(policy_as_of)s::timestamptz
        IS NOT DISTINCT FROM (SELECT updated_at FROM policies WHERE org_id = %(org_id)s::uuid)
    AND (
        %(message)s::text IS NULL
        OR EXISTS (SELECT FROM session WHERE open_turns < %(max_open_turns)s::int)
    )
), first_use AS (
    INSERT INTO idempotency_keys (org_id, key, request_hash, run_id)
    SELECT %(org_id)s::uuid, %(key)s, %(request_hash)s::bytea, %(run_id)s::uuid
    WHERE %(key)s::text IS NOT NULL AND EXISTS (SELECT FROM admitted)
    ON CONFLICT DO NOTHING
    RETURNING run_id
), start AS (
    SELECT %(worker_id)s::text IS NOT NULL AND NOT any_run_waits() AND NOT EXISTS (
        SELECT FROM orgs WHERE id = %(org_id)s::uuid AND max_running IS NOT NULL
    ) AND NOT EXISTS (
        SELECT FROM crew_limits WHERE org_id = %(org_id)s::uuid AND crew = %(crew)s
    ) AND NOT EXISTS (
        SELECT FROM session WHERE open_turns > 0
    ) AS at_once
), run AS (
    INSERT INTO runs (
        id, org_id, crew, crew_version, status, inputs, max_attempts, priority, timeout_seconds,
        session_id, created_by, epoch, attempt, worker_id, lease_expires_at, started_at, last_seq,
        models, api_key_id, max_tokens, max_micros, turn, has_webhook, retry_of,
        traceparent
    )
    SELECT
        %(run_id)s::uuid, %(org_id)s::uuid, %(crew)s, %(crew_version)s,
        CASE WHEN at_once THEN 'running' ELSE 'queued' END::run_status,
        %(inputs)s::json, %(max_attempts)s::int, %(priority)s::int, %(timeout_seconds)s::int,
        %(session_id)s, %(created_by)s,
        at_once::int, at_once::int,
        CASE WHEN at_once THEN %(worker_id)s END,
        CASE WHEN at_once THEN now() + %(lease_ttl)s::interval END,
        CASE WHEN at_once THEN now() END,
        1 + at_once::int,
        %(models)s::text[], %(api_key_id)s::uuid, %(max_tokens)s::bigint, %(max_micros)s::bigint,
        (SELECT turns + 1 FROM session), %(webhook_url)s::text IS NOT NULL, %(retry_of)s::uuid,
        %(traceparent)s
    FROM start
    WHERE CASE WHEN %(key)s::text IS NULL
        THEN EXISTS (SELECT FROM admitted) ELSE EXISTS (SELECT FROM first_use) END
    RETURNING *
), turned AS (
    UPDATE sessions s
    SET turns = s.turns + 1, open_turns = s.open_turns + 1, updated_at = now()
    FROM run r JOIN session t ON r.turn IS NOT NULL
    WHERE s.id = t.id
), said AS (
    INSERT INTO session_messages (session_id, number, org_id, role, content, run_id)
    SELECT t.id, 2 * r.turn - 1, r.org_id, 'user', %(message)s, r.id
    FROM run r JOIN session t ON r.turn IS NOT NULL
), logged AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)
    SELECT id, 1, org_id, now(), 0, 'run.queued',
        json_build_object('crew', crew, 'crew_version', crew_version, 'priority', priority)
    FROM run
    UNION ALL
    SELECT id, 2, org_id, now(), 1, 'run.started',
        json_build_object('worker_id', worker_id, 'attempt', 1)
    FROM run WHERE status = 'running'
), budgeted AS (
    INSERT INTO budgets (org_id, run_id, period, max_tokens, max_micros)
    SELECT org_id, id, 'total', max_tokens, max_micros
    FROM run WHERE max_tokens IS NOT NULL OR max_micros IS NOT NULL
), webhook AS (
    INSERT INTO deliveries (run_id, org_id, url, key_id, sealed)
    SELECT id, org_id, %(webhook_url)s, %(webhook_key_id)s, %(webhook_sealed)s
    FROM run WHERE has_webhook
)
SELECT run.*, CASE WHEN status = 'running'
    THEN lease_terms(org_id, api_key_id, COALESCE(max_tokens, max_micros) IS NOT NULL) END AS terms
FROM run;

-- name: find_idempotent_run
SELECT k.request_hash, r.*
FROM idempotency_keys k JOIN runs r ON r.id = k.run_id
WHERE k.org_id = %(org_id)s AND k.key = %(key)s;

-- name: lock_claims
-- One claim at a time, so that counts hold. Until the transaction ends.
SELECT pg_advisory_xact_lock(7201448);

-- name: claim_runs
-- Leases queued runs to workers: the first to worker_ids[1], and so on. Highest priority
-- first; among equals, the organisation that would then have the fewest running; then the
-- oldest. Limits of organisations and crews hold, and so does the order of sessions. The cost depends on how many
-- organisations wait and how many runs are running, not on how many wait or have ended.
WITH RECURSIVE waiting (org_id) AS (
    -- Steps from organisation to organisation through the index.
    (SELECT org_id FROM runs WHERE status = 'queued' ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT r.org_id FROM runs r WHERE r.status = 'queued' AND r.org_id > w.org_id
        ORDER BY r.org_id LIMIT 1
    )
    FROM waiting w WHERE w.org_id IS NOT NULL
), running AS (
    SELECT org_id, crew, count(*) AS n FROM runs WHERE status = 'running' GROUP BY org_id, crew
), candidates AS (
    SELECT q.id, q.priority, o.max_running, l.max_running AS crew_max_running,
        COALESCE((SELECT sum(n) FROM running r WHERE r.org_id = o.id), 0)
            + row_number() OVER (PARTITION BY o.id ORDER BY q.priority DESC, q.id) AS turn,
        COALESCE((SELECT n FROM running r WHERE r.org_id = o.id AND r.crew = q.crew), 0)
            + row_number() OVER (PARTITION BY o.id, q.crew ORDER BY q.priority DESC, q.id)
            AS crew_turn
    FROM waiting w
    JOIN orgs o ON o.id = w.org_id
    CROSS JOIN LATERAL (
        SELECT id, priority, crew FROM runs r
        WHERE r.status = 'queued' AND r.org_id = o.id AND r.available_at <= now()
            -- A session's runs go one after another, in the order of their messages.
            AND (r.turn IS NULL OR NOT EXISTS (
                SELECT FROM runs e
                WHERE e.session_id = r.session_id AND e.turn < r.turn AND e.finished_at IS NULL
            ))
            AND NOT EXISTS (
                SELECT FROM crew_limits f JOIN running b USING (org_id, crew)
                WHERE f.org_id = o.id AND f.crew = r.crew AND b.n >= f.max_running
            )
        ORDER BY priority DESC, id
        LIMIT cardinality(%(worker_ids)s::text[])
    ) q
    LEFT JOIN crew_limits l ON l.org_id = o.id AND l.crew = q.crew
), next AS (
    SELECT id, row_number() OVER (ORDER BY priority DESC, turn, id) AS place
    FROM candidates
    WHERE turn <= COALESCE(max_running, turn) AND crew_turn <= COALESCE(crew_max_running, crew_turn)
    ORDER BY place
    LIMIT cardinality(%(worker_ids)s::text[])
), assigned AS (
    SELECT n.id, w.worker_id
    FROM next n
    JOIN unnest(%(worker_ids)s::text[]) WITH ORDINALITY AS w (worker_id, place) USING (place)
), claimed AS (
    UPDATE runs r SET
        status = 'running', epoch = r.epoch + 1, attempt = r.attempt + 1,
        worker_id = a.worker_id, lease_expires_at = now() + %(lease_ttl)s::interval,
        started_at = COALESCE(r.started_at, now()), last_seq = r.last_seq + 1
    FROM assigned a WHERE r.id = a.id AND r.status = 'queued'
    RETURNING r.*
), logged AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)
    SELECT id, last_seq, org_id, now(), attempt, 'run.started',
        json_build_object('worker_id', worker_id, 'attempt', attempt)
    FROM claimed
)
SELECT c.*,
    lease_terms(org_id, api_key_id, COALESCE(max_tokens, max_micros) IS NOT NULL) AS terms
FROM claimed c;

-- name: read_checkpoints
SELECT run_id, task_index, output, waiting FROM checkpoints
WHERE run_id = ANY(%(run_ids)s) ORDER BY run_id, task_index;

-- name: read_effects
SELECT run_id, key, result FROM effects WHERE run_id = ANY(%(run_ids)s) ORDER BY run_id, made_at;

-- name: record_effect
-- No row when the lease is no longer the caller's.
WITH held AS (
    SELECT id, org_id FROM runs
    WHERE id = %(run_id)s AND epoch = %(epoch)s AND status = 'running'
    FOR UPDATE
), made AS (
    INSERT INTO effects (run_id, key, org_id, result)
    SELECT id, %(key)s, org_id, %(result)s FROM held
    ON CONFLICT DO NOTHING
)
SELECT id FROM held;

-- name: append_events
-- One row for each append that is accepted: the epoch is the lease's, the run is
-- running, and first_seq is the next number. Rows are locked in one order, so two
-- batches can't deadlock. A run that was to be cancelled ends as cancelled here where it would
-- wait for a person or go to the queue, as nobody is left to end it, and where it would fail
-- because its attempts are used up: a lost runner isn't the crew's answer.
WITH batch AS (
    SELECT * FROM unnest(
        %(run_ids)s::uuid[], %(epochs)s::bigint[], %(first_seqs)s::bigint[], %(counts)s::int[],
        %(statuses)s::run_status[], %(outputs)s::text[], %(output_jsons)s::json[],
        %(error_codes)s::text[], %(error_messages)s::text[], %(prompt_tokens)s::bigint[],
        %(completion_tokens)s::bigint[], %(total_tokens)s::bigint[], %(model_calls)s::bigint[],
        %(cost_micros)s::bigint[], %(unpriced_calls)s::bigint[], %(waits)s::interval[]
    ) AS b (
        run_id, epoch, first_seq, count, status, output, output_json,
        error_code, error_message, prompt_tokens, completion_tokens, total_tokens, model_calls,
        cost_micros, unpriced_calls, wait
    )
), locked AS MATERIALIZED (
    SELECT id, cancel_requested_at IS NOT NULL AS to_be_cancelled
    FROM runs WHERE id = ANY(%(run_ids)s::uuid[]) ORDER BY id FOR UPDATE
), judged AS (
    SELECT b.*, l.to_be_cancelled AND COALESCE(
        b.status IN ('queued', 'waiting') OR b.error_code = 'attempts_exhausted', false
    ) AS cancelled
    FROM batch b JOIN locked l ON l.id = b.run_id
), accepted AS (
    UPDATE runs r SET
        last_seq = r.last_seq + b.count + (b.cancelled AND b.status <> 'failed')::int,
        status = CASE WHEN b.cancelled THEN 'cancelled' ELSE COALESCE(b.status, r.status) END,
        output = COALESCE(b.output, r.output),
        output_json = COALESCE(b.output_json, r.output_json),
        error_code = CASE WHEN b.cancelled THEN 'cancelled'
            WHEN b.status <> 'queued' THEN b.error_code END,
        error_message = CASE WHEN b.cancelled THEN 'cancelled on request'
            WHEN b.status <> 'queued' THEN b.error_message END,
        failures = r.failures + COALESCE(
            (b.status = 'queued' AND b.error_code IS NOT NULL) OR b.error_code = 'attempts_exhausted',
            false
        )::int,
        prompt_tokens = r.prompt_tokens + b.prompt_tokens,
        completion_tokens = r.completion_tokens + b.completion_tokens,
        total_tokens = r.total_tokens + b.total_tokens,
        model_calls = r.model_calls + b.model_calls,
        cost_micros = r.cost_micros + b.cost_micros,
        unpriced_calls = r.unpriced_calls + b.unpriced_calls,
        available_at = CASE WHEN b.status = 'queued' AND b.error_code IS NOT NULL
            THEN now() + retry_delay(r.failures + 1) ELSE r.available_at END,
        waiting_until = CASE WHEN b.status = 'waiting' AND NOT b.cancelled THEN now() + b.wait END,
        answer = CASE WHEN b.status = 'waiting' THEN NULL ELSE r.answer END,
        lease_expires_at = CASE WHEN b.status IS NULL THEN r.lease_expires_at END,
        finished_at = CASE WHEN b.cancelled
            OR b.status IN ('succeeded', 'failed', 'cancelled', 'timed_out') THEN now() END
    FROM judged b
    WHERE r.id = b.run_id
        AND r.epoch = b.epoch AND r.status = 'running' AND r.last_seq = b.first_seq - 1
    RETURNING r.id, r.org_id, r.attempt, r.last_seq, r.crew, r.api_key_id, r.session_id, r.turn,
        b.status IS NOT NULL AND (
            b.status = 'queued'
            OR (r.turn IS NOT NULL AND r.finished_at IS NOT NULL)
            OR EXISTS (SELECT FROM orgs o WHERE o.id = r.org_id AND o.max_running IS NOT NULL)
            OR EXISTS (SELECT FROM crew_limits f WHERE f.org_id = r.org_id AND f.crew = r.crew)
        ) AS makes_room,
        b.cancelled
), stored AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, task, agent, payload)
    SELECT a.id, e.seq, a.org_id, e.at, a.attempt, e.type, e.task, e.agent, e.payload
    FROM unnest(
        %(event_run_ids)s::uuid[], %(event_seqs)s::bigint[], %(event_ats)s::timestamptz[],
        %(event_types)s::text[], %(event_tasks)s::text[], %(event_agents)s::text[],
        %(event_payloads)s::json[]
    ) AS e (run_id, seq, at, type, task, agent, payload)
    JOIN accepted a ON a.id = e.run_id AND NOT (a.cancelled AND e.type = 'run.failed')
    UNION ALL
    SELECT a.id, a.last_seq, a.org_id, now(), a.attempt, 'run.cancelled', '', '',
        json_build_object('reason', 'cancelled on request')
    FROM accepted a WHERE a.cancelled
), kept AS (
    INSERT INTO checkpoints (run_id, task_index, org_id, output, waiting)
    SELECT a.id, c.task_index, a.org_id, c.output, c.waiting
    FROM unnest(
        %(checkpoint_run_ids)s::uuid[], %(checkpoint_tasks)s::int[],
        %(checkpoint_outputs)s::bytea[], %(checkpoint_waitings)s::boolean[]
    ) AS c (run_id, task_index, output, waiting)
    JOIN accepted a ON a.id = c.run_id
    ON CONFLICT (run_id, task_index) DO UPDATE SET
        output = excluded.output, waiting = excluded.waiting
), called AS (
    INSERT INTO model_calls (
        run_id, seq, org_id, api_key_id, at, crew, model,
        prompt_tokens, completion_tokens, total_tokens, cost_micros
    )
    SELECT a.id, c.seq, a.org_id, a.api_key_id, c.at, a.crew, c.model,
        c.prompt_tokens, c.completion_tokens, c.total_tokens, c.cost_micros
    FROM unnest(
        %(call_run_ids)s::uuid[], %(call_seqs)s::bigint[], %(call_ats)s::timestamptz[],
        %(call_models)s::text[], %(call_prompt_tokens)s::bigint[],
        %(call_completion_tokens)s::bigint[], %(call_total_tokens)s::bigint[],
        %(call_cost_micros)s::bigint[]
    ) AS c (
        run_id, seq, at, model, prompt_tokens, completion_tokens, total_tokens, cost_micros
    )
    JOIN accepted a ON a.id = c.run_id
), rememberers AS (
    -- Not of a session that is gone.
    SELECT a.* FROM accepted a
    WHERE a.turn IS NULL OR EXISTS (SELECT FROM sessions s WHERE s.id::text = a.session_id)
), remembered AS (
    INSERT INTO memories (
        org_id, session_id, crew, id, content, record, embedding, embedder, importance
    )
    SELECT a.org_id, COALESCE(a.session_id, ''), a.crew, m.id, m.content, m.record,
        m.embedding, m.embedder, m.importance
    FROM unnest(
        %(memory_run_ids)s::uuid[], %(memory_ids)s::uuid[], %(memory_contents)s::text[],
        %(memory_records)s::json[], %(memory_embeddings)s::bytea[], %(memory_embedders)s::text[],
        %(memory_importances)s::real[]
    ) AS m (run_id, id, content, record, embedding, embedder, importance)
    JOIN rememberers a ON a.id = m.run_id
    ON CONFLICT (org_id, session_id, crew, id) DO UPDATE SET
        content = excluded.content, record = excluded.record, embedding = excluded.embedding,
        embedder = excluded.embedder, importance = excluded.importance
), forgotten AS (
    DELETE FROM memories m
    USING unnest(%(forgotten_run_ids)s::uuid[], %(forgotten_ids)s::uuid[]) AS f (run_id, id)
    JOIN accepted a ON a.id = f.run_id
    WHERE m.org_id = a.org_id AND m.session_id = COALESCE(a.session_id, '') AND m.crew = a.crew
        AND m.id = f.id
)
SELECT id, attempt, last_seq, makes_room, cancelled FROM accepted;

-- name: read_heads
SELECT id, epoch, status, last_seq FROM runs WHERE id = ANY(%(run_ids)s);

-- name: renew_leases
UPDATE runs r SET lease_expires_at = now() + %(lease_ttl)s::interval
FROM unnest(%(run_ids)s::uuid[], %(epochs)s::bigint[]) AS l (run_id, epoch)
WHERE r.id = l.run_id AND r.epoch = l.epoch AND r.status = 'running'
RETURNING r.id, r.cancel_requested_at IS NOT NULL AS cancelled;

-- name: take_back_leases
-- Takes runs from a worker that went silent (its lease has expired), or whose stream
-- broke and didn't come back (worker_id, session_id). They go back to the queue, or end
-- when they were to be cancelled or have failed too often. Each gets the event that says so.
WITH lost AS (
    SELECT id, worker_id FROM runs
    WHERE status = 'running' AND (
        lease_expires_at < now()
        OR worker_id = (
            SELECT w.id FROM workers w
            WHERE w.id = %(worker_id)s AND w.session_id = %(session_id)s::uuid
        )
    )
    ORDER BY id LIMIT 500
    FOR UPDATE SKIP LOCKED
), judged AS (
    SELECT r.id, l.worker_id, CASE
        WHEN r.cancel_requested_at IS NOT NULL THEN 'cancelled'
        WHEN r.failures + 1 < r.max_attempts THEN 'queued'
        ELSE 'failed' END::run_status AS verdict
    FROM lost l JOIN runs r USING (id)
), moved AS (
    UPDATE runs r SET
        status = verdict,
        error_code = CASE verdict
            WHEN 'cancelled' THEN 'cancelled' WHEN 'failed' THEN 'attempts_exhausted' END,
        error_message = CASE verdict
            WHEN 'cancelled' THEN 'cancelled on request'
            WHEN 'failed' THEN
                format('worker lost (failure %%s of %%s)', r.failures + 1, r.max_attempts) END,
        finished_at = CASE WHEN verdict <> 'queued' THEN now() END,
        failures = r.failures + 1,
        available_at = now() + retry_delay(r.failures + 1),
        epoch = r.epoch + 1, lease_expires_at = NULL, last_seq = r.last_seq + 1
    FROM judged j WHERE r.id = j.id
    RETURNING r.*
), logged AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)
    SELECT id, last_seq, org_id, now(), attempt, 'run.' || status::text,
        CASE status
            WHEN 'queued' THEN json_build_object('reason', 'worker_lost', 'worker_id', worker_id)
            WHEN 'cancelled' THEN json_build_object('reason', error_message)
            ELSE json_build_object('code', error_code, 'message', error_message) END
    FROM moved
)
SELECT id, status FROM moved;

-- name: expire_waiting
-- Ends runs that waited too long for a person.
WITH late AS (
    SELECT id FROM runs WHERE status = 'waiting' AND waiting_until < now()
    ORDER BY id LIMIT 100
    FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE runs r SET
        status = 'timed_out', error_code = 'input_timed_out',
        error_message = 'nobody answered in time', finished_at = now(), waiting_until = NULL,
        last_seq = r.last_seq + 1
    FROM late l WHERE r.id = l.id
    RETURNING r.*
), logged AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)
    SELECT id, last_seq, org_id, now(), attempt, 'run.timed_out',
        json_build_object('code', error_code, 'reason', error_message)
    FROM ended
)
SELECT id, status FROM ended;

-- name: cancel_run
-- Queued and waiting runs end here; a running one ends when its worker has ended
-- its processes. No row when there is nothing to cancel.
WITH cancelled AS (
    UPDATE runs SET
        cancel_requested_at = COALESCE(cancel_requested_at, now()),
        status = CASE WHEN status = 'running' THEN status ELSE 'cancelled' END,
        error_code = CASE WHEN status = 'running' THEN error_code ELSE 'cancelled' END,
        error_message = CASE WHEN status = 'running' THEN error_message ELSE %(reason)s::text END,
        finished_at = CASE WHEN status = 'running' THEN NULL ELSE now() END,
        last_seq = last_seq + (status <> 'running')::int
    WHERE id = %(run_id)s AND org_id = %(org_id)s AND status IN ('queued', 'running', 'waiting')
    RETURNING *
), logged AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)
    SELECT id, last_seq, org_id, now(), attempt, 'run.cancelled',
        json_build_object('reason', error_message)
    FROM cancelled WHERE status = 'cancelled'
)
SELECT * FROM cancelled;

-- name: respond_to_run
-- No row when the run isn't waiting for a person, or is with another question: the event that
-- asks is the last one while a run waits.
WITH answered AS (
    UPDATE runs SET
        status = 'queued', available_at = now(), waiting_until = NULL,
        answer = %(answer)s::json, last_seq = last_seq + 1
    WHERE id = %(run_id)s AND org_id = %(org_id)s AND status = 'waiting'
        AND %(question_seq)s::bigint IN (0, last_seq)
    RETURNING *
), logged AS (
    INSERT INTO run_events (run_id, seq, org_id, at, attempt, type, payload)
    SELECT id, last_seq, org_id, now(), attempt, 'input.received', %(payload)s::json FROM answered
)
SELECT * FROM answered;

-- name: get_run
SELECT * FROM runs WHERE id = %(run_id)s AND org_id = %(org_id)s;

-- name: get_runs_with_tasks
SELECT r.*, (
    SELECT json_agg(json_build_array(e.type, e.task, e.agent, e.at, e.payload) ORDER BY e.seq)
    FROM run_events e
    WHERE e.run_id = r.id AND e.type IN ('task.started', 'task.completed', 'task.failed')
) AS task_events, (
    SELECT json_build_object(
        'url', d.url, 'status', d.status, 'tries', d.tries, 'last_status', d.last_status,
        'last_error', d.last_error, 'next_try_at', d.next_try_at, 'delivered_at', d.delivered_at
    )
    FROM deliveries d WHERE r.has_webhook AND d.run_id = r.id
) AS webhook
FROM runs r WHERE r.id = ANY(%(run_ids)s::uuid[]) AND r.org_id = %(org_id)s;

-- name: list_runs
-- Newest first, from below a given id.
SELECT * FROM runs
WHERE org_id = %(org_id)s
    AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
    AND (%(status)s::run_status IS NULL OR status = %(status)s)
    AND (%(crew)s::text IS NULL OR crew = %(crew)s)
    AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s)
    AND (%(created_by)s::text IS NULL OR created_by = %(created_by)s)
    AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
    AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
    AND (%(webhook)s::text IS NULL OR id IN (
        SELECT run_id FROM deliveries WHERE org_id = %(org_id)s AND status = %(webhook)s
    ))
ORDER BY id DESC
LIMIT %(limit)s;

-- name: find_runs
-- As list_runs, of those with these words, or with an id that begins or ends like this.
SELECT * FROM runs
WHERE org_id = %(org_id)s
    AND id IN (SELECT runs_with_words(
        to_tsquery('simple', %(words)s) || %(id_end)s::tsquery, %(first_id)s, %(last_id)s
    ))
    AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
    AND (%(status)s::run_status IS NULL OR status = %(status)s)
    AND (%(crew)s::text IS NULL OR crew = %(crew)s)
    AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s)
    AND (%(created_by)s::text IS NULL OR created_by = %(created_by)s)
    AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
    AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
    AND (%(webhook)s::text IS NULL OR id IN (
        SELECT run_id FROM deliveries WHERE org_id = %(org_id)s AND status = %(webhook)s
    ))
ORDER BY id DESC
LIMIT %(limit)s;

-- name: list_runs_of_crews
-- Ordered so that the index runs_by_crew alone can serve it. Of a crew that is equal to an unknown
-- name, the planner supposes the average share of the runs, and looks for a rare crew's in all.
SELECT r.*
FROM unnest(%(crews)s::text[]) AS wanted (name)
CROSS JOIN LATERAL (
    SELECT * FROM runs
    WHERE org_id = %(org_id)s::uuid AND crew BETWEEN wanted.name AND wanted.name
    ORDER BY crew, id DESC LIMIT %(limit)s
) r
ORDER BY r.id DESC;

-- name: read_events_of_runs
-- Of each run, or of each run's named task, a page, which ends early where it holds max_bytes of
-- payloads.
SELECT run_id, seq, at, attempt, type, task, agent, payload
FROM (
    SELECT e.*, sum(octet_length(e.payload)) OVER (PARTITION BY wanted.run_id, wanted.task ORDER BY e.seq)
        - octet_length(e.payload) AS bytes_before
    FROM unnest(%(run_ids)s::uuid[], %(tasks)s::text[]) AS wanted (run_id, task)
    JOIN runs r ON r.id = wanted.run_id AND r.org_id = %(org_id)s::uuid
    CROSS JOIN LATERAL (
        SELECT run_id, seq, at, attempt, type, task, agent, payload::text AS payload
        FROM run_events
        WHERE run_id = r.id AND seq > %(after_seq)s::bigint
            AND (wanted.task IS NULL OR task = wanted.task)
            AND (cardinality(%(types)s::text[]) = 0 OR type = ANY(%(types)s::text[]))
        ORDER BY seq LIMIT %(limit)s
    ) e
) measured
WHERE bytes_before < %(max_bytes)s::bigint
ORDER BY run_id, seq;

-- name: read_events
-- A page ends early where it holds max_bytes of payloads; `found` counts what it would hold else.
SELECT seq, at, attempt, type, task, agent, payload, found
FROM (
    SELECT *, count(*) OVER () AS found,
        sum(octet_length(payload)) OVER (ORDER BY seq) - octet_length(payload) AS bytes_before
    FROM (
        SELECT seq, at, attempt, type, task, agent, payload::text AS payload FROM run_events
        WHERE run_id = %(run_id)s AND seq > %(after_seq)s
        ORDER BY seq LIMIT %(limit)s
    ) page
) measured
WHERE bytes_before < %(max_bytes)s
ORDER BY seq;

-- name: read_new_events
-- Of several runs, each from above its own head, at most `limit` of each.
SELECT known.run_id, e.*
FROM unnest(%(run_ids)s::uuid[], %(heads)s::bigint[]) AS known (run_id, head)
CROSS JOIN LATERAL (
    SELECT seq, at, attempt, type, task, agent, payload::text AS payload FROM run_events
    WHERE run_id = known.run_id AND seq > known.head
    ORDER BY seq LIMIT %(limit)s
) e
ORDER BY known.run_id, e.seq;

-- name: lock_partitions
SELECT pg_advisory_xact_lock(7201450);

-- name: ensure_event_partitions
SELECT ensure_event_partition(now()), ensure_event_partition(now() + interval '7 days');

-- name: put_worker
-- Those whose replica ended with them, and so couldn't forget them, go with the next to come.
WITH long_gone AS (
    DELETE FROM workers WHERE last_seen_at < now() - interval '1 day' AND id <> %(id)s
)
INSERT INTO workers (id, address, version, slots, free_slots, session_id)
VALUES (%(id)s, %(address)s, %(version)s, %(slots)s, %(slots)s, %(session_id)s)
ON CONFLICT (id) DO UPDATE SET
    address = excluded.address, version = excluded.version, slots = excluded.slots,
    free_slots = excluded.free_slots, session_id = excluded.session_id, last_seen_at = now();

-- name: see_worker
UPDATE workers SET free_slots = %(free_slots)s, last_seen_at = now() WHERE id = %(id)s;

-- name: forget_worker
-- Kept while it has runs, so that they can be taken from it yet.
DELETE FROM workers w
WHERE w.id = %(id)s AND w.session_id = %(session_id)s
    AND NOT EXISTS (SELECT FROM runs r WHERE r.worker_id = w.id AND r.status = 'running');

-- name: list_workers
-- Of what they run, an organisation sees its own.
SELECT w.*, leases.running, %(lease_ttl)s::interval - (leases.first_end - now()) AS lease_age
FROM workers w
CROSS JOIN LATERAL (
    SELECT count(*) AS running, min(r.lease_expires_at) AS first_end
    FROM runs r WHERE r.worker_id = w.id AND r.status = 'running'
) leases
WHERE w.last_seen_at > now() - interval '1 minute' ORDER BY w.id;

-- name: read_queue
-- Each from the index of its status.
SELECT
    (SELECT count(*) FROM runs WHERE status = 'queued' AND org_id = %(org_id)s) AS queued,
    (SELECT count(*) FROM runs WHERE status = 'running' AND org_id = %(org_id)s) AS running,
    (SELECT count(*) FROM runs WHERE status = 'waiting' AND org_id = %(org_id)s) AS waiting,
    (
        SELECT min(created_at) FROM runs WHERE status = 'queued' AND org_id = %(org_id)s
    ) AS oldest_queued_at;
