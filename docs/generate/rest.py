"""The REST interface, of the OpenAPI document that the gateway serves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from crewmesh_gateway.app import create_app
from crewmesh_gateway.gateway import Gateway
from crewmesh_gateway.mesh import Mesh

_HEAD = """\
# REST

JSON in and out, UTF-8; times are RFC 3339 in UTC, ids UUIDs (version 7). Lists are `{"items": [...], "next_cursor": "..."|null}` and take `?limit=` (1 to 200) and
`?cursor=`. Errors are problem details ([reasons](errors.md)). Every answer carries `X-Request-ID`. Credentials: `Authorization: Bearer KEY`. A running gateway serves the
same as OpenAPI 3.1 at `/openapi.json`, and as a page to try it on at `/docs`.
"""
_METHODS = ("get", "post", "put", "patch", "delete")


def page() -> str:
    """Return the page."""
    return _render(asyncio.run(openapi()))


async def openapi() -> dict[str, Any]:
    """Return the document, without a mesh: nothing is called for it."""
    secret = "of no mesh, and of no use to anybody"  # noqa: S105
    mesh = Mesh("ipv4:127.0.0.1:9", "ipv4:127.0.0.1:9", secret)
    gateway = Gateway(mesh, mesh_secret=secret, max_body_bytes=1, max_upload_bytes=1)
    app: Any = create_app(gateway)
    while not hasattr(app, "openapi"):
        app = app._app
    document: dict[str, Any] = app.openapi()
    await mesh.close()
    return document


def _render(document: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = defaultdict(list)
    for path, item in document["paths"].items():
        for method in _METHODS:
            if (operation := item.get(method)) is not None:
                by_tag[operation.get("tags", ["other"])[0]].append(
                    _operation(method, path, operation)
                )
    told = {tag["name"]: tag.get("description", "") for tag in document.get("tags", ())}
    sections = [
        f"## {tag.capitalize()}\n\n{told.get(tag, '')}\n\n" + "\n".join(operations)
        for tag, operations in by_tag.items()
    ]
    schemas = [
        _schema(name, schema)
        for name, schema in sorted(document["components"]["schemas"].items())
        if "properties" in schema
    ]
    return "\n".join([_HEAD, *sections, "## Bodies\n", *schemas])


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}\n", f"**{operation.get('summary', '')}**\n"]
    if text := operation.get("description"):
        lines += [text + "\n"]
    if parameters := operation.get("parameters"):
        lines += ["| parameter | in | type | |", "| --- | --- | --- | --- |"]
        for parameter in parameters:
            name = f"`{parameter['name']}`" + (" *" if parameter.get("required") else "")
            lines.append(
                f"| {name} | {parameter['in']} | {_type(parameter.get('schema', {}))} | "
                f"{_line(parameter.get('description', ''))} |"
            )
        lines.append("")
    if body := operation.get("requestBody"):
        kinds = ", ".join(
            f"{_type(content.get('schema', {}))} (`{kind}`)"
            for kind, content in body["content"].items()
        )
        lines.append(f"Body: {kinds}\n")
    lines += ["| answer | |", "| --- | --- |"]
    for status, answer in operation["responses"].items():
        contents = [
            _type(c["schema"]) for c in answer.get("content", {}).values() if c.get("schema")
        ]
        shown = f": {contents[0]}" if contents and "Problem" not in contents[0] else ""
        lines.append(f"| {status} | {_line(answer.get('description', ''))}{shown} |")
    return "\n".join(lines) + "\n"


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n"]
    if text := schema.get("description"):
        lines += [text + "\n"]
    lines += ["| member | type | |", "| --- | --- | --- |"]
    for key, value in schema["properties"].items():
        marked = f"`{key}`" + (" *" if key in schema.get("required", ()) else "")
        lines.append(f"| {marked} | {_type(value)} | {_line(value.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for joined in ("anyOf", "oneOf", "allOf"):
        if joined in schema:
            return " or ".join(dict.fromkeys(_type(part) for part in schema[joined]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    return str(schema.get("format") or kind) if isinstance(kind, str) else " or ".join(kind)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
