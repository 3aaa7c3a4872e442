"""A migration takes nothing away that the release before it uses: expand, then contract."""

from __future__ import annotations

import re
from pathlib import Path

import crewmesh_store.migrations

VERSIONS = Path(crewmesh_store.migrations.__file__).parent / "versions"

# What contracts: the file, what it does, the version since which nothing uses what goes, and why.
# docs/operations/upgrade.md says when a line may be added. Everything before 0.1.0 had no release.
CONTRACTS = {
    ("0005_sessions", "runs: CREATE UNIQUE INDEX"): ("0.1.0", "of a column that is new here"),
    ("0007_identity", "users: DROP CONSTRAINT users_email_key"): ("0.1.0", "users_by_email"),
    ("0007_identity", "users: CREATE UNIQUE INDEX"): ("0.1.0", "it holds more than what it was"),
    ("0007_identity", "api_keys: DROP CONSTRAINT api_keys_user_id_fkey"): ("0.1.0", "anew, below"),
    ("0007_identity", "api_keys: ADD CONSTRAINT"): ("0.1.0", "the same; it cascades"),
    ("0007_identity", "budgets: DROP CONSTRAINT budgets_api_key_id_fkey"): ("0.1.0", "anew, below"),
    ("0007_identity", "budgets: ADD CONSTRAINT"): ("0.1.0", "the same; it cascades"),
    ("0008_row_security", "alembic_version: REVOKE"): ("0.1.0", "of a role that is new here"),
    ("0014_request_limits", "orgs: DROP TRIGGER audited"): ("0.1.0", "anew, of more columns"),
}  # fmt: skip

_NAME = r'(?:IF (?:NOT )?EXISTS )?(?:ONLY )?"?(?:public\.)?(\w+)"?'
_TABLE_ACTIONS = {
    r"\bDROP (?:COLUMN|CONSTRAINT) (?:IF EXISTS )?\w+": None,
    # The word COLUMN may be left out.
    r"\bDROP (?!COLUMN|CONSTRAINT|DEFAULT|NOT NULL|EXPRESSION|IDENTITY)\w+": "DROP COLUMN",
    r"\bRENAME\b": "RENAME",
    r"\bALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE\b": "ALTER TYPE",
    r"\bSET NOT NULL\b": "SET NOT NULL",
    r"\bADD (?:CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b": "ADD CONSTRAINT",
    r"\bFORCE ROW LEVEL SECURITY\b": "FORCE ROW LEVEL SECURITY",
}


def statements_of(sql: str) -> list[str]:
    """Return what is executed at once: functions' bodies aren't, DO's are."""
    sql = re.sub(r"--[^\n]*", "", sql)
    sql = re.sub(r"\bDO (\$\w*\$)(.*?)\1", lambda do: do[2], sql, flags=re.DOTALL | re.IGNORECASE)
    sql = re.sub(r"(\$\w*\$).*?\1", "''", sql, flags=re.DOTALL)
    return [" ".join(statement.split()) for statement in sql.split(";") if statement.strip()]


def contractions(sql: str) -> list[str]:
    """Return what the statements take from tables, types and rights that were there before."""
    found: list[str] = []
    statements = statements_of(sql)
    new = {
        name[1]
        for statement in statements
        if (
            name := re.match(
                rf"CREATE (?:UNLOGGED )?(?:TABLE|VIEW) {_NAME}", statement, re.IGNORECASE
            )
        )
    }
    for statement in statements:
        if table := re.search(rf"\bALTER TABLE {_NAME}", statement, re.IGNORECASE):
            if table[1] in new:
                continue
            rest = statement[table.end() :]
            for pattern, shown in _TABLE_ACTIONS.items():
                for action in re.finditer(pattern, rest, re.IGNORECASE):
                    what = shown or action[0].replace("IF EXISTS ", "")
                    found.append(f"{table[1]}: {what}")
            found += [
                f"{table[1]}: ADD COLUMN NOT NULL"
                for column in re.split(r",(?![^()]*\))", rest)
                if re.search(r"\bADD (?:COLUMN )?\w+", column, re.IGNORECASE)
                and re.search(r"\bNOT NULL\b", column, re.IGNORECASE)
                and not re.search(r"\b(DEFAULT|GENERATED)\b", column, re.IGNORECASE)
            ]
        elif trigger := re.match(
            r"DROP (TRIGGER|POLICY|RULE) (?:IF EXISTS )?(\w+) ON (\w+)", statement, re.IGNORECASE
        ):
            found.append(f"{trigger[3]}: DROP {trigger[1]} {trigger[2]}")
        elif dropped := re.match(rf"DROP (?!INDEX)([A-Z ]+?) {_NAME}", statement, re.IGNORECASE):
            found.append(f"{dropped[2]}: DROP {dropped[1]}")
        elif changed := re.match(
            rf"ALTER (TYPE|DOMAIN|FUNCTION|VIEW) {_NAME}", statement, re.IGNORECASE
        ):
            if re.search(r"\b(RENAME|DROP|ALTER ATTRIBUTE|SET SCHEMA)\b", statement, re.IGNORECASE):
                found.append(f"{changed[2]}: ALTER {changed[1]}")
        elif index := re.match(
            r"CREATE UNIQUE INDEX (?:CONCURRENTLY )?\w+ ON (\w+)(.*)", statement, re.IGNORECASE
        ):
            if index[1] not in new:
                found.append(f"{index[1]}: CREATE UNIQUE INDEX")
        elif taken := re.match(
            r"REVOKE .* ON (?:TABLE )?([\w, ]+?) FROM", statement, re.IGNORECASE
        ):
            names = [name.strip() for name in taken[1].split(",")]
            found += [
                f"{name}: REVOKE" for name in names if name not in new and "FUNCTION" not in name
            ]
        elif emptied := re.match(rf"TRUNCATE (?:TABLE )?{_NAME}", statement, re.IGNORECASE):
            found.append(f"{emptied[1]}: TRUNCATE")
    return found


def test_nothing_contracts_but_what_is_listed() -> None:
    found = {
        (path.stem, what)
        for path in sorted(VERSIONS.glob("*.sql"))
        for what in contractions(path.read_text(encoding="utf-8"))
    }
    assert found - CONTRACTS.keys() == set(), (
        "see docs/operations/upgrade.md: expand, then contract"
    )
    assert CONTRACTS.keys() - found == set(), "listed, and not there"


def test_a_migration_does_what_its_sql_says_and_nothing_else() -> None:
    scripts = sorted(VERSIONS.glob("0*.py"))
    assert [path.stem for path in scripts] == [path.stem for path in sorted(VERSIONS.glob("*.sql"))]
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\bop\.(\w+)", text)) == {"get_bind"}, path.name
        assert text.count("exec_driver_sql(") == 1, path.name


def test_what_contracts_is_known_by_its_form() -> None:
    for sql, what in {
        "DROP TABLE runs": "runs: DROP TABLE",
        "DROP TABLE IF EXISTS runs CASCADE;": "runs: DROP TABLE",
        "ALTER TABLE runs ADD COLUMN a text, DROP COLUMN b;": "runs: DROP COLUMN b",
        "ALTER TABLE runs DROP b;": "runs: DROP COLUMN",
        "ALTER TABLE runs RENAME COLUMN a TO b;": "runs: RENAME",
        "ALTER TABLE runs RENAME TO walks;": "runs: RENAME",
        "ALTER TABLE runs ALTER COLUMN a TYPE bigint;": "runs: ALTER TYPE",
        "ALTER TABLE runs ALTER a SET DATA TYPE bigint;": "runs: ALTER TYPE",
        "alter table only runs alter column a set not null": "runs: SET NOT NULL",
        "ALTER TABLE runs ADD COLUMN a text NOT NULL;": "runs: ADD COLUMN NOT NULL",
        "ALTER TABLE runs ADD CONSTRAINT c CHECK (a > 0)": "runs: ADD CONSTRAINT",
        "ALTER TYPE run_status RENAME VALUE 'a' TO 'b';": "run_status: ALTER TYPE",
        "DROP TYPE run_status": "run_status: DROP TYPE",
        "DROP FUNCTION end_turn()": "end_turn: DROP FUNCTION",
        "DROP POLICY tenant ON runs": "runs: DROP POLICY tenant",
        "CREATE UNIQUE INDEX i ON runs (a)": "runs: CREATE UNIQUE INDEX",
        "REVOKE UPDATE ON runs FROM crewmesh_mesh": "runs: REVOKE",
        "TRUNCATE runs": "runs: TRUNCATE",
        "DO $$ BEGIN ALTER TABLE runs DROP COLUMN b; END $$": "runs: DROP COLUMN b",
    }.items():
        assert contractions(sql) == [what], sql


def test_what_expands_is_let_through() -> None:
    for sql in (
        "CREATE TABLE t (a text NOT NULL); CREATE UNIQUE INDEX i ON t (a); ALTER TABLE t DROP a",
        "ALTER TABLE runs ADD COLUMN a text, ADD COLUMN b integer NOT NULL DEFAULT 0",
        "ALTER TABLE runs ALTER COLUMN a DROP NOT NULL, ALTER COLUMN b SET DEFAULT ''",
        "ALTER TABLE runs ALTER COLUMN a DROP DEFAULT; -- DROP TABLE runs",
        "ALTER TYPE run_status ADD VALUE 'new'",
        "DROP INDEX runs_by_crew",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DROP TABLE runs $$",
        "REVOKE ALL ON FUNCTION f() FROM PUBLIC",
    ):
        assert contractions(sql) == [], sql
