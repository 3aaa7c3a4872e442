-- The span of the request that asked for the run, as W3C's header `traceparent`: attempts, on
-- whichever worker and however much later, are traced as parts of it.
ALTER TABLE runs ADD COLUMN traceparent text;
