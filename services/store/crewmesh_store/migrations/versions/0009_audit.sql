-- Who did what, for each organisation one chain of entries: each one's hash covers the one before it.
-- Triggers write it, in the transaction that makes the change, whoever makes it and however.

CREATE TABLE audit_log (
    org_id uuid NOT NULL REFERENCES orgs,
    seq bigint NOT NULL,
    -- The text that the hash covers: {org_id, seq, at, actor, action, target, changes}.
    entry json NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (org_id, seq)
);

-- The newest entry of each organisation: a log that lost its last entries shows by it.
CREATE TABLE audit_heads (
    org_id uuid PRIMARY KEY REFERENCES orgs,
    seq bigint NOT NULL,
    hash bytea NOT NULL
);

SELECT protect_tenants('audit_log', 'SELECT'), protect_tenants('audit_heads', 'SELECT');
REVOKE INSERT, UPDATE, DELETE ON audit_log, audit_heads FROM crewmesh_mesh;

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_log_grows BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_log_stays BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_heads_stay BEFORE DELETE ON audit_heads
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

-- The caller, as the store says in a tenant's transaction; else the account that the row is of,
-- or whoever is at the database.
CREATE FUNCTION audit_actor(account text) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT COALESCE(
        nullif(current_setting('crewmesh.actor', true), '')::json,
        json_build_object('user_id', account, 'login', session_user)
    )
$$;

CREATE FUNCTION append_audit(org uuid, action text, target text, actor json, changes json)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    head audit_heads;
    entry text;
    digest bytea;
BEGIN
    INSERT INTO audit_heads VALUES (org, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT head FROM audit_heads WHERE org_id = org FOR UPDATE;
    entry := json_build_object(
        'org_id', org, 'seq', head.seq + 1,
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', actor, 'action', action, 'target', target, 'changes', changes
    )::text;
    digest := sha256(head.hash || convert_to(entry, 'UTF8'));
    INSERT INTO audit_log VALUES (org, head.seq + 1, entry::json, digest);
    UPDATE audit_heads SET seq = head.seq + 1, hash = digest WHERE org_id = org;
END $$;

-- Arguments: what kind of thing the table holds, which column names it, which columns are told
-- (with commas), and of which it is told only that they changed. Owned by the tables' owner:
-- nobody else can write the log.
CREATE FUNCTION audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    one jsonb := COALESCE(after, before);
    told text[] := string_to_array(TG_ARGV[2], ',');
    secret text[] := string_to_array(COALESCE(TG_ARGV[3], ''), ',');
    changes json;
BEGIN
    SELECT json_object_agg(name, CASE
        WHEN name = ANY(secret) THEN '"changed"'::json
        WHEN TG_OP = 'UPDATE' THEN json_build_array(before -> name, after -> name)
        ELSE (one -> name)::json END)
    INTO changes
    FROM unnest(told || secret) AS name
    WHERE CASE
        WHEN TG_OP = 'UPDATE' THEN before -> name IS DISTINCT FROM after -> name
        ELSE one -> name <> 'null' AND name <> ALL(secret) END;
    IF TG_OP <> 'UPDATE' OR changes IS NOT NULL THEN
        PERFORM append_audit(
            COALESCE(one ->> 'org_id', one ->> 'id')::uuid,
            TG_ARGV[0] || CASE TG_OP
                WHEN 'INSERT' THEN '.created' WHEN 'UPDATE' THEN '.changed' ELSE '.deleted' END,
            one ->> TG_ARGV[1],
            audit_actor(one ->> 'user_id'),
            COALESCE(changes, '{}')
        );
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION append_audit(uuid, text, text, json, json), audit_change() FROM PUBLIC;

CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW
    EXECUTE FUNCTION audit_change('user', 'id', 'email,name,role,service_account,disabled_at', 'password_hash');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OF revoked_at OR DELETE ON api_keys FOR EACH ROW
    EXECUTE FUNCTION audit_change('api_key', 'id', 'name,prefix,user_id,scopes,expires_at,revoked_at');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OF revoked_at ON token_families FOR EACH ROW
    EXECUTE FUNCTION audit_change('sign_in', 'id', 'user_id,revoked_at');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OF max_running, max_queued ON orgs FOR EACH ROW
    EXECUTE FUNCTION audit_change('organisation', 'id', 'name,max_running,max_queued');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON crew_limits FOR EACH ROW
    EXECUTE FUNCTION audit_change('crew_limit', 'crew', 'max_running');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON policies FOR EACH ROW
    EXECUTE FUNCTION audit_change('policy', 'org_id', 'policy');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON secrets FOR EACH ROW
    EXECUTE FUNCTION audit_change('secret', 'name', 'key_id', 'sealed');
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON crews FOR EACH ROW
    EXECUTE FUNCTION audit_change('crew', 'name', 'current_version,newest_version,deleted_at');
CREATE TRIGGER audited AFTER INSERT OR DELETE ON datasets FOR EACH ROW
    EXECUTE FUNCTION audit_change('dataset', 'id', 'name,media_type,size_bytes,sha256');
-- A single run's budget is part of the run, which says who started it.
CREATE TRIGGER audited AFTER INSERT OR UPDATE ON budgets FOR EACH ROW WHEN (NEW.run_id IS NULL)
    EXECUTE FUNCTION audit_change('budget', 'id', 'api_key_id,period,max_tokens,max_micros');
CREATE TRIGGER audited_end AFTER DELETE ON budgets FOR EACH ROW WHEN (OLD.run_id IS NULL)
    EXECUTE FUNCTION audit_change('budget', 'id', 'api_key_id,period,max_tokens,max_micros');
CREATE TRIGGER audited AFTER UPDATE OF cancel_requested_at ON runs FOR EACH ROW
    WHEN (OLD.cancel_requested_at IS NULL AND NEW.cancel_requested_at IS NOT NULL)
    EXECUTE FUNCTION audit_change('run', 'id', 'cancel_requested_at');
CREATE TRIGGER audited AFTER DELETE ON sessions FOR EACH ROW
    WHEN (current_setting('crewmesh.actor', true) <> '')
    EXECUTE FUNCTION audit_change('session', 'id', 'crew,title');
