"""Datasets as tables that can be read and nothing else."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import duckdb
import pytest

from crewmesh_worker.tools import database
from crewmesh_worker.tools.database import Database
from crewmesh_worker.tools.registry import ToolError


@pytest.fixture
def data(sales: Path) -> Database:
    return Database({"data": sales})


def test_an_answer_has_columns_rows_as_json_values_and_the_total(data: Database) -> None:
    result = data.query('SELECT "day", "amount", "note" IS NULL AS gap FROM data ORDER BY "day"')
    assert result.columns == ["day", "amount", "gap"]
    assert result.rows[1:] == [
        ["2024-01-02", 20.25, True],
        ["2024-02-01", 30.0, False],
        ["2024-02-02", None, False],
    ]
    assert result.total == 4


def test_more_rows_than_are_shown_are_counted(data: Database) -> None:
    result = data.query("SELECT * FROM range(25000)", max_rows=3)
    assert [row[0] for row in result.rows] == [0, 1, 2]
    assert result.total == 25_000


@pytest.mark.parametrize(
    "value",
    ["'nan'::DOUBLE", "'inf'::DOUBLE", "NULL", "DATE '2024-05-01'", "1.50::DECIMAL(9,2)",
     "[1, NULL]", "{'a': DATE '2024-05-01'}", "INTERVAL 1 DAY", "'x'::BLOB", "2::HUGEINT"],
)  # fmt: skip
def test_every_kind_of_value_becomes_json(data: Database, value: str) -> None:
    json.dumps(data.query(f"SELECT {value} AS v").rows, allow_nan=False)


def test_parquet_and_json_are_known_by_their_content(tmp_path: Path) -> None:
    parquet, lines, array = (tmp_path / name for name in ("one", "two", "three"))
    duckdb.sql("SELECT 7 AS n").write_parquet(str(parquet))
    lines.write_text('{"n": 7}\n{"n": 8}\n', encoding="utf-8")
    array.write_text('[{"n": 7}, {"n": 8}]', encoding="utf-8")
    tables = Database({"one": parquet, "two": lines, "three": array})
    assert tables.query("SELECT sum(n) FROM one").rows == [[7]]
    assert tables.query("SELECT sum(n) FROM two").rows == [[15]]
    assert tables.query("SELECT sum(n) FROM three").rows == [[15]]


ROWS, LIE = 20_000_000, 1_000_000_000


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of a few kB that unpack to 160 MB and more, or say so."""
    directory = tmp_path_factory.mktemp("bombs")
    files = {name: directory / name for name in ("rows", "text", "claims")}
    for name, sql in (
        ("rows", f"SELECT 0::BIGINT AS a FROM range({ROWS})"),
        ("text", "SELECT repeat('x', 1000000) AS a FROM range(300)"),
    ):
        duckdb.sql(sql).write_parquet(str(files[name]), compression="zstd")
    content = files["rows"].read_bytes()
    # Its number of rows, as the footer writes it.
    assert content.count(varint(ROWS)) == 1
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8].replace(varint(ROWS), varint(LIE))
    head = content[: -8 - length]
    files["claims"].write_bytes(head + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return files


def varint(number: int) -> bytes:
    """Return a number as Thrift's compact protocol writes it."""
    rest, written = number << 1, b""
    while rest > 127:
        written += bytes([rest & 127 | 128])
        rest >>= 7
    return written + bytes([rest])


@pytest.mark.parametrize("bomb", ["rows", "text", "claims"])
def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    bombs: dict[str, Path], bomb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database._CONFIG, "memory_limit", "100MB")
    assert bombs[bomb].stat().st_size < 50_000
    with pytest.raises(ToolError, match=r"'data' can't be read: unpacked, it takes .* 100MB"):
        Database({"data": bombs[bomb]}).query("SELECT 1")


def test_reading_has_a_limit_of_time(
    bombs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOAD_SECONDS", 0.02)
    with pytest.raises(ToolError, match="'data' can't be read within 0 s"):
        Database({"data": bombs["rows"]}).query("SELECT 1")


def test_a_broken_parquet_file_is_an_error_or_is_read(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    duckdb.sql("SELECT range AS a, [range] AS b FROM range(9)").write_parquet(str(whole))
    content = whole.read_bytes()
    for at in range(4, len(content), len(content) // 20):
        for changed in (content[:at] + b"\xff" + content[at + 1 :], content[:at]):
            broken.write_bytes(changed)
            with contextlib.suppress(ToolError):
                Database({"data": broken}).query("SELECT * FROM data")


def test_dates_written_as_people_do_become_dates(tmp_path: Path) -> None:
    path = tmp_path / "stocks.csv"
    path.write_text("when,what\nJan 5 2000,Jan\nFeb 11 2001,x\n", encoding="utf-8")
    result = Database({"data": path}).query('SELECT year(max("when")), any_value(what) FROM data')
    assert result.rows[0][0] == 2001


@pytest.mark.parametrize("content", [b"", b"PAR1 but no Parquet at all", b'{"a": 1} or so'])
def test_a_dataset_that_cannot_be_read_says_so_without_its_path(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ToolError, match="the dataset 'data' can't be read") as raised:
        Database({"data": path}).query("SELECT 1")
    assert str(tmp_path) not in str(raised.value)


def test_a_run_without_a_dataset_says_so() -> None:
    with pytest.raises(ToolError, match="no dataset"):
        Database({}).query("SELECT 1")


def test_a_wrong_query_is_told_the_columns(data: Database) -> None:
    with pytest.raises(ToolError, match='"shop" VARCHAR'):
        data.query("SELECT price FROM data")


@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE data", "INSERT INTO data SELECT * FROM data", "UPDATE data SET amount = 0",
     "CREATE TABLE x (a INT)", "COPY data TO 'x.csv'", "ATTACH 'x.db'", "INSTALL httpfs",
     "LOAD json", "SET threads = 8", "PRAGMA version", "CALL enable_logging()", "EXPLAIN SELECT 1",
     "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE data", "EXPORT DATABASE 'x'", "CHECKPOINT",
     "BEGIN", "PREPARE p AS SELECT 1", "", "-- nothing"],
)  # fmt: skip
def test_only_one_statement_that_reads_is_allowed(data: Database, sql: str) -> None:
    with pytest.raises(ToolError, match="only one statement that reads"):
        data.query(sql)
    assert data.query("SELECT count(*) FROM data").rows == [[4]]


@pytest.mark.parametrize(
    "sql",
    ["SELECT * FROM read_csv('{file}')", "SELECT * FROM read_text('{file}')",
     "SELECT * FROM read_blob('{file}')", "SELECT * FROM '{file}'", "SELECT * FROM glob('/*')",
     "SELECT * FROM read_json('{file}')", "SELECT * FROM sniff_csv('{file}')",
     "SELECT * FROM read_csv('https://example.com/x.csv')", "SELECT * FROM sqlite_scan('x', 'y')",
     "SELECT * FROM duckdb_secrets()", "SELECT getenv('HOME')", "SELECT * FROM frame",
     "SELECT * FROM query('DROP TABLE data')",
     "SELECT * FROM enable_logging(storage = 'file', storage_path = '{folder}/log')"],
)  # fmt: skip
def test_nothing_outside_of_the_tables_is_reached(
    data: Database, sales: Path, tmp_path: Path, sql: str
) -> None:
    frame = {"secret": [1]}
    assert frame
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ToolError):
        data.query(sql.format(file=sales, folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_a_query_without_end_is_stopped(data: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STATEMENT_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(ToolError, match="was stopped"):
        data.query("SELECT sum(hash(a.range * b.range)) FROM range(1000000) a, range(1000000) b")
    assert time.monotonic() - start < 10
    assert data.query("SELECT 1").rows == [[1]]


def test_a_query_that_needs_too_much_memory_fails_alone(data: Database) -> None:
    with pytest.raises(ToolError, match=r"[Mm]emory"):
        data.query("SELECT list(a.range || 'xxxxxxxxxxxxxxxxxxxx') FROM range(100000000) a")
    assert data.query("SELECT 1").rows == [[1]]
