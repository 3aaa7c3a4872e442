-- Who ------------------------------------------------------------------------

CREATE TABLE orgs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL,
    -- How many of its runs may be running at once, in all; no limit where null.
    max_running integer CHECK (max_running > 0),
    -- How many of its runs may wait in the queue.
    max_queued integer NOT NULL DEFAULT 10000 CHECK (max_queued > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The same for single crews of an organisation.
CREATE TABLE crew_limits (
    org_id uuid NOT NULL REFERENCES orgs,
    crew text NOT NULL,
    max_running integer NOT NULL CHECK (max_running > 0),
    PRIMARY KEY (org_id, crew)
);

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    org_id uuid NOT NULL REFERENCES orgs,
    email text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'operator', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    org_id uuid NOT NULL REFERENCES orgs,
    user_id uuid NOT NULL REFERENCES users,
    name text NOT NULL,
    prefix text NOT NULL,
    -- SHA-256: a key has 256 random bits, so a slow hash would add nothing.
    secret_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);

CREATE INDEX api_keys_by_org ON api_keys (org_id, id);

-- Runs -----------------------------------------------------------------------

CREATE TYPE run_status AS ENUM (
    'queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'timed_out'
);

-- The state machine, whole. A status changes along one of these rows or not at all.
CREATE TABLE run_transitions (
    from_status run_status NOT NULL,
    to_status run_status NOT NULL,
    PRIMARY KEY (from_status, to_status)
);

INSERT INTO run_transitions VALUES
    ('queued', 'running'),      -- claimed by a worker
    ('queued', 'cancelled'),
    ('running', 'succeeded'),
    ('running', 'failed'),      -- by the crew, or with no attempts left
    ('running', 'cancelled'),
    ('running', 'timed_out'),
    ('running', 'queued'),      -- the lease was lost or handed back
    ('running', 'waiting'),     -- for a person
    ('waiting', 'queued'),      -- the person has answered
    ('waiting', 'cancelled'),
    ('waiting', 'timed_out');   -- nobody answered in time

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    crew text NOT NULL,
    crew_version text NOT NULL,
    status run_status NOT NULL,
    inputs json NOT NULL,
    output text,
    output_json json,
    error_code text,
    error_message text,
    attempt integer NOT NULL DEFAULT 0,
    -- Attempts that failed through no fault of the crew.
    failures integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    priority integer NOT NULL,
    timeout_seconds integer NOT NULL,
    session_id text,
    created_by text NOT NULL,
    -- The lease. `epoch` rises with every claim and fences writes of older ones.
    epoch bigint NOT NULL DEFAULT 0,
    worker_id text,
    lease_expires_at timestamptz,
    -- Queued runs aren't claimed before this.
    available_at timestamptz NOT NULL DEFAULT now(),
    -- Waiting runs time out then.
    waiting_until timestamptz,
    -- What a person answered, for the next attempt: {text, approve?}.
    answer json,
    last_seq bigint NOT NULL,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    total_tokens bigint NOT NULL DEFAULT 0,
    model_calls bigint NOT NULL DEFAULT 0,
    cancel_requested_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
-- Room on each page, so that updates of unindexed columns stay on it.
) WITH (fillfactor = 80);

-- Finished runs are in none of the first two, so they never slow a claim.
CREATE INDEX runs_queue ON runs (org_id, priority DESC, id) WHERE status = 'queued';
CREATE INDEX runs_leased ON runs (org_id, crew) WHERE status = 'running';
CREATE INDEX runs_waiting ON runs (waiting_until) WHERE status = 'waiting';
CREATE INDEX runs_by_org ON runs (org_id, id DESC);
CREATE INDEX runs_by_session ON runs (org_id, session_id, id DESC) WHERE session_id IS NOT NULL;

CREATE FUNCTION refuse_illegal_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM run_transitions
        WHERE from_status = OLD.status AND to_status = NEW.status
    ) THEN
        RAISE EXCEPTION 'run %: illegal transition % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER runs_transition BEFORE UPDATE OF status ON runs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION refuse_illegal_transition();

CREATE TABLE idempotency_keys (
    org_id uuid NOT NULL REFERENCES orgs,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    run_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
);

-- The log. Run ids are UUIDv7, so a range of ids is a range of time: a run's
-- events lie together in one partition, its key is unique across all of them,
-- and retention drops whole partitions.
CREATE TABLE run_events (
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    org_id uuid NOT NULL,
    at timestamptz NOT NULL,
    attempt integer NOT NULL,
    type text NOT NULL,
    task text NOT NULL DEFAULT '',
    agent text NOT NULL DEFAULT '',
    payload json NOT NULL,
    PRIMARY KEY (run_id, seq)
) PARTITION BY RANGE (run_id);

-- A run's tasks are read from here without its chunks.
CREATE INDEX run_events_of_tasks ON run_events (run_id, seq)
    WHERE type IN ('task.started', 'task.completed', 'task.failed');

CREATE TABLE run_events_default PARTITION OF run_events DEFAULT;

-- The smallest UUIDv7 of a moment.
CREATE FUNCTION uuidv7_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partition of the week that `moment` is in, if there is none.
CREATE FUNCTION ensure_event_partition(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    week timestamptz := date_trunc('week', moment, 'UTC');
    name text := 'run_events_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW');
BEGIN
    IF to_regclass(name) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF run_events FOR VALUES FROM (%L) TO (%L)',
            name, uuidv7_floor(week), uuidv7_floor(week + interval '7 days')
        );
    END IF;
END $$;

-- The pause before the next attempt, after so many failures: none, 1 s, 2 s, 4 s, ... 60 s.
CREATE FUNCTION retry_delay(failures integer) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN failures <= 1 THEN interval '0'
        ELSE least(interval '1 second' * 2 ^ least(failures - 2, 6), interval '60 seconds') END
$$;

-- What tasks of unfinished runs put out.
CREATE TABLE checkpoints (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    task_index integer NOT NULL,
    org_id uuid NOT NULL,
    output bytea NOT NULL,
    waiting boolean NOT NULL,
    PRIMARY KEY (run_id, task_index)
);

-- Calls of tools with side effects that have been made.
CREATE TABLE effects (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    key text NOT NULL,
    org_id uuid NOT NULL,
    result text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, key)
);

-- Files ------------------------------------------------------------------------

CREATE TABLE datasets (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX datasets_by_org ON datasets (org_id, id DESC);
CREATE INDEX datasets_by_name ON datasets (org_id, name, id DESC);

CREATE TABLE artifacts (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    name text NOT NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX artifacts_by_run ON artifacts (run_id, id);

-- The fleet --------------------------------------------------------------------

CREATE TABLE workers (
    id text PRIMARY KEY,
    address text NOT NULL,
    version text NOT NULL,
    slots integer NOT NULL,
    free_slots integer NOT NULL,
    -- Changes with every stream that the worker opens, at whatever replica.
    session_id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now()
);
