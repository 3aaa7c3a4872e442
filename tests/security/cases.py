"""The bad-input corpus: requests that must each be refused with a clear 4xx."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NO_SUCH = "00000000-0000-7000-8000-000000000000"
BOUNDARY = "a-boundary"


@dataclass(frozen=True)
class Case:
    """One request, and what is wrong with it."""

    name: str
    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def json_case(name: str, method: str, path: str, text: str | bytes) -> Case:
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return Case(
        f"{method} {path}: {name}", method, path, content, {"Content-Type": "application/json"}
    )


class Raw(str):
    """A JSON text that no Python value makes."""


def dump(body: Any) -> str:
    """Return JSON in which each Raw stands as it is."""
    if isinstance(body, Raw):
        return str(body)
    if isinstance(body, dict):
        return (
            "{" + ",".join(f"{json.dumps(key)}:{dump(value)}" for key, value in body.items()) + "}"
        )
    if isinstance(body, list):
        return "[" + ",".join(map(dump, body)) + "]"
    return json.dumps(body)


UNFIT = {
    "NUL": Raw('"a\\u0000b"'),
    "half a surrogate pair": Raw('"\\ud800"'),
    "NaN": Raw("NaN"),
    "infinity": Raw("-Infinity"),
    "a number beyond every float": Raw("1e999"),
    "a number of 5,000 digits": Raw("9" * 5000),
    "an object": {"a": {}},
    "a list": [[]],
}


def text(most: int, least: int = 1) -> dict[str, Any]:
    wrong: dict[str, Any] = {**UNFIT, "too long": "x" * (most + 1), "a number": 5, "true": True}
    return {**wrong, "too short": "x" * (least - 1)} if least else wrong


def whole(least: int, most: int) -> dict[str, Any]:
    return {
        **UNFIT,
        "too small": least - 1,
        "too large": most + 1,
        "2^64": 2**64,
        "a fraction": 1.5,
        "a text": "1",
        "true": True,
    }


def pattern(*wrong: str) -> dict[str, Any]:
    return {**UNFIT, **{f"{value[:20]!r}": value for value in wrong}, "a number": 5}


NAME = pattern("", "../x", "a b", "a/b", "x" * 101, "-a", "é", "a\n", "<b>")
LIST = {name: value for name, value in UNFIT.items() if name != "a list"}
# Of each route that takes JSON: a body that it takes, and by field what it must not take.
BODIES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    ("POST", "/v1/runs"): (
        {"crew": "hello", "inputs": {"topic": "x"}},
        {
            "crew": NAME,
            "inputs": {**LIST, "a text": "x", "a list": [], "deep": Raw('{"a":' * 70 + "1" + "}" * 70)},
            "session_id": pattern("", "a b", "x" * 129, "../x"),
            "priority": whole(-100, 100),
            "timeout_seconds": whole(1, 86_400),
            "max_attempts": whole(1, 20),
            "models": {**LIST, "21": ["offline"] * 21, "no name": ["../x"], "a text": "offline", "long": ["x" * 300]},
            "budget": {**LIST, "empty": {}, "zero": {"max_tokens": 0}, "negative": {"max_usd": -1}, "huge": {"max_tokens": 10**16}, "unknown": {"x": 1}},
            "webhook": {
                **LIST,
                "empty": "",
                "too long": "https://example.org/" + "x" * 2000,
                "empty URL": {"url": ""},
                "a file": "file:///etc/passwd",
                "no host": "https://",
                "long secret": {"url": "https://example.org", "secret": "x" * 501},
                "a gopher": "gopher://example.org/",
                "a script": "javascript:alert(1)",
            },
        },
    ),
    ("POST", f"/v1/runs/{NO_SUCH}/cancel"): ({}, {"reason": text(500, 0)}),
    ("POST", f"/v1/runs/{NO_SUCH}/input"): (
        {"text": "yes"},
        {"text": text(100_000, 0), "question": whole(1, 2**63 - 1), "approve": {**UNFIT, "a text": "yes", "one": 1}},
    ),
    ("POST", "/v1/crews/hello/rollback"): ({"version": 1}, {"version": pattern("", "../1", "x" * 101, "a b")}),
    ("POST", "/v1/sessions"): (
        {"crew": "assistant"},
        {"crew": NAME, "title": text(200, 0), "inputs": {**LIST, "a text": "x", "unknown": {"nothing": 1}}},
    ),
    ("POST", f"/v1/sessions/{NO_SUCH}/messages"): (
        {"content": "hello"},
        {"content": text(100_000), "timeout_seconds": whole(1, 86_400)},
    ),
    ("POST", "/v1/api-keys"): (
        {"name": "k"},
        {
            "name": pattern("", "x" * 101, "a\nb", "\x7f"),
            "scopes": {**LIST, "a text": "runs.read", "51": ["runs.read"] * 51, "no scope": ["RUNS"], "unknown": ["no.such"]},
            "expires_at": {**UNFIT, "no time": "tomorrow", "past": "2000-01-01T00:00:00Z", "no zone": "2100-01-01T00:00:00", "year 10000": "10000-01-01T00:00:00Z"},
            "user_id": pattern("", NO_SUCH, "x" * 65),
        },
    ),
    ("POST", "/v1/users"): (
        {"email": "new@example.org", "role": "viewer"},
        {
            "email": pattern("", "a", "a@", "@b", "a b@c", "x" * 300, "a@b\n"),
            "role": pattern("", "root", "OWNER", "run"),
            "name": text(100, 0),
            "password": pattern("short", "x" * 1025),
            "service_account": {**UNFIT, "a text": "yes"},
        },
    ),
    ("PATCH", f"/v1/users/{NO_SUCH}"): ({"name": "x"}, {"name": text(100, 0), "role": pattern("root"), "disabled": {**UNFIT, "one": 1}}),
    ("PUT", "/v1/me/password"): (
        {"current_password": "wrong", "new_password": "y" * 12},
        {"new_password": pattern("", "short", "x" * 1025)},
    ),
    ("PUT", "/v1/limits"): (
        {"max_running": 1, "max_queued": 1, "crews": {}},
        {
            "max_running": whole(1, 1_000_000),
            "max_queued": whole(1, 1_000_000),
            "crews": {**LIST, "a text": "x", "no name": {"../x": 1}, "zero": {"a": 0}, "NUL": Raw('{"\\u0000": 1}'), "1,001": {f"c{n}": 1 for n in range(1001)}},
        },
    ),
    ("PUT", "/v1/budgets"): (
        {"items": []},
        {"items": {**LIST, "a text": "x", "no period": [{"max_tokens": 1}], "no limit": [{"period": "day"}], "no such period": [{"period": "year", "max_tokens": 1}], "1,001": [{"period": "day", "max_tokens": 1}] * 1001, "unknown key": [{"period": "day", "max_tokens": 1, "api_key_id": "x" * 65}]}},
    ),
    ("PUT", "/v1/policy"): (
        {},
        {
            "models": {**LIST, "a text": "x", "unknown": {"x": 1}},
            "tools": {**LIST, "a text": "x", "no list": {"denied": "x"}},
            "hosts": {**LIST, "a text": "x", "no list": {"allowed": 5}},
            "run_budget": {**LIST, "zero": {"max_tokens": 0}, "huge": {"max_usd": 1e30}},
            "nothing": {"unknown": 1},
        },
    ),
    ("PUT", "/v1/secrets/A_KEY"): ({"value": "v"}, {"value": text(8192)}),
    ("POST", "/v1/auth/refresh"): ({"refresh_token": "x"}, {"refresh_token": text(512)}),
    ("POST", "/v1/auth/logout"): ({"refresh_token": "x"}, {"refresh_token": text(512)}),
    ("POST", "/v1/auth/session"): ({"api_key": "x"}, {"api_key": pattern("", "a b", "x" * 2049)}),
}  # fmt: skip


def bodies() -> Iterator[Case]:
    """Yield bodies that are no JSON, not the JSON that is asked for, or have one wrong field."""
    for (method, path), (sane, fields) in BODIES.items():
        whole_bodies: dict[str, str | bytes] = {
            "broken off": dump(sane)[:-1] or "{",
            "two values": "{} {}",
            "a comment": "{} // x",
            "single quotes": "{'a': 1}",
            "a list": "[]",
            "a text": '"x"',
            "a number": "1",
            "bad UTF-8": b'{"x": "\xff"}',
            "overlong UTF-8": b'{"x": "\xc0\xaf"}',
            "UTF-16": dump(sane).encode("utf-16"),
            "a byte order mark": b"\xef\xbb\xbf" + dump(sane).encode(),
            "10,000 lists in each other": "[" * 10_000 + "]" * 10_000,
            "100 objects in each other": '{"a":' * 100 + "1" + "}" * 100,
            "a key twice": '{"x": 1, "x": 2}',
            "an unknown field": dump({**sane, "__proto__": {"admin": True}}),
            "longer than is taken": '{"x": "' + "x" * 1_100_000 + '"}',
        }
        yield from (json_case(name, method, path, text) for name, text in whole_bodies.items())
        for field_name, wrong in fields.items():
            for name, value in wrong.items():
                body = dump({**sane, field_name: value})
                yield json_case(f"{field_name}: {name}", method, path, body)
        for media_type in (
            "text/plain",
            "application/xml",
            "application/x-www-form-urlencoded",
            "x",
        ):
            yield Case(
                f"{method} {path}: sent as {media_type}", method, path,
                (dump(sane) if sane else '{"a": 1}').encode(), {"Content-Type": media_type},
            )  # fmt: skip


def parameters() -> Iterator[Case]:
    """Yield wrong queries, paths and headers."""
    lists = ("/v1/runs", "/v1/crews", "/v1/datasets", "/v1/sessions", "/v1/users", "/v1/audit")
    for path in lists:
        for wrong in ("0", "-1", "201", "x", "1e9", "9" * 400, "%00", "1.5"):
            yield Case(f"GET {path}: limit={wrong[:9]}", "GET", f"{path}?limit={wrong}")
        for wrong in ("%00", "x" * 513, "a%20b", "%ff", "%ED%A0%80"):
            yield Case(f"GET {path}: cursor={wrong[:9]}", "GET", f"{path}?cursor={wrong}")
    for query in (
        *("status=none", "crew=../x", "session_id=a%20b", "created_after=now", "created_before=1"),
        *("created_after=2026-01-01T00:00:00", "q=", "q=" + "x" * 201, "status=QUEUED"),
    ):
        yield Case(f"GET /v1/runs: {query[:30]}", "GET", f"/v1/runs?{query}")
    for query in ("wait=-1", "wait=61", "wait=nan", "wait=inf", "wait=x", "wait=1e400"):
        yield Case(f"GET a run: {query}", "GET", f"/v1/runs/{NO_SUCH}?{query}")
        yield json_case(query, "POST", f"/v1/runs?{query}", '{"crew": "hello"}')
    for query in ("after=-1", "after=x", "after=" + "9" * 30, "limit=1001", "cursor=x"):
        yield Case(f"GET events: {query[:30]}", "GET", f"/v1/runs/{NO_SUCH}/events?{query}")
    ids = ("x", "%00", "..%2f..%2fetc%2fpasswd", "%ff", "1", "x" * 300, "'%20OR%201=1", NO_SUCH)
    for wrong in ids:
        for path in ("runs", "artifacts", "datasets", "sessions", "users"):
            yield Case(f"GET {path}/{wrong[:20]}", "GET", f"/v1/{path}/{wrong}")
        for path in ("datasets", "sessions", "users", "api-keys", "crews", "secrets"):
            yield Case(f"DELETE {path}/{wrong[:20]}", "DELETE", f"/v1/{path}/{wrong}")
    for key in ("a b", "x" * 256, "ü"):
        yield Case(
            f"Idempotency-Key: {key[:9]!r}", "POST", "/v1/runs", b'{"crew": "hello"}',
            {"Content-Type": "application/json", "Idempotency-Key": key},
        )  # fmt: skip
    for number in ("x", "-1", "9" * 30):
        yield Case(
            f"Last-Event-ID: {number[:9]}", "GET", f"/v1/runs/{NO_SUCH}/events",
            headers={"Last-Event-ID": number, "Accept": "text/event-stream"},
        )  # fmt: skip


def form(*parts: tuple[str, bytes], end: bool = True) -> bytes:
    """Return a multipart body of parts, each its Content-Disposition and its content."""
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n\r\n".encode("utf-8", "surrogateescape")
        + content
        + b"\r\n"
        for head, content in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode() if end else body


FILE = 'form-data; name="file"; filename="a.csv"'
CSV = b"a,b\n1,2\n"


def uploads() -> Iterator[Case]:
    """Yield uploads that can't be taken."""
    wrong: dict[str, bytes] = {
        "nothing": b"",
        "no part": form(),
        "broken off": form((FILE, CSV), end=False),
        "broken off in a head": f"--{BOUNDARY}\r\nContent-Dispo".encode(),
        "another boundary": form((FILE, CSV)).replace(BOUNDARY.encode(), b"other"),
        "an empty file": form((FILE, b"")),
        "no file name": form(('form-data; name="file"', CSV)),
        "two files": form((FILE, CSV), (FILE, CSV)),
        "a name after the file": form((FILE, CSV), ('form-data; name="name"', b"x")),
        "two names": form(('form-data; name="name"', b"x"), ('form-data; name="name"', b"y")),
        "an unknown field": form(('form-data; name="path"', b"/etc"), (FILE, CSV)),
        "no field name": form(("form-data", CSV)),
        "no disposition": f"--{BOUNDARY}\r\nX: y\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
        "bad UTF-8 in the file's name": form(
            ('form-data; name="file"; filename="\udcff.csv"', CSV)
        ),
        "bad UTF-8 in a field's name": form(('form-data; name="\udcff"', CSV)),
        "a head of 100 kB": form((f'form-data; name="file"; filename="{"x" * 100_000}.csv"', CSV)),
        "1,000 heads": f"--{BOUNDARY}\r\n{'X: y' * 30}".encode() + b"\r\nX: y" * 1000,
        "larger than is taken": form((FILE, b"x" * 1_200_000)),
    }
    for name in (
        *("x.exe", "x.html", "x.svg", "x.zip", "x.csv.gz", "x.csv.exe", "x", ".csv.", "x.php"),
        *("../../x.sh", "..\\..\\x.bat", "x.js", "x.xml", "x.parquet.zip", "x.xlsx", "x.tar.gz"),
        # Nothing here is unpacked, so a bomb is refused by what it is.
        *("bomb.zip", "bomb.gz", "bomb.7z", "bomb.xz"),
    ):
        wrong[f"a file named {name}"] = form((f'form-data; name="file"; filename="{name}"', CSV))
    for label, name in (
        *(("NUL", "a\x00b"), ("a line's end", "a\r\nb"), ("an escape", "a\x1b[2J")),
        *(("too long", "x" * 201), ("4 MB", "x" * 4_000_000)),
        *(("right to left", "a\u202egpj.csv"), ("half a pair", "\ud800"), ("a tab", "a\tb")),
        *(("a zero width space", "a\u200b"), ("no UTF-8", "\udcff")),
    ):
        content = name.encode("utf-8", "surrogatepass")
        wrong[f"a name with {label}"] = form(('form-data; name="name"', content), (FILE, CSV))
    multipart = f"multipart/form-data; boundary={BOUNDARY}"
    for name, content in wrong.items():
        yield Case(f"upload: {name}", "POST", "/v1/datasets", content, {"Content-Type": multipart})
    for media_type in (
        *("", "text/csv", "application/json", "multipart/mixed; boundary=x", "multipart/form-data"),
        *("multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 300),
    ):
        yield Case(
            f"upload sent as {media_type[:40]!r}", "POST", "/v1/datasets", form((FILE, CSV)),
            {"Content-Type": media_type},
        )  # fmt: skip


AGENT: dict[str, Any] = {"role": "R", "goal": "G", "backstory": "B"}
TASK: dict[str, Any] = {"name": "t", "description": "D.", "expected_output": "E.", "agent": "a"}


def crew(agent: Any = None, task: Any = None, **more: Any) -> str:
    return json.dumps(
        {"agents": {"a": {**AGENT, **(agent or {})}}, "tasks": [{**TASK, **(task or {})}], **more}
    )


def definitions() -> Iterator[Case]:
    """Yield definitions of crews that want more than data may, or are none."""
    laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
    )
    yamls: dict[str, str | bytes] = {
        "a billion laughs": laughs,
        "an alias of itself": "a: &a [*a]",
        "merged a thousand times": "a: &a {x: 1}\n" + "b: {<<: [" + "*a," * 1000 + "]}",
        "a python object": "!!python/object/apply:os.system ['id']",
        "a python name": "a: !!python/name:os.system",
        "a python module": "a: !!python/module:os",
        "a new object": "a: !!python/object/new:subprocess.Popen [id]",
        "a tag of its own": "a: !Ref x",
        "a binary": "a: !!binary aGVsbG8=",
        "an include": "a: !include /etc/passwd",
        "500 lists in each other": "[" * 500 + "]" * 500,
        "500 blocks in each other": "".join(f"{' ' * n}a:\n" for n in range(500)),
        "a key twice": "agents: {}\nagents: {}",
        "two documents": "a: 1\n---\nb: 2",
        "bad UTF-8": b"a: \xff",
        "UTF-16": "agents: {}".encode("utf-16"),
        "NUL": "a: \x00",
        "an escaped NUL": 'a: "\\0"',
        "half a surrogate pair": 'a: "\\ud800"',
        "not a number": "a: .nan",
        "infinity": "a: .inf",
        "nothing": "",
        "a text": "hello",
        "a list": "- a",
        "a tab": "a:\n\t- b",
        "too long": "a: " + "x" * 300_000,
        "100,000 values": "[" + "1," * 100_000 + "1]",
        "a key that is a list": "? [a, b]\n: 1",
        "an anchor that isn't there": "a: *nothing",
        "a directive": "%YAML 9.9\n---\na: 1",
    }
    jsons: dict[str, str | bytes] = {
        "a class": crew({"type": {"python": "os.system"}}),
        "a callback": crew({"step_callback": {"python": "os.system"}}),
        "code execution": crew({"allow_code_execution": True}),
        "unsafe code": crew({"code_execution_mode": "unsafe"}),
        "a guardrail": crew({"guardrail": {"python": "os.system"}}),
        "a task's callback": crew(task={"callback": {"python": "os.system"}}),
        "a condition": crew(task={"condition": {"python": "os.system"}}),
        "a file outside": crew(task={"output_file": "../../etc/cron.d/x"}),
        "an absolute file": crew(task={"output_file": "/etc/passwd"}),
        "a file of Windows": crew(task={"output_file": "C:\\x"}),
        "a tool that isn't there": crew({"tools": ["no_such_tool"]}),
        "a tool by its path": crew({"tools": ["../../x.py"]}),
        "a tool of python": crew({"tools": [{"python": "os.system"}]}),
        "an agent that isn't there": crew(task={"agent": "b"}),
        "no agents": json.dumps({"agents": {}, "tasks": [TASK]}),
        "no tasks": json.dumps({"agents": {"a": AGENT}, "tasks": []}),
        "a task that waits for itself": crew(task={"context": ["t"]}),
        "a schema that reaches out": crew(inputs={"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}}),
        "a pattern": crew(inputs={"type": "object", "properties": {"x": {"type": "string", "pattern": "(a+)+$"}}}),
        "a schema of no type": crew(inputs={"type": "object", "properties": {"x": {"type": "nothing"}}}),
        "an unknown field": crew(surprise=1),
        "an unknown field of a task": crew(task={"surprise": 1}),
        "a number as a role": crew({"role": 5}),
        "an empty role": crew({"role": ""}),
        "an empty description": crew(task={"description": ""}),
        "a million rounds": crew({"max_iter": 1_000_000}),
        "rounds below zero": crew({"max_iter": -1}),
        "an API key": crew({"llm": {"model": "openai/gpt-5-mini", "api_key": "sk-x"}}),
        "a model at another address": crew({"llm": {"model": "x", "base_url": "http://169.254.169.254/"}}),
        "an MCP server": crew({"mcps": ["https://example.org/mcp"]}),
        "an executable": crew({"knowledge_sources": [{"python": "x"}]}),
        "a key twice": '{"agents": {}, "agents": {}}',
        "NaN": '{"agents": NaN}',
        "NUL": '{"agents": "\\u0000"}',
        "half a surrogate pair": '{"agents": "\\ud800"}',
        "deep nesting": '{"a":' * 200 + "1" + "}" * 200,
        "a huge number": '{"a": ' + "9" * 5000 + "}",
        "nothing": "",
        "null": "null",
        "bad UTF-8": b'{"a": "\xff"}',
        "a comment": "{} // x",
        "1,001 tasks": json.dumps({"agents": {"a": AGENT}, "tasks": [{**TASK, "name": f"t{n}"} for n in range(1001)]}),
    }  # fmt: skip
    for media_type, texts in (("application/yaml", yamls), ("application/json", jsons)):
        for name, given in texts.items():
            content = given.encode() if isinstance(given, str) else given
            yield Case(
                f"definition in {media_type}: {name}", "PUT", "/v1/crews/mine", content,
                {"Content-Type": media_type},
            )  # fmt: skip
    for name in ("..%2fx", "a%00b", "x" * 101, "a%20b", "%ff", "-x", "ü"):
        yield Case(
            f"definition named {name[:20]}", "PUT", f"/v1/crews/{name}", crew().encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
    for media_type in (
        "text/plain",
        "application/xml",
        "application/x-python",
        "multipart/form-data",
    ):
        yield Case(
            f"definition sent as {media_type}", "PUT", "/v1/crews/mine", crew().encode(),
            {"Content-Type": media_type},
        )  # fmt: skip
