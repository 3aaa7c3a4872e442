"""The reference of settings says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crewmesh.common.settings import Settings
from crewmesh_gateway.settings import GatewaySettings
from crewmesh_store.settings import StoreSettings
from crewmesh_worker.settings import WorkerSettings

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def documented(service: str) -> dict[str, str]:
    """Return the service's settings and defaults, as the page's table says them."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {service}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `CREWMESH_(\w+)` \| (.*?) \|", section, re.MULTILINE)
    return {name.lower(): default.strip("`") for name, default in rows}


def actual(settings: type[Settings]) -> dict[str, str]:
    """Return the settings and defaults of the code."""
    defaults = {}
    for name, field in settings.model_fields.items():
        if field.is_required():
            defaults[name] = "required"
        elif field.default_factory is not None:
            defaults[name] = "8 a core"
        else:
            default = field.default
            defaults[name] = "" if default in (None, "") else str(default)
    return defaults


@pytest.mark.parametrize(
    ("service", "settings"),
    [("Store", StoreSettings), ("Agent worker", WorkerSettings), ("Gateway", GatewaySettings)],
)
def test_every_setting_is_on_the_page_with_its_default(
    service: str, settings: type[Settings]
) -> None:
    assert documented(service) == actual(settings)
