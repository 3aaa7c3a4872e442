-- What somebody has started, newest first. Without it, one who has started few runs has them
-- looked for among all of the organisation's.
CREATE INDEX runs_by_creator ON runs (org_id, created_by, id DESC);
