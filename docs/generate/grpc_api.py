"""The gRPC interfaces: services and messages with their comments, as buf reads the protos."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from crewmesh.v1 import access_pb2

ROOT = Path(__file__).parents[2]
# What internal services may call.
_PUBLIC = ("AgentService", "SessionService")
# The mesh's own: what the workers and the gateway call.
_OF_THE_STORE = (
    *("RunStoreService", "SessionStoreService", "CrewStoreService", "FileService"),
    *("IdentityService", "TenantService", "LimitService", "BudgetService"),
    *("DeliveryService", "AuditService"),
)
_TYPES = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}
_HEAD = """\
# gRPC

Package `crewmesh.v1`, served by every agent worker, with the standard health service (`grpc.health.v1.Health`) and, where `CREWMESH_REFLECTION` is set,
reflection. [How to call it from a service](../how-to/call-from-a-service.md). The protos are in `protos/crewmesh/v1`; fields are added to them, never renamed.
"""

_STORE_HEAD = """\
# gRPC of the store

Package `crewmesh.v1`, served by every store to the mesh's own services: each call carries an identity that is signed with the mesh's secret, and comes over mutual TLS
([why](../decisions/0007-one-identity-inside-the-mesh.md)). Nobody else can call it, and it may change with any release; [the workers' interface](grpc.md) is for
internal services. With each operation on runs stands what it costs Postgres; [measured](../benchmarks/scaling.md).
"""


def page() -> str:
    """Return the page of what internal services may call."""
    return _read().page(_HEAD, _PUBLIC)


def store_page() -> str:
    """Return the page of the store's own."""
    return _read().page(_STORE_HEAD, _OF_THE_STORE)


def _read() -> _Reference:
    buf = Path(sys.executable).with_name("buf")
    image = subprocess.run(
        [buf, "build", "protos", "-o", "-#format=binpb"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    return _Reference(descriptor_pb2.FileDescriptorSet.FromString(image))


class _Reference:
    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._messages: dict[str, tuple[DescriptorProto, str, dict[int, str]]] = {}
        self._enums: dict[str, tuple[descriptor_pb2.EnumDescriptorProto, str, dict[int, str]]] = {}
        self._services: dict[
            str, tuple[descriptor_pb2.ServiceDescriptorProto, str, dict[int, str]]
        ] = {}
        for file in files.file:
            if file.package != "crewmesh.v1":
                continue
            comments = {
                tuple(place.path): place.leading_comments
                for place in file.source_code_info.location
            }
            for field, known, members in (
                (4, self._messages, 2),
                (5, self._enums, 2),
                (6, self._services, 2),
            ):
                of_file = {4: file.message_type, 5: file.enum_type, 6: file.service}[field]
                for number, what in enumerate(of_file):
                    known[what.name] = (  # type: ignore[index]
                        what,
                        comments.get((field, number), ""),
                        {
                            path[3]: text
                            for path, text in comments.items()
                            if len(path) == 4 and path[:3] == (field, number, members)
                        },
                    )

    def page(self, head: str, services: tuple[str, ...]) -> str:
        used: dict[str, None] = {}
        parts = [head, *(self._service(name, used) for name in services)]
        queue = list(used)
        for name in queue:
            for other in self._fields_types(name):
                if other not in used:
                    used[other] = None
                    queue.append(other)
        parts.append("## Messages\n")
        parts += [self._message(name) for name in sorted(used) if name in self._messages]
        parts.append("## Enumerations\n")
        parts += [self._enum(name) for name in sorted(used) if name in self._enums]
        return "\n".join(parts)

    def _service(self, name: str, used: dict[str, None]) -> str:
        service, comment, of_methods = self._services[name]
        lines = [f"## {name}\n", _paragraphs(comment), ""]
        lines += ["| rpc | takes | returns | permission | |", "| --- | --- | --- | --- | --- |"]
        for number, method in enumerate(service.method):
            takes, gives = _short(method.input_type), _short(method.output_type)
            used[takes] = used[gives] = None
            access = method.options.Extensions[access_pb2.access]
            lines.append(
                f"| `{method.name}` | {'a stream of ' if method.client_streaming else ''}{_link(takes)} | "
                f"{'a stream of ' if method.server_streaming else ''}{_link(gives)} | "
                f"{_allowed(access)} | {_line(of_methods.get(number, ''))} |"
            )
        return "\n".join(lines) + "\n"

    def _fields_types(self, name: str) -> Iterator[str]:
        if name in self._messages:
            for field in self._messages[name][0].field:
                if field.type_name.startswith(".crewmesh.v1."):
                    yield _short(field.type_name)

    def _message(self, name: str) -> str:
        message, comment, of_fields = self._messages[name]
        lines = [f"### {name}\n"]
        if comment:
            lines += [_paragraphs(comment), ""]
        if not message.field:
            return "\n".join([*lines, "It has no fields.\n"])
        lines += ["| field | type | |", "| --- | --- | --- |"]
        for number, field in enumerate(message.field):
            lines.append(
                f"| `{field.name}` = {field.number} | {_type(field)} | "
                f"{_line(of_fields.get(number, ''))} |"
            )
        return "\n".join(lines) + "\n"

    def _enum(self, name: str) -> str:
        enum, comment, of_values = self._enums[name]
        lines = [f"### {name}\n"]
        if comment:
            lines += [_paragraphs(comment), ""]
        lines += ["| value | |", "| --- | --- |"]
        for number, value in enumerate(enum.value):
            lines.append(
                f"| `{value.name}` = {value.number} | {_line(of_values.get(number, ''))} |"
            )
        return "\n".join(lines) + "\n"


def _type(field: FieldDescriptorProto) -> str:
    short = _short(field.type_name)
    if field.type_name.startswith(".crewmesh.v1."):
        name = "map" if short.endswith("Entry") else _link(short)
    else:
        name = f"`{field.type_name.lstrip('.') or _TYPES[field.type]}`"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED and name != "map"
    optional = field.proto3_optional
    return ("repeated " if repeated else "optional " if optional else "") + name


def _allowed(access: access_pb2.Access) -> str:
    if access.permission:
        return f"`{access.permission}`"
    return "the mesh itself" if access.mesh_only else "any caller"


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _link(name: str) -> str:
    return f"[`{name}`](#{name.lower()})"


def _line(comment: str) -> str:
    return " ".join(comment.split()).replace("|", "\\|")


def _paragraphs(comment: str) -> str:
    return "\n".join(line.strip() for line in comment.strip().splitlines())
