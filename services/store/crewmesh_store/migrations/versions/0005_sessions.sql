-- Conversations -----------------------------------------------------------------

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    crew text NOT NULL,
    title text NOT NULL,
    -- What every run gets besides the message and the history.
    inputs json NOT NULL,
    created_by text NOT NULL,
    -- Messages posted so far, and how many of them have no answer yet.
    turns bigint NOT NULL DEFAULT 0,
    open_turns integer NOT NULL DEFAULT 0 CHECK (open_turns >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX sessions_by_org ON sessions (org_id, id DESC);
CREATE INDEX sessions_by_age ON sessions (updated_at);

-- The nth posted message has the number 2n - 1, its answer 2n: the order of the
-- conversation, whenever an answer comes.
CREATE TABLE session_messages (
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    number bigint NOT NULL,
    org_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content text NOT NULL,
    run_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, number)
);

-- Which of its session's messages the run answers. Such a run's session_id is a session's.
ALTER TABLE runs ADD COLUMN turn bigint;

CREATE UNIQUE INDEX runs_open_turns ON runs (session_id, turn)
    WHERE turn IS NOT NULL AND finished_at IS NULL;

-- However a run ends and whoever ends it: its answer, or why there is none, becomes a
-- message in that very transaction. A session that is gone gets none.
CREATE FUNCTION end_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sessions SET open_turns = open_turns - 1, updated_at = now()
    WHERE id = NEW.session_id::uuid;
    IF FOUND THEN
        INSERT INTO session_messages (session_id, number, org_id, role, content, run_id)
        VALUES (
            NEW.session_id::uuid, 2 * NEW.turn, NEW.org_id,
            CASE NEW.status WHEN 'succeeded' THEN 'assistant' ELSE 'system' END,
            CASE NEW.status WHEN 'succeeded' THEN COALESCE(NEW.output, '') ELSE
                format('No answer: the run %s%s.', CASE NEW.status
                        WHEN 'cancelled' THEN 'was cancelled' WHEN 'timed_out' THEN 'timed out'
                        ELSE 'failed' END,
                    CASE WHEN NEW.status <> 'cancelled' AND NEW.error_message IS NOT NULL
                        THEN format(' (%s: %s)', NEW.error_code, left(NEW.error_message, 2000))
                        ELSE '' END) END,
            NEW.id
        );
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER runs_turn AFTER UPDATE ON runs
    FOR EACH ROW WHEN (
        NEW.turn IS NOT NULL AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL
    )
    EXECUTE FUNCTION end_turn();

-- What crews remember ------------------------------------------------------------

-- Of a crew in a session (or under whatever other name a run gave as its session), or in
-- its organisation where there is none: ''.
CREATE TABLE memories (
    org_id uuid NOT NULL REFERENCES orgs,
    session_id text NOT NULL,
    crew text NOT NULL,
    id uuid NOT NULL,
    content text NOT NULL,
    record json NOT NULL,
    embedding bytea NOT NULL,
    embedder text NOT NULL,
    importance real NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, session_id, crew, id)
);

CREATE INDEX memories_by_age ON memories (saved_at) WHERE session_id <> '';

-- A memory holds so many records; the least important go first, then the oldest.
CREATE FUNCTION evict_memories() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM memories m USING (
        SELECT r.org_id, r.session_id, r.crew, r.id, row_number() OVER (
            PARTITION BY r.org_id, r.session_id, r.crew
            ORDER BY r.importance DESC, r.saved_at DESC, r.id DESC
        ) AS place
        FROM memories r
        JOIN (SELECT DISTINCT org_id, session_id, crew FROM added) a
            USING (org_id, session_id, crew)
    ) ranked
    WHERE ranked.place > 500 AND m.org_id = ranked.org_id
        AND m.session_id = ranked.session_id AND m.crew = ranked.crew AND m.id = ranked.id;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_bound AFTER INSERT ON memories
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION evict_memories();

CREATE FUNCTION forget_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM memories WHERE org_id = OLD.org_id AND session_id = OLD.id::text;
    RETURN NULL;
END $$;

CREATE TRIGGER sessions_forgotten AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION forget_session();
