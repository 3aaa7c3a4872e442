ALTER TABLE users
    ADD COLUMN name text NOT NULL DEFAULT '',
    -- A program: it has API keys and never a password.
    ADD COLUMN service_account boolean NOT NULL DEFAULT false,
    ADD COLUMN password_hash text CHECK (password_hash IS NULL OR NOT service_account),
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN last_sign_in_at timestamptz;

-- An address is one account, however it is written.
ALTER TABLE users DROP CONSTRAINT users_email_key;
CREATE UNIQUE INDEX users_by_email ON users (lower(email));
CREATE INDEX users_by_org ON users (org_id, id);

ALTER TABLE api_keys
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{*}',
    ADD COLUMN expires_at timestamptz,
    DROP CONSTRAINT api_keys_user_id_fkey,
    ADD CONSTRAINT api_keys_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;

-- A key goes with its user, and its budgets with it.
ALTER TABLE budgets
    DROP CONSTRAINT budgets_api_key_id_fkey,
    ADD CONSTRAINT budgets_api_key_id_fkey
        FOREIGN KEY (api_key_id) REFERENCES api_keys ON DELETE CASCADE;

-- Keys that access tokens are signed with. The newest signs; the others verify what they
-- have signed until it has expired.
CREATE TABLE signing_keys (
    id text PRIMARY KEY,
    -- Encrypted with AES-256-GCM by the key that sealed_by names.
    private_key bytea NOT NULL,
    sealed_by text NOT NULL,
    -- RFC 8037, as JSON.
    public_jwk json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    signs_until timestamptz NOT NULL,
    verifies_until timestamptz NOT NULL
);

-- One sign-in, and all tokens that came of it.
CREATE TABLE token_families (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE INDEX token_families_by_user ON token_families (user_id);
CREATE INDEX token_families_by_end ON token_families (expires_at);

CREATE TABLE refresh_tokens (
    -- SHA-256: a token has 256 random bits.
    hash bytea PRIMARY KEY,
    family_id uuid NOT NULL REFERENCES token_families ON DELETE CASCADE,
    issued_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz
);

CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);

-- Failed sign-ins, by account tried (there or not) and by network address.
CREATE TABLE sign_in_failures (
    subject text PRIMARY KEY,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now()
);
