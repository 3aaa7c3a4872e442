-- The store acts as crewmesh_tenant where it serves an organisation, which crewmesh.org_id
-- names in that transaction, and as crewmesh_mesh for the mesh itself. See roles.sql.

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO crewmesh_mesh;
-- Of later tables, too; what a tenant may do with them, protect_tenants() says.
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO crewmesh_mesh;
REVOKE ALL ON alembic_version FROM crewmesh_mesh;

-- Null outside of a tenant's transaction, which equals nothing.
CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('crewmesh.org_id', true), '')::uuid
$$;

-- For each table with an org_id: a tenant sees and writes rows of its own organisation, and does
-- no more with them than `privileges` says. `rows` says which rows those are, where it isn't org_id.
CREATE FUNCTION protect_tenants(
    name regclass, privileges text, rows text DEFAULT 'org_id = (SELECT current_org())'
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY mesh ON %s TO crewmesh_mesh USING (true)', name);
    EXECUTE format('CREATE POLICY tenant ON %s TO crewmesh_tenant USING (%s)', name, rows);
    IF privileges <> '' THEN
        EXECUTE format('GRANT %s ON %s TO crewmesh_tenant', privileges, name);
    END IF;
END $$;
REVOKE ALL ON FUNCTION protect_tenants(regclass, text, text) FROM PUBLIC;

SELECT protect_tenants('orgs', 'SELECT, UPDATE (max_running, max_queued)', 'id = (SELECT current_org())');
SELECT protect_tenants(name::regclass, privileges) FROM (VALUES
    ('api_keys', 'SELECT, INSERT, UPDATE'),
    ('artifacts', 'SELECT, INSERT, UPDATE'),
    ('budgets', 'SELECT, INSERT, UPDATE, DELETE'),
    ('checkpoints', ''),
    ('crew_limits', 'SELECT, INSERT, UPDATE, DELETE'),
    ('crew_versions', 'SELECT, INSERT'),
    ('crews', 'SELECT, INSERT, UPDATE'),
    ('datasets', 'SELECT, INSERT, DELETE'),
    ('deleted_artifacts', ''),
    ('deliveries', 'SELECT, INSERT, UPDATE'),
    ('effects', ''),
    ('idempotency_keys', 'SELECT, INSERT'),
    ('memories', 'SELECT, DELETE'),
    ('model_calls', 'SELECT'),
    ('policies', 'SELECT, INSERT, UPDATE'),
    ('run_events', 'SELECT, INSERT'),
    ('runs', 'SELECT, INSERT, UPDATE'),
    ('secrets', 'SELECT, INSERT, UPDATE, DELETE'),
    ('session_messages', 'SELECT, INSERT'),
    ('sessions', 'SELECT, INSERT, UPDATE, DELETE'),
    ('token_families', 'SELECT, UPDATE'),
    ('users', 'SELECT, INSERT, UPDATE, DELETE')
) AS t (name, privileges);
-- Parts of budgets.
SELECT protect_tenants(name::regclass, privileges,
    'EXISTS (SELECT FROM budgets b WHERE b.id = budget_id)')
FROM (VALUES ('budget_spending', 'SELECT'), ('reservations', 'SELECT')) AS t (name, privileges);

-- What its period has seen so far, which a tenant may not say itself.
CREATE FUNCTION begin_budget() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO budget_spending (budget_id, period_start, tokens, micros)
    SELECT NEW.id, period_start(NEW.period, now()),
        COALESCE(sum(total_tokens), 0)::bigint, COALESCE(sum(cost_micros), 0)::bigint
    FROM model_calls m
    WHERE m.org_id = NEW.org_id AND m.at >= period_start(NEW.period, now())
        AND (NEW.api_key_id IS NULL OR m.api_key_id = NEW.api_key_id)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION begin_budget() FROM PUBLIC;

CREATE TRIGGER budgets_begin AFTER INSERT OR UPDATE ON budgets
    FOR EACH ROW WHEN (NEW.run_id IS NULL) EXECUTE FUNCTION begin_budget();

-- What is nobody's. Tables that aren't named at all, such as signing_keys, are the mesh's alone.
GRANT SELECT ON run_transitions, shared_crew_versions, workers TO crewmesh_tenant;

-- Whether any organisation's run waits that could start: all that one may know of the others.
CREATE FUNCTION any_run_waits() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM runs WHERE status = 'queued' AND available_at <= now());
END $$;

-- Partitions belong to the tables' owner.
ALTER FUNCTION ensure_event_partition(timestamptz) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION drop_past_event_partition(timestamptz) SECURITY DEFINER SET search_path = public, pg_temp;
REVOKE ALL ON FUNCTION
    any_run_waits(), ensure_event_partition(timestamptz), drop_past_event_partition(timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION any_run_waits() TO crewmesh_tenant, crewmesh_mesh;
GRANT EXECUTE ON FUNCTION
    ensure_event_partition(timestamptz), drop_past_event_partition(timestamptz) TO crewmesh_mesh;
