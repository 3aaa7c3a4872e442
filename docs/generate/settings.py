"""docs/reference/settings.md, of the classes that read the settings."""

from __future__ import annotations

from crewmesh.common.settings import PREFIX, Settings
from crewmesh_gateway.settings import GatewaySettings
from crewmesh_store.settings import StoreSettings
from crewmesh_worker.settings import WorkerSettings

_SERVICES: dict[str, type[Settings]] = {
    "Store": StoreSettings,
    "Agent worker": WorkerSettings,
    "Gateway": GatewaySettings,
}
_HEAD = """\
# Settings

Every service reads environment variables with the prefix `CREWMESH_` and checks them at start; a wrong one stops the start with
one clear line. A secret may be in a file instead: `CREWMESH_MESH_SECRET_FILE=/run/secrets/mesh` (any setting takes `_FILE`).
`crewmesh up` sets the addresses and secrets itself; the others it passes on.
"""
_FOOT = """\
## OpenTelemetry's variables

Where `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, it does what `CREWMESH_OTLP_ENDPOINT` does.
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_SCHEDULE_DELAY` and the other
variables of OpenTelemetry's SDK hold, too.

## Command line

| setting | what |
| --- | --- |
| `CREWMESH_URL`, `CREWMESH_API_KEY` | the mesh that commands talk to, instead of a profile or a local mesh |
| `CREWMESH_DATA_DIR` | where the embedded mesh keeps its data |
"""


def page() -> str:
    """Return the page."""
    tables = [f"## {name}\n\n{_table(settings)}" for name, settings in _SERVICES.items()]
    return "\n".join([_HEAD, *tables, _FOOT])


def _table(settings: type[Settings]) -> str:
    rows = ["| setting | default | what |", "| --- | --- | --- |"]
    for name, field in settings.model_fields.items():
        if field.is_required():
            default = "required"
        elif field.default_factory is not None:
            default = "8 a core"
        else:
            default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"
