-- Where runs are posted when they have ended. A row is made with its run; the
-- transaction that ends the run, whichever it is, makes it due.
CREATE TABLE deliveries (
    run_id uuid PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    org_id uuid NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'due', 'delivered', 'failed')),
    tries integer NOT NULL DEFAULT 0,
    -- A claim moves this ahead: nobody else takes it meanwhile.
    next_try_at timestamptz,
    last_status integer NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    delivered_at timestamptz
);

CREATE INDEX deliveries_due ON deliveries (next_try_at) WHERE status = 'due';

ALTER TABLE runs ADD COLUMN has_webhook boolean NOT NULL DEFAULT false;

CREATE FUNCTION make_delivery_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE deliveries SET status = 'due', next_try_at = now()
    WHERE run_id = NEW.id AND status = 'waiting';
    RETURN NULL;
END $$;

CREATE TRIGGER runs_webhook AFTER UPDATE OF status ON runs
    FOR EACH ROW
    WHEN (NEW.has_webhook AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION make_delivery_due();
