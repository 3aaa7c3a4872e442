"""The schema's versions, and the one way to reach the newest."""

from __future__ import annotations

from pathlib import Path

import psycopg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from crewmesh.common.errors import StateError, UnavailableError
from crewmesh_store.database import conninfo

log = structlog.get_logger(__name__)

# Any constant: it keeps two replicas from migrating at once.
_LOCK_ID = 7_201_447
_ROLES = Path(__file__).parent / "roles.sql"


def migrate(database_url: str) -> None:
    """Bring the schema to the newest version; only one replica does it at a time.

    Raises StateError when the database is newer than this code, which then must not
    touch it, or has no roles for the store to act as; InvalidInputError for what is no database's URL, and UnavailableError when
    Postgres can't be reached, or goes away meanwhile.
    """
    try:
        _migrate(conninfo(database_url))
    except OperationalError as error:
        reason = str(error.orig).partition("\n")[0]
        raise UnavailableError(
            f"Postgres can't be reached; if it is there, check CREWMESH_DATABASE_URL: {reason}"
        ) from error


def _see_to_roles(connection: Connection) -> None:
    try:
        connection.exec_driver_sql(_ROLES.read_text(encoding="utf-8").replace("%", "%%"))
        connection.commit()
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        raise StateError(
            "the store needs two roles in Postgres and may not make them; as a superuser, execute: "
            "CREATE ROLE crewmesh_tenant NOLOGIN; CREATE ROLE crewmesh_mesh NOLOGIN; "
            "GRANT crewmesh_tenant, crewmesh_mesh TO <the role of CREWMESH_DATABASE_URL>",
            reason="ROLES_MISSING",
        ) from error


def _migrate(database: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    script = ScriptDirectory.from_config(config)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database))
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:id)"), {"id": _LOCK_ID})
        connection.commit()
        try:
            _see_to_roles(connection)
            current = MigrationContext.configure(connection).get_current_revision()
            known = {revision.revision for revision in script.walk_revisions()}
            if current is not None and current not in known:
                raise StateError(
                    f"the database's schema is version {current}, which this store doesn't know: "
                    "start a newer store",
                    reason="SCHEMA_TOO_NEW",
                )
            if current != script.get_current_head():
                log.info("migrating", current=current, target=script.get_current_head())
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": _LOCK_ID})
            connection.commit()
    engine.dispose()
