"""A run's datasets as tables of an in-memory DuckDB that reaches nothing else.

The datasets are copied in; then file access, extensions and changes of settings are
switched off for good, and only statements that read are let through.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from numpy.typing import NDArray

from crewmesh_worker.tools.registry import ToolError

MAX_ROWS = 100
STATEMENT_SECONDS = 20.0
# Of all datasets of a run: a file of a few kB may unpack to any size.
LOAD_SECONDS = 120.0
_MAX_CELL_CHARACTERS = 300
_CONFIG: dict[str, Any] = {
    "threads": 2,
    "memory_limit": "1GB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_LOCKDOWN = "SET enable_external_access = false; SET lock_configuration = true"
# Date formats, each with one meaning, that DuckDB's readers leave as text.
_DATE_FORMATS = ["%b %d %Y", "%b %d, %Y", "%d %b %Y", "%B %d, %Y", "%d.%m.%Y", "%Y/%m/%d"]

_TRIED_ROWS = 1_000

Row = list[Any]


@dataclass(frozen=True)
class Result:
    """A statement's answer: its first rows, as JSON values, and how many there are in all."""

    columns: list[str]
    rows: list[Row]
    total: int

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Database:
    """Tables by input name. Opened by the first query; one query runs at a time."""

    def __init__(self, datasets: Mapping[str, Path]) -> None:
        self._datasets = dict(datasets)
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    @property
    def tables(self) -> list[str]:
        """Names of the tables."""
        return list(self._datasets)

    def query(self, sql: str, max_rows: int = MAX_ROWS) -> Result:
        """Answer one reading statement.

        Raises ToolError for anything else, for a wrong statement (it lists the columns)
        and for one that runs longer than STATEMENT_SECONDS.
        """
        with self._lock:
            connection = self._open()
            try:
                self._require_reading(connection, sql)
                with _time_limit(connection, STATEMENT_SECONDS):
                    cursor = connection.execute(sql)
                    columns = [column[0] for column in cursor.description or ()]
                    rows = [[_plain(cell) for cell in row] for row in cursor.fetchmany(max_rows)]
                    total = len(rows)
                    while chunk := cursor.fetchmany(10_000):
                        total += len(chunk)
            except duckdb.InterruptException as error:
                raise ToolError(
                    f"the query was stopped after {STATEMENT_SECONDS:.0f} s: aggregate or filter "
                    "earlier, and avoid joins without a condition"
                ) from error
            except duckdb.Error as error:
                raise ToolError(f"{error}\n{self._describe(connection)}") from error
            return Result(columns, rows, total)

    def arrays(self, sql: str) -> dict[str, NDArray[Any]]:
        """Answer one reading statement whole, each column an array; masked where it has nulls.

        For tools' own statements: it has no limit of rows. Raises ToolError as `query` does.
        """
        with self._lock:
            connection = self._open()
            try:
                self._require_reading(connection, sql)
                found: dict[str, NDArray[Any]] = connection.execute(sql).fetchnumpy()
            except duckdb.Error as error:
                raise ToolError(f"{error}\n{self._describe(connection)}") from error
            return found

    def columns(self, table: str) -> dict[str, str]:
        """Return the types of a table's columns, by their names, in order."""
        with self._lock:
            return dict(_columns(self._open(), table))

    def path(self, table: str) -> Path:
        """Return the file that a table is read from."""
        return self._datasets[table]

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            if not self._datasets:
                raise ToolError("this run has no dataset: give it one as an input")
            connection = duckdb.connect(":memory:", config=_CONFIG)
            with _time_limit(connection, LOAD_SECONDS):
                for name, path in self._datasets.items():
                    _load(connection, name, path)
            connection.execute(_LOCKDOWN)
            self._connection = connection
        return self._connection

    def _require_reading(self, connection: duckdb.DuckDBPyConnection, sql: str) -> None:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ToolError(
                "only one statement that reads is allowed: SELECT, WITH, FROM, DESCRIBE or SUMMARIZE"
            )

    def _describe(self, connection: duckdb.DuckDBPyConnection) -> str:
        return "\n".join(
            f"Columns of {name}: " + ", ".join(f'"{c}" {t}' for c, t in _columns(connection, name))
            for name in self._datasets
        )


def _load(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        raise ToolError(f"the dataset {name!r} can't be read: it is empty")
    if head.startswith(b"PAR1"):
        reader = "read_parquet"
    elif head.lstrip()[:1] in (b"{", b"["):
        reader = "read_json"
    else:
        reader = "read_csv"
    try:
        connection.execute(f"CREATE TABLE {quote(name)} AS FROM {reader}(?)", [str(path)])
        _convert_columns(connection, name)
    except duckdb.OutOfMemoryException as error:
        raise ToolError(
            f"the dataset {name!r} can't be read: unpacked, it takes more than the "
            f"{_CONFIG['memory_limit']} of memory that a run's data may; give the run an extract of it"
        ) from error
    except duckdb.InterruptException as error:
        raise ToolError(
            f"the dataset {name!r} can't be read within {LOAD_SECONDS:.0f} s: give the run an "
            "extract of it"
        ) from error
    except duckdb.Error as error:
        reason = str(error).replace(str(path), name).splitlines()[0]
        raise ToolError(
            f"the dataset {name!r} can't be read as {reader.removeprefix('read_')}: {reason}"
        ) from error


def _convert_columns(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for column, type_ in _columns(connection, name):
        if type_ == "VARCHAR":
            _convert_dates(connection, quote(name), quote(column))
        elif type_ == "TIMESTAMP WITH TIME ZONE":
            # In UTC, as text has it: DuckDB gives Python the other only with a time zone database.
            connection.execute(
                f"ALTER TABLE {quote(name)} ALTER {quote(column)} SET DATA TYPE TIMESTAMP "
                f"USING make_timestamp(epoch_us({quote(column)}))"
            )


def _convert_dates(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> None:
    """Make a text column a DATE where every value is one."""
    parsed = f"try_strptime({column}, {_DATE_FORMATS})"
    # A look at some first: a million names take seconds to be tried.
    some = f"(SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT {_TRIED_ROWS})"  # noqa: S608
    if _all_dates(connection, some, column, parsed) and _all_dates(
        connection, table, column, parsed
    ):
        connection.execute(
            f"ALTER TABLE {table} ALTER {column} SET DATA TYPE DATE USING {parsed}::DATE"
        )


def _all_dates(
    connection: duckdb.DuckDBPyConnection, source: str, column: str, parsed: str
) -> bool:
    texts, dates = connection.execute(
        f"SELECT count({column}), count({parsed}) FROM {source}"  # noqa: S608
    ).fetchall()[0]
    return bool(texts) and texts == dates


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    rows = connection.execute(f"DESCRIBE {quote(table)}").fetchall()
    return [(row[0], row[1]) for row in rows]


def quote(identifier: str) -> str:
    """Return a name as it stands in SQL."""
    return '"' + identifier.replace('"', '""') + '"'


@contextmanager
def _time_limit(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _plain(value: Any) -> Any:
    """Return a cell as a JSON value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time.min:
        return value.date().isoformat()
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    text = str(value)
    return text if len(text) <= _MAX_CELL_CHARACTERS else text[:_MAX_CELL_CHARACTERS] + "…"
