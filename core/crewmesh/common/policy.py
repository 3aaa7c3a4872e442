"""What a tenant lets its runs use: models, tools, hosts; and what a person must approve.

It is a policy of the tenant, not of the crew: whoever may push a crew can't widen it. The
store keeps it as JSON; workers enforce it when a run is admitted and again when it is
executed; runners get it as `policy_json`. Importing this imports no gRPC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crewmesh.common.errors import InvalidInputError, Violation

# A model's name, or in a policy a pattern of names: openai/*, *-mini.
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/@*?+-]{1,200}$")]
_ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*?-]{1,100}$")]
_Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*:\[\]-]{1,253}$")]
_MAX_ITEMS = 500


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPolicy(_Part):
    """`allowed` are patterns, or None for every model; `default` are in order of preference."""

    allowed: list[ModelName] | None = Field(None, max_length=_MAX_ITEMS)
    default: list[ModelName] = Field(default_factory=list, max_length=20)


class ToolPolicy(_Part):
    """Patterns of tools' names. What is denied is denied; `allowed` None is every other."""

    allowed: list[_ToolName] | None = Field(None, max_length=_MAX_ITEMS)
    denied: list[_ToolName] = Field(default_factory=list, max_length=_MAX_ITEMS)


class HostPolicy(_Part):
    """What tools reach. `allowed` are names such as api.example.com or *.example.com.

    None allows every public host. `private` lets them reach private addresses, too.
    """

    allowed: list[_Host] | None = Field(None, max_length=_MAX_ITEMS)
    private: bool = False


class ApprovalPolicy(_Part):
    """Patterns of the tools whose every call a person must approve.

    With `after_outside` so must each call with side effects that comes after a result from
    outside (of a host, of a dataset): it may be the outside's wish, and not the run's.
    """

    after_outside: bool = True
    tools: list[_ToolName] = Field(default_factory=list, max_length=_MAX_ITEMS)


class RunBudget(_Part):
    """The most that a run may spend."""

    max_tokens: int | None = Field(None, ge=1, le=10**15)
    max_usd: float | None = Field(None, gt=0, le=10**9)


class Policy(_Part):
    """A tenant's whole policy; the default one allows everything public."""

    models: ModelPolicy = ModelPolicy()
    tools: ToolPolicy = ToolPolicy()
    hosts: HostPolicy = HostPolicy()
    approval: ApprovalPolicy = ApprovalPolicy()
    run_budget: RunBudget = RunBudget()

    def allows_model(self, name: str) -> bool:
        """Return whether runs may use the model of that name."""
        return self.models.allowed is None or _matches(name, self.models.allowed)

    def allows_tool(self, name: str) -> bool:
        """Return whether runs may use the tool of that name."""
        if _matches(name, self.tools.denied):
            return False
        return self.tools.allowed is None or _matches(name, self.tools.allowed)

    def needs_approval(self, tool: str) -> bool:
        """Return whether a person must approve each call of the tool."""
        return _matches(tool, self.approval.tools)

    def faults(self, models: Iterable[str], tools: Iterable[str]) -> list[Violation]:
        """Return what of these a run may not use, each once."""
        return [*self._model_faults(models), *self._tool_faults(tools)]

    def _model_faults(self, models: Iterable[str]) -> Iterator[Violation]:
        for name in dict.fromkeys(models):
            if not self.allows_model(name):
                allowed = ", ".join(self.models.allowed or ()) or "none"
                yield Violation("models", f"{name} isn't allowed here; allowed: {allowed}")

    def _tool_faults(self, tools: Iterable[str]) -> Iterator[Violation]:
        for name in dict.fromkeys(tools):
            if not self.allows_tool(name):
                yield Violation("tools", f"the tool {name} isn't allowed here")


EVERYTHING = Policy()


def parse_policy(text: str) -> Policy:
    """Return the policy that JSON says, the default one for ""; raise InvalidInputError."""
    if not text:
        return EVERYTHING
    try:
        return Policy.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInputError(
            "the policy has faults",
            reason="INVALID_POLICY",
            violations=[Violation(_place(fault), str(fault["msg"])) for fault in error.errors()],
        ) from error


def _place(fault: Any) -> str:
    return ".".join(str(part) for part in fault["loc"]) or "policy"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
