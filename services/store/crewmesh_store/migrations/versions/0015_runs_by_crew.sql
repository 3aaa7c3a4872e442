-- A crew's runs, newest first. Without it, a crew that has few is looked for among all of its
-- organisation's.
CREATE INDEX runs_by_crew ON runs (org_id, crew, id DESC);

-- Webhooks that were given up: few, it is hoped, and looked for.
CREATE INDEX deliveries_failed ON deliveries (org_id) WHERE status = 'failed';
