-- What the gauges of the queue show; read every few seconds.

-- name: read_backlog
-- Runs that haven't ended. Each count reads a partial index, so what has ended costs nothing.
SELECT
    (SELECT count(*) FROM runs WHERE status = 'queued') AS queued,
    (SELECT count(*) FROM runs WHERE status = 'running') AS running,
    (SELECT count(*) FROM runs WHERE status = 'waiting') AS waiting;
