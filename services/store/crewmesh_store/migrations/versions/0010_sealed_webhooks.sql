-- Signing secrets of webhooks are sealed like tenants' secrets, each for its run only. The
-- column `secret` stays for replicas that don't know this yet; what is in it is sealed at the
-- store's start.
ALTER TABLE deliveries
    ADD COLUMN key_id text NOT NULL DEFAULT '',
    ADD COLUMN sealed bytea,
    ALTER COLUMN secret SET DEFAULT '';

-- Nobody needs the secret of what is over.
UPDATE deliveries SET secret = '' WHERE status IN ('delivered', 'failed');
