-- The roles that the store acts as. Neither can log in, owns anything or gets round row-level
-- security. They belong to the whole server, so they are seen to at every start: a database may
-- have come from elsewhere.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['crewmesh_tenant', 'crewmesh_mesh'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- Another database's store was first.
            END;
        END IF;
        IF NOT pg_has_role(current_user, role, 'SET') THEN
            EXECUTE format('GRANT %I TO %I', role, current_user);
        END IF;
    END LOOP;
END $$;
