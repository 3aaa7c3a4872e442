-- Amounts of money are in millionths of a US dollar ("micros").

ALTER TABLE runs
    -- Chosen for this run, in order; empty where the crew, the tenant or the mesh chooses.
    ADD COLUMN models text[] NOT NULL DEFAULT '{}',
    -- By which it was started; null where it was another credential.
    ADD COLUMN api_key_id uuid,
    -- What it may spend in all.
    ADD COLUMN max_tokens bigint CHECK (max_tokens > 0),
    ADD COLUMN max_micros bigint CHECK (max_micros > 0),
    ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN unpriced_calls bigint NOT NULL DEFAULT 0;

-- One row for each llm.completed, stored with it.
CREATE TABLE model_calls (
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    org_id uuid NOT NULL,
    api_key_id uuid,
    at timestamptz NOT NULL,
    crew text NOT NULL,
    model text NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL,
    -- Null where the model's price isn't known.
    cost_micros bigint,
    PRIMARY KEY (run_id, seq)
);

CREATE INDEX model_calls_by_org ON model_calls (org_id, at);

-- What may be spent: by an organisation, by the runs of an API key, or by a run.
CREATE TABLE budgets (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    org_id uuid NOT NULL REFERENCES orgs,
    api_key_id uuid REFERENCES api_keys,
    run_id uuid REFERENCES runs ON DELETE CASCADE,
    period text NOT NULL CHECK (period IN ('day', 'month', 'total')),
    max_tokens bigint CHECK (max_tokens > 0),
    max_micros bigint CHECK (max_micros > 0),
    CHECK (max_tokens IS NOT NULL OR max_micros IS NOT NULL),
    CHECK (api_key_id IS NULL OR run_id IS NULL),
    UNIQUE NULLS NOT DISTINCT (org_id, run_id, api_key_id, period)
);

CREATE INDEX budgets_of_run ON budgets (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE budget_spending (
    budget_id uuid NOT NULL REFERENCES budgets ON DELETE CASCADE,
    period_start timestamptz NOT NULL,
    tokens bigint NOT NULL,
    micros bigint NOT NULL,
    PRIMARY KEY (budget_id, period_start)
);

-- What calls under way may consume at most: a row for each call and budget. What a budget has
-- reserved is their sum, so there is no counter that could drift.
CREATE TABLE reservations (
    id uuid NOT NULL,
    budget_id uuid NOT NULL REFERENCES budgets ON DELETE CASCADE,
    period_start timestamptz NOT NULL,
    run_id uuid NOT NULL,
    epoch bigint NOT NULL,
    tokens bigint NOT NULL,
    micros bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    PRIMARY KEY (id, budget_id)
);

CREATE INDEX reservations_by_budget ON reservations (budget_id, period_start);

-- When the period of a budget began that a moment is in, in UTC.
CREATE FUNCTION period_start(period text, moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE period
        WHEN 'total' THEN 'epoch'::timestamptz
        ELSE date_trunc(period, moment, 'UTC') END
$$;

-- Encrypted with AES-256-GCM by the key that key_id names, for this organisation and name only.
CREATE TABLE secrets (
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    -- The value's last characters, where it is long enough.
    ending text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name)
);

CREATE TABLE policies (
    org_id uuid PRIMARY KEY REFERENCES orgs,
    policy json NOT NULL,
    updated_by text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- What comes with a run's lease of what its organisation has set:
-- {budgeted, policy?, secrets: [[name, key_id, sealed in base64], ...]?}.
CREATE FUNCTION lease_terms(org uuid, api_key uuid, own_budget boolean) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'budgeted', own_budget OR EXISTS (
            SELECT FROM budgets b WHERE b.org_id = org AND b.run_id IS NULL
                AND (b.api_key_id IS NULL OR b.api_key_id = api_key)
        ),
        'policy', (SELECT p.policy::text FROM policies p WHERE p.org_id = org),
        'secrets', (
            SELECT json_agg(json_build_array(s.name, s.key_id, encode(s.sealed, 'base64')))
            FROM secrets s WHERE s.org_id = org
        )
    )
$$;

-- What so many tokens cost, rounded up; null where the price of a million isn't known.
CREATE FUNCTION micros_of(tokens bigint, per_million bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT ceil(tokens::numeric * per_million / 1000000)::bigint
$$;

-- How many tokens an answer may have where so much is left; a limit that is null has room for
-- any number, as has one in money where the answer costs nothing.
CREATE FUNCTION completion_room(
    left_tokens bigint, left_micros bigint, prompt_tokens bigint, prompt_micros bigint,
    per_million bigint
) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT LEAST(
        COALESCE(left_tokens - prompt_tokens, 9e15::bigint),
        CASE
            WHEN left_micros IS NULL OR per_million IS NULL THEN 9e15::bigint
            WHEN left_micros < prompt_micros THEN -1
            WHEN per_million = 0 THEN 9e15::bigint
            ELSE floor((left_micros - prompt_micros)::numeric * 1000000 / per_million)::bigint END
    )
$$;
