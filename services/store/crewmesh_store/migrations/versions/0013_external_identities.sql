-- Who a user is at an identity provider. The subject is theirs for good, an address may become
-- somebody else's: so each user is one subject there, and an address finds a user once.
CREATE TABLE external_identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    org_id uuid NOT NULL REFERENCES orgs,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject),
    UNIQUE (user_id, issuer)
);

SELECT protect_tenants('external_identities', '');
