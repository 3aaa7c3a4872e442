-- The run that was tried again. No reference: retention may have dropped it.
ALTER TABLE runs ADD COLUMN retry_of uuid;

-- What a run is found by. The beginnings only: a long text would cost every run that ends more
-- than it brings anyone who looks for one.
CREATE FUNCTION run_words(crew text, inputs json, output text, error_message text)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('simple'::regconfig, concat_ws(
        ' ', crew, left(inputs::text, 4000), left(output, 4000), left(error_message, 4000)
    ))
$$;

CREATE INDEX runs_by_words ON runs USING gin (run_words(crew, inputs, output, error_message));
