"""The reference of permissions says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from crewmesh.common.access import access_to
from crewmesh.common.permissions import ALL_PERMISSIONS, PERMISSIONS_BY_ROLE
from crewmesh.v1 import agent_pb2, session_pb2

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "permissions.md"


def tables() -> list[list[list[str]]]:
    """Return the page's tables: rows of cells."""
    blocks = re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        [[cell.strip() for cell in row.split("|")[1:-1]] for row in block.splitlines()]
        for block in blocks
    ]


def test_the_page_says_what_each_role_may_do() -> None:
    head, _, *rows = tables()[0]
    said = {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    assert said == {
        permission: {
            role: "yes" if permission in permitted else ""
            for role, permitted in PERMISSIONS_BY_ROLE.items()
        }
        for permission in ALL_PERMISSIONS
    }


def test_the_page_says_what_each_public_rpc_takes() -> None:
    said = {
        rpc: row[0].strip("`")
        for row in tables()[1][2:]
        for rpc in re.findall(r"`([A-Z]\w+\.\w+)`", row[2])
    }
    public = [
        *agent_pb2.DESCRIPTOR.services_by_name.values(),
        *session_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    assert said == {
        f"{service.name}.{method.name}": access_to(f"/{service.full_name}/{method.name}").permission
        for service in public
        for method in service.methods
    }
