"""Why something on the network can't be had; each message is for the agent to report."""

from __future__ import annotations

from crewmesh_worker.tools.registry import ToolError


class RefusedError(ToolError):
    """It may not be reached: by rule, by the tenant's policy or by the host's robots.txt."""


class UnreachableError(ToolError):
    """It could not be reached: no network, no such host, no answer in time."""


class UnusableError(ToolError):
    """It answered, but with something that can't be used: too large, another type."""
