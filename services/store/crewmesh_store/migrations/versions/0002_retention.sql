CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Artifacts whose rows are gone and whose bytes are to go.
CREATE TABLE deleted_artifacts (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL
);

-- Drops one partition of the log, of a week that ended by `moment` and of which no run is
-- left, and returns its name; null when there is none. A drop stops all writers of the log,
-- so it takes its turn within 100 ms or fails, and whoever asked tries again later.
CREATE FUNCTION drop_past_event_partition(moment timestamptz) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
    name text;
    week timestamptz;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'run_events'::regclass AND c.relname ~ '^run_events_\d{4}w\d{2}$'
        ORDER BY c.relname
    LOOP
        week := to_date(name, '"run_events_"IYYY"w"IW')::timestamp AT TIME ZONE 'UTC';
        EXIT WHEN week + interval '7 days' > moment;
        IF NOT EXISTS (
            SELECT FROM runs
            WHERE id >= uuidv7_floor(week) AND id < uuidv7_floor(week + interval '7 days')
        ) THEN
            EXECUTE format('DROP TABLE IF EXISTS %I', name);
            RETURN name;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- The same for making one: it waits for readers of the log, and all others wait for it.
ALTER FUNCTION ensure_event_partition(timestamptz) SET lock_timeout = '100ms';
