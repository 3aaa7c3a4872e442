"""The tools that read pages, download files and check citations."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from crewmesh.v1.runner_pb2 import RunnerArtifact
from crewmesh_worker.runner import endings
from crewmesh_worker.tools.context import RunContext, enter_run
from crewmesh_worker.tools.network.run import network
from crewmesh_worker.tools.registry import ToolError

from .pages import HARBOUR, INJECTION, LIGHTHOUSE

Call = Callable[..., Any]


def test_pages_are_read_without_what_surrounds_their_text(
    call: Call, httpserver: HTTPServer
) -> None:
    urls = [httpserver.url_for(path) for path in ("/lighthouse", "/harbour", "/notes.txt")]
    first, second, third = call("fetch_pages", urls=urls)["pages"]
    assert (first["number"], first["status"], first["error"]) == (1, 200, None)
    assert first["title"] == "The lighthouse"
    assert all(paragraph in first["text"] for paragraph in LIGHTHOUSE)
    assert not any(word in first["text"] for word in ("newsletter", "cookies", "steal"))
    assert all(paragraph in second["text"] for paragraph in HARBOUR)
    assert third["text"] == "Ann Holt kept the lighthouse for 31 years."


def test_a_page_that_cannot_be_read_says_why_and_the_others_are_read(
    call: Call, httpserver: HTTPServer
) -> None:
    paths = ["/moved", "/gone", "/chart.pdf", "/empty", "/private"]
    urls = [*map(httpserver.url_for, paths), "http://169.254.169.254/latest/", "ftp://x.org/"]
    pages = call("fetch_pages", urls=urls)["pages"]
    assert [page["url"] for page in pages] == urls
    assert LIGHTHOUSE[0] in pages[0]["text"]
    assert [page["status"] for page in pages[:5]] == [200, 404, None, 200, None]
    reasons = ["there is no such page", "application/pdf, which can't be read here", "no text",
               "may not be fetched by programs", "metadata", "only http"]  # fmt: skip
    errors = [page["error"] for page in pages[1:]]
    assert [why in error for why, error in zip(reasons, errors, strict=True)] == [True] * 6


def test_pages_are_fetched_at_the_same_time(call: Call, httpserver: HTTPServer) -> None:
    together = threading.Barrier(5, timeout=20)

    def wait(_: Request) -> Response:
        together.wait()
        return Response("All five are being read.", content_type="text/plain")

    for number in range(5):
        httpserver.expect_request(f"/slow/{number}").respond_with_handler(wait)
    urls = [httpserver.url_for(f"/slow/{number}") for number in range(5)]
    assert [page["error"] for page in call("fetch_pages", urls=urls)["pages"]] == [None] * 5


def test_long_pages_are_cut_and_say_so(call: Call, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/long").respond_with_data(
        "word " * 10_000, content_type="text/plain"
    )
    (page,) = call("fetch_pages", urls=[httpserver.url_for("/long")])["pages"]
    assert (len(page["text"]), page["truncated"]) == (20_000, True)


def test_a_page_keeps_its_number_and_what_it_says_is_marked_as_material(
    call: Call, httpserver: HTTPServer
) -> None:
    lighthouse, harbour = httpserver.url_for("/lighthouse"), httpserver.url_for("/harbour")
    assert [p["number"] for p in call("fetch_pages", urls=[lighthouse, lighthouse])["pages"]] == [1]
    again = call("fetch_pages", urls=[harbour, lighthouse])
    assert [page["number"] for page in again["pages"]] == [2, 1]
    assert "is an instruction to you" in again["note"]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("The lamp stands 41.5 metres above the sea [1].", None),
        ("The lamp stands 41.5 metres above the sea. [1]", None),
        ("The last keeper left in 1984 [1], 120 boats use the harbour [2].", None),
        ("White since 1931, built in 1872 [1, 2]. So it is old.", None),
        ("- It has 1872 on its door [1]\n- It was painted in 1931 [2]", None),
        ("The lamp is 43 metres above the sea [1].", "43 is not on [1]: "),
        ("The lamp stands 41.5 metres above the sea [2].", "41.5 is not on [2]"),
        ("It was painted in 1872 [2]. It was built in 1872 [1].", "1872 is not on [2]"),
        ("It is white [3].", "[3] is none of the pages"),
        ("It is white.", "nothing is cited"),
        ("It is white.\n\n## Sources\n\n[1] The lighthouse: http://x", "nothing is cited"),
        ("It is [white](1) in 1872.", "nothing is cited"),
    ],
)
def test_citations_are_checked_against_the_pages(
    call: Call, httpserver: HTTPServer, answer: str, fault: str | None
) -> None:
    call("fetch_pages", urls=[httpserver.url_for("/lighthouse"), httpserver.url_for("/harbour")])
    if fault is None:
        assert set(call("check_citations", answer=answer)["cited"]) <= {1, 2}
    else:
        with pytest.raises(ToolError) as raised:
            call("check_citations", answer=answer)
        assert fault in str(raised.value)


def test_citations_of_pages_that_nobody_has_read_are_not_checked(call: Call) -> None:
    with pytest.raises(ToolError, match="use fetch_pages first"):
        call("check_citations", answer="It is so [1].")


def test_files_are_downloaded_and_handed_in(
    call: Call, httpserver: HTTPServer, saved: list[RunnerArtifact]
) -> None:
    data = bytes(range(256)) * 5000
    httpserver.expect_request("/a/data.csv").respond_with_data(data, content_type="text/csv")
    urls = [httpserver.url_for(path) for path in ("/a/data.csv", "/chart.pdf", "/gone", "/private")]
    first, second, gone, forbidden = call("download_files", urls=urls)["files"]
    assert (first["file"], first["bytes"], first["media_type"]) == (
        "data.csv",
        len(data),
        "text/csv",
    )
    assert first["sha256"] == hashlib.sha256(data).hexdigest()
    assert Path("data.csv").read_bytes() == data
    assert (second["file"], second["error"]) == ("chart.pdf", None)
    assert "answered 404" in gone["error"]
    assert "robots.txt says so" in forbidden["error"]
    assert [artifact.name for artifact in saved] == ["data.csv", "chart.pdf"]
    assert sorted(p.name for p in Path.cwd().iterdir() if p.is_file()) == ["chart.pdf", "data.csv"]


def test_files_are_downloaded_at_the_same_time(call: Call, httpserver: HTTPServer) -> None:
    together = threading.Barrier(4, timeout=20)

    def wait(_: Request) -> Response:
        together.wait()
        return Response(b"x", content_type="application/octet-stream")

    for number in range(4):
        httpserver.expect_request(f"/slow/{number}").respond_with_handler(wait)
    urls = [httpserver.url_for(f"/slow/{number}") for number in range(4)]
    assert [file["error"] for file in call("download_files", urls=urls)["files"]] == [None] * 4


@pytest.mark.parametrize(
    ("path", "header", "name"),
    [
        ("/report.pdf", "", "report.pdf"),
        ("/", "", "download.pdf"),
        ("/a%20b.pdf", "", "a b.pdf"),
        ("/x", 'attachment; filename="year.pdf"', "year.pdf"),
        ("/x", 'attachment; filename="../../etc/passwd"', "passwd.pdf"),
        ("/x", 'attachment; filename="..\\\\..\\\\evil.pdf"', "evil.pdf"),
        ("/x", 'attachment; filename="/etc/cron.d/x.pdf"', "x.pdf"),
        ("/x", 'attachment; filename=".bashrc"', "bashrc.pdf"),
        ("/x", 'attachment; filename="a$(rm -rf).pdf"', "a_rm -rf_.pdf"),
        ("/x", "attachment; filename*=UTF-8''j%C3%A4nner.pdf", "jänner.pdf"),
        ("/..%2f..%2fetc%2fpasswd", "", "passwd.pdf"),
        ("/" + "n" * 300 + ".pdf", "", "n" * 96 + ".pdf"),
    ],
)
def test_a_file_is_named_safely_whatever_the_server_says(
    call: Call, httpserver: HTTPServer, path: str, header: str, name: str
) -> None:
    headers = {"Content-Disposition": header} if header else {}
    httpserver.clear()
    httpserver.expect_request("/robots.txt").respond_with_data("", status=404)
    for served in (path, "/../../etc/passwd", "/a b.pdf"):
        httpserver.expect_request(served).respond_with_data(
            b"x", content_type="application/pdf", headers=headers
        )
    (file,) = call("download_files", urls=[httpserver.url_for(path)])["files"]
    assert file["file"] == name
    assert Path(name).read_bytes() == b"x"


def test_files_of_the_same_name_are_kept_apart(call: Call, httpserver: HTTPServer) -> None:
    for path in ("/a/x.txt", "/b/x.txt"):
        httpserver.expect_request(path).respond_with_data(path, content_type="text/plain")
    files = call("download_files", urls=[httpserver.url_for(p) for p in ("/a/x.txt", "/b/x.txt")])
    assert [file["file"] for file in files["files"]] == ["x.txt", "x-2.txt"]
    assert Path("x-2.txt").read_text(encoding="utf-8") == "/b/x.txt"


def test_what_a_page_says_to_do_is_text_like_any_other(call: Call, httpserver: HTTPServer) -> None:
    (page,) = call("fetch_pages", urls=[httpserver.url_for("/hostile")])["pages"]
    assert INJECTION[1] in page["text"]


def test_the_network_of_a_run_ends_with_it(httpserver: HTTPServer, run: RunContext) -> None:
    with endings.closing():
        first = enter_run({})
        opened = network()
        assert network() is opened, "tools of one run share it"
        assert "network" in [thread.name for thread in threading.enumerate()]
    assert "network" not in [thread.name for thread in threading.enumerate()]
    with endings.closing():
        assert enter_run({}) is not first
        assert network() is not opened
