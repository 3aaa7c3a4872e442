from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crewmesh.cli.text import ago, clean, duration, file_name, one_line, plural, size


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ends", ""),
        ("\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        ("\x1bcreset", "reset"),
        ("\x9b31mc1", "31mc1"),
        ("over\rwrite\b\x07", "overwrite"),
        ("line\r\nend", "line\nend"),
        ("abc\u202egpj.exe", "abcgpj.exe"),
        ("ünïcödé ✔ 漢字", "ünïcödé ✔ 漢字"),
    ],
)
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str, safe: str) -> None:
    assert clean(text) == safe


def test_one_line_cuts_and_joins() -> None:
    assert one_line("a\n  b\tc", 10) == "a b c"
    assert one_line("abcdefghij", 5) == "abcd…"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("chart.png", "chart.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\win.ini", "win.ini"),
        ("/abs/olute.md", "olute.md"),
        ("..", "artifact"),
        ("", "artifact"),
        ("a\x00b.png", "ab.png"),
    ],
)
def test_a_name_from_elsewhere_stays_in_its_folder(name: str, safe: str) -> None:
    assert file_name(name) == safe


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (12.34, "12.3 s"), (59.99, "1:00"), (75, "1:15"), (3700, "1:01:40")],
)
def test_durations_read_naturally(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (48_213, "48.2 kB"),
        (999_960, "1.0 MB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_sizes_read_naturally(count: int, text: str) -> None:
    assert size(count) == text


def test_times_are_told_from_now() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert ago("2026-11-23T11:59:30Z", now) == "30 s ago"
    assert ago("2026-11-23T09:00:00Z", now) == "3 h ago"
    assert ago("2026-11-20T12:00:00Z", now) == "3 d ago"
    assert ago("2026-11-23T12:00:05Z", now) == "0 s ago"


def test_one_is_not_many() -> None:
    assert plural(1, "token") == "1 token"
    assert plural(1234, "token") == "1,234 tokens"
