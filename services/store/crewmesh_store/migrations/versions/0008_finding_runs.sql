-- The run that was tried again. No reference: retention may have dropped it.
ALTER TABLE runs ADD COLUMN retry_of uuid;

-- What a run is found by. The beginnings only: a long text would cost every run that ends more
-- than it brings anyone who looks for one. Of an id the last 12 digits, which, unlike its first,
-- tell runs of the same second apart.
CREATE FUNCTION run_words(id uuid, crew text, inputs json, output text, error_message text)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(ARRAY[right(id::text, 12)]) || to_tsvector(
        'simple'::regconfig, concat_ws(
            ' ', crew, left(inputs::text, 4000), left(output, 4000), left(error_message, 4000)
        )
    )
$$;

CREATE INDEX runs_by_words ON runs USING gin (run_words(id, crew, inputs, output, error_message));
