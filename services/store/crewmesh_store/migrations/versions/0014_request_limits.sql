-- When each subject (an API key, a person, a network address) will have given back all that its
-- requests took of its minute. A row that is past says nothing, and is removed. Nothing is lost
-- with these rows but a minute's counts, so they cost no log and no flush.
CREATE UNLOGGED TABLE request_counts (
    subject text PRIMARY KEY,
    whole_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- Of each API key and each person signed in; null: as the mesh's own.
ALTER TABLE orgs ADD COLUMN max_requests_per_minute integer
    CHECK (max_requests_per_minute BETWEEN 1 AND 1000000);
GRANT UPDATE (max_requests_per_minute) ON orgs TO crewmesh_tenant;

DROP TRIGGER audited ON orgs;
CREATE TRIGGER audited
    AFTER INSERT OR UPDATE OF max_running, max_queued, max_requests_per_minute ON orgs
    FOR EACH ROW EXECUTE FUNCTION
    audit_change('organisation', 'id', 'name,max_running,max_queued,max_requests_per_minute');
