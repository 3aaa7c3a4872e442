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

-- A tenant's runs with these words, or with an id of this range. It looks as the tables' owner,
-- and at the tenant's rows alone: row-level security lets no index of words be used, since a search
-- for words might tell of other rows.
CREATE FUNCTION runs_with_words(words tsquery, first_id uuid, last_id uuid)
RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id FROM runs
    WHERE org_id = current_org() AND (
        run_words(id, crew, inputs, output, error_message) @@ words
        OR id BETWEEN first_id AND last_id
    )
$$;
REVOKE ALL ON FUNCTION runs_with_words(tsquery, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION runs_with_words(tsquery, uuid, uuid) TO crewmesh_tenant;
