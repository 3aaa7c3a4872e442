-- Crews that organisations brought.
CREATE TABLE crews (
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL,
    current_version integer NOT NULL,
    -- SHA-256 of the current version's definition.
    current_hash bytea NOT NULL,
    -- Of all that were ever made: a number is never given twice.
    newest_version integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Its versions stay: runs may be pinned to them.
    deleted_at timestamptz,
    PRIMARY KEY (org_id, name)
);

CREATE INDEX crews_by_name ON crews (name) WHERE deleted_at IS NULL;

CREATE TABLE crew_versions (
    org_id uuid NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    definition json NOT NULL,
    content_hash bytea NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, name, version),
    FOREIGN KEY (org_id, name) REFERENCES crews
);

-- Crews that come with workers, for everybody. A version is named by its content.
CREATE TABLE shared_crew_versions (
    name text NOT NULL,
    version text NOT NULL,
    id uuid NOT NULL UNIQUE DEFAULT uuidv7(),
    source text NOT NULL CHECK (source IN ('built_in', 'mounted', 'project')),
    definition json NOT NULL,
    content_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a version of a crew never changes' USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER crew_versions_immutable BEFORE UPDATE ON crew_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER shared_crew_versions_immutable BEFORE UPDATE ON shared_crew_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
