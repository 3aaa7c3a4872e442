-- Budgets and usage. Amounts of money are in millionths of a US dollar ("micros").

-- name: lock_budgets
-- One reservation of an organisation at a time, until the transaction ends: the statement
-- after this one sees what those before it have reserved. Nothing else waits for it.
SELECT pg_advisory_xact_lock(7201450, hashtext(org_id::text)) FROM runs WHERE id = %(run_id)s;

-- name: reserve
-- Reserves in every budget that holds for the run, or in none. One row, if the run is still
-- leased under that epoch: its verdict, the tokens that the answer may have, and the budget
-- that has the least room. The same reservation again gets the answer that it got.
WITH held AS (
    SELECT id, org_id, api_key_id FROM runs
    WHERE id = %(run_id)s AND epoch = %(epoch)s AND status = 'running'
), made_before AS (
    SELECT min(completion_tokens) AS completion_tokens FROM reservations
    WHERE id = %(reservation_id)s HAVING count(*) > 0
), budget AS (
    SELECT b.*, period_start(b.period, now()) AS begun
    FROM held h JOIN budgets b ON b.org_id = h.org_id
        AND (b.run_id = h.id OR b.run_id IS NULL)
        AND (b.api_key_id = h.api_key_id OR b.api_key_id IS NULL)
), balance AS (
    SELECT b.*,
        COALESCE(s.tokens, 0) AS spent_tokens, COALESCE(s.micros, 0) AS spent_micros,
        r.tokens AS reserved_tokens, r.micros AS reserved_micros
    FROM budget b
    LEFT JOIN budget_spending s ON s.budget_id = b.id AND s.period_start = b.begun
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(tokens), 0)::bigint AS tokens, COALESCE(sum(micros), 0)::bigint AS micros
        FROM reservations WHERE budget_id = b.id AND period_start = b.begun
    ) r
), room AS (
    -- How long an answer each budget has room for, now and once nothing is reserved.
    SELECT b.*,
        completion_room(
            b.max_tokens - b.spent_tokens - b.reserved_tokens, b.max_micros - b.spent_micros - b.reserved_micros,
            %(prompt_tokens)s, %(prompt_micros)s, %(completion_price)s
        ) AS now_room,
        completion_room(
            b.max_tokens - b.spent_tokens, b.max_micros - b.spent_micros,
            %(prompt_tokens)s, %(prompt_micros)s, %(completion_price)s
        ) AS later_room
    FROM balance b
), tightest AS (
    SELECT * FROM room ORDER BY later_room, now_room, id LIMIT 1
), decided AS (
    SELECT CASE
        WHEN EXISTS (SELECT FROM made_before) THEN 'granted'
        WHEN %(completion_price)s::bigint IS NULL
            AND EXISTS (SELECT FROM room WHERE max_micros IS NOT NULL) THEN 'unpriced'
        WHEN (SELECT min(later_room) FROM room) < %(min_completion_tokens)s THEN 'exceeded'
        WHEN (SELECT min(now_room) FROM room) < %(min_completion_tokens)s THEN 'wait'
        ELSE 'granted' END AS verdict,
        COALESCE(
            (SELECT completion_tokens FROM made_before),
            (SELECT min(now_room) FROM room), %(completion_tokens)s
        ) AS granted
), amount AS (
    SELECT verdict, LEAST(granted, %(completion_tokens)s::bigint) AS completion FROM decided
), reserved AS (
    INSERT INTO reservations (
        id, budget_id, period_start, run_id, epoch, tokens, micros, completion_tokens
    )
    SELECT %(reservation_id)s, r.id, r.begun, %(run_id)s, %(epoch)s,
        %(prompt_tokens)s + a.completion,
        COALESCE(%(prompt_micros)s::bigint, 0)
            + COALESCE(micros_of(a.completion, %(completion_price)s), 0),
        a.completion
    FROM room r, amount a
    WHERE a.verdict = 'granted' AND NOT EXISTS (SELECT FROM made_before)
)
SELECT a.verdict, a.completion, t.*, t.run_id IS NOT NULL AS of_run
FROM held h CROSS JOIN amount a LEFT JOIN tightest t ON true;

-- name: settle
-- Turns a reservation into what was spent; none is left of it. Where nobody knows what was
-- spent (null), it counts whole.
WITH gone AS (
    DELETE FROM reservations
    WHERE id = %(reservation_id)s AND run_id = %(run_id)s AND epoch = %(epoch)s
    RETURNING *
)
INSERT INTO budget_spending AS s (budget_id, period_start, tokens, micros)
SELECT budget_id, period_start,
    COALESCE(%(tokens)s::bigint, tokens), COALESCE(%(micros)s::bigint, micros)
FROM gone ORDER BY budget_id
ON CONFLICT (budget_id, period_start) DO UPDATE SET
    tokens = s.tokens + excluded.tokens, micros = s.micros + excluded.micros;

-- name: charge_lost
-- Counts as spent what attempts have reserved that are over: whether their last call was
-- made, nobody knows.
WITH gone AS (
    DELETE FROM reservations r USING (
        SELECT v.id, v.budget_id FROM reservations v LEFT JOIN runs u ON u.id = v.run_id
        WHERE u.id IS NULL OR u.epoch <> v.epoch OR u.status <> 'running'
        ORDER BY v.id, v.budget_id LIMIT 500
        FOR UPDATE OF v SKIP LOCKED
    ) lost
    WHERE r.id = lost.id AND r.budget_id = lost.budget_id
    RETURNING r.*
), charged AS (
    INSERT INTO budget_spending AS s (budget_id, period_start, tokens, micros)
    SELECT budget_id, period_start, sum(tokens), sum(micros)
    FROM gone GROUP BY budget_id, period_start ORDER BY budget_id, period_start
    ON CONFLICT (budget_id, period_start) DO UPDATE SET
        tokens = s.tokens + excluded.tokens, micros = s.micros + excluded.micros
)
SELECT count(DISTINCT id) AS n FROM gone;

-- name: list_budgets
-- Those of the organisation and of its keys, not of single runs.
SELECT b.*, p.begun,
    COALESCE(s.tokens, 0) AS spent_tokens, COALESCE(s.micros, 0) AS spent_micros,
    r.tokens AS reserved_tokens, r.micros AS reserved_micros
FROM budgets b
CROSS JOIN LATERAL (SELECT period_start(b.period, now()) AS begun) p
LEFT JOIN budget_spending s ON s.budget_id = b.id AND s.period_start = p.begun
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(tokens), 0)::bigint AS tokens, COALESCE(sum(micros), 0)::bigint AS micros
    FROM reservations WHERE budget_id = b.id AND period_start = p.begun
) r
WHERE b.org_id = %(org_id)s AND b.run_id IS NULL
ORDER BY b.api_key_id NULLS FIRST, b.period;

-- name: put_budgets
-- Replaces the budgets of the organisation and its keys. A new one begins with what its period
-- has seen so far. One row for each key that isn't the organisation's: nothing is changed then.
WITH given AS (
    SELECT * FROM unnest(
        %(api_key_ids)s::uuid[], %(periods)s::text[], %(max_tokens)s::bigint[], %(max_micros)s::bigint[]
    ) AS g (api_key_id, period, max_tokens, max_micros)
), unknown AS (
    SELECT g.api_key_id FROM given g
    WHERE g.api_key_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM api_keys k WHERE k.id = g.api_key_id AND k.org_id = %(org_id)s::uuid
    )
), dropped AS (
    DELETE FROM budgets b
    WHERE b.org_id = %(org_id)s::uuid AND b.run_id IS NULL AND NOT EXISTS (SELECT FROM unknown)
        AND NOT EXISTS (
            SELECT FROM given g
            WHERE g.api_key_id IS NOT DISTINCT FROM b.api_key_id AND g.period = b.period
        )
), put AS (
    INSERT INTO budgets (org_id, api_key_id, period, max_tokens, max_micros)
    SELECT %(org_id)s::uuid, api_key_id, period, max_tokens, max_micros
    FROM given WHERE NOT EXISTS (SELECT FROM unknown)
    ON CONFLICT (org_id, run_id, api_key_id, period) DO UPDATE SET
        max_tokens = excluded.max_tokens, max_micros = excluded.max_micros
)
SELECT api_key_id FROM unknown;

-- name: get_usage
-- Costs what the calls of that time cost to read: they lie together in the index.
SELECT
    CASE WHEN %(by_crew)s THEN crew ELSE '' END AS crew,
    CASE WHEN %(by_model)s THEN model ELSE '' END AS model,
    CASE WHEN %(by_day)s THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') ELSE '' END AS day,
    count(*) AS model_calls,
    sum(prompt_tokens)::bigint AS prompt_tokens,
    sum(completion_tokens)::bigint AS completion_tokens,
    sum(total_tokens)::bigint AS total_tokens,
    COALESCE(sum(cost_micros), 0)::bigint AS cost_micros,
    count(*) FILTER (WHERE cost_micros IS NULL) AS unpriced_calls
FROM model_calls
WHERE org_id = %(org_id)s
    AND (%(after)s::timestamptz IS NULL OR at >= %(after)s)
    AND (%(before)s::timestamptz IS NULL OR at < %(before)s)
GROUP BY 1, 2, 3
ORDER BY 3, 1, 2
LIMIT %(limit)s;
