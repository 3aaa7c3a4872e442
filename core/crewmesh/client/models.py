"""What a mesh answers, as its reference (`/docs`) tells each field."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from crewmesh.client.errors import UnknownAnswerError

Json = dict[str, Any]


class Model(BaseModel):
    """An answer.

    Fields that a newer mesh adds are kept as extras, and those that an older one doesn't send
    have their defaults; `raw` is the JSON as it came.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    _raw: Json = PrivateAttr(default_factory=dict)

    @property
    def raw(self) -> Json:
        """The JSON that the mesh answered with."""
        return self._raw


Item = TypeVar("Item", bound=Model)
Answer = TypeVar("Answer", bound=Model)


def parse(model: type[Answer], text: bytes | str) -> Answer:
    """Return an answer's JSON as its type; raise UnknownAnswerError for anything else."""
    try:
        content = json.loads(text)
        answer = model.model_validate(content)
    except ValueError as error:
        raise UnknownAnswerError(
            f"the mesh's answer is no {model.__name__}",
            why=str(error),
            next_step="check that the address is a mesh's, and that both are of one version",
        ) from error
    answer._raw = content
    for name, value in answer:
        _keep_raw(value, content.get(name))
    return answer


def _keep_raw(value: object, content: Any) -> None:
    """Give every part of an answer its own JSON, too."""
    if isinstance(value, Model) and isinstance(content, dict):
        value._raw = content
        for name, part in value:
            _keep_raw(part, content.get(name))
    elif isinstance(value, list) and isinstance(content, list):
        for part, its_content in zip(value, content, strict=False):
            _keep_raw(part, its_content)


class Page(Model, Generic[Item]):
    """One page of a list; `next_cursor` is None on the last one."""

    items: list[Item]
    next_cursor: str | None = None


class RunError(Model):
    """Why a run did not succeed."""

    code: str = ""
    message: str = ""


class Usage(Model):
    """What model calls consumed; `cost_usd` is of those whose price is known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    model_calls: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0


class Limit(Model):
    """What may be spent; None for no limit."""

    max_tokens: int | None = None
    max_usd: float | None = None


class WebhookState(Model):
    """How a run's webhook stands."""

    url: str
    status: str
    tries: int = 0
    last_status: int | None = None
    last_error: str | None = None
    next_try_at: datetime | None = None
    delivered_at: datetime | None = None


class Task(Model):
    """One of a run's tasks."""

    name: str
    agent: str = ""
    status: str = "pending"
    output: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Run(Model):
    """One execution of a crew."""

    id: str
    crew: str
    status: str
    created_at: datetime
    crew_version: str = ""
    inputs: Json = {}
    output: str | None = None
    output_partial: str | None = None
    output_json: Any = None
    error: RunError | None = None
    attempt: int = 0
    max_attempts: int = 0
    failures: int = 0
    priority: int = 0
    timeout_seconds: int = 0
    session_id: str | None = None
    turn: int | None = None
    worker_id: str | None = None
    created_by: str = ""
    models: list[str] = []
    budget: Limit | None = None
    usage: Usage = Usage()
    tasks: list[Task] = []
    retry_of: str | None = None
    last_seq: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    webhook: WebhookState | None = None

    @property
    def ended(self) -> bool:
        """Whether it has an outcome."""
        return self.status in ("succeeded", "failed", "cancelled", "timed_out")


class RunEvent(Model):
    """One entry of a run's log; `seq` is 1, 2, 3, ... without a gap."""

    seq: int
    run_id: str
    at: datetime
    type: str
    attempt: int = 0
    task: str | None = None
    agent: str | None = None
    payload: Json = {}


class Artifact(Model):
    """A file that a run made."""

    id: str
    name: str
    media_type: str
    run_id: str = ""
    size_bytes: int = 0
    sha256: str = ""
    created_at: datetime | None = None
    url: str = ""


class CrewAgent(Model):
    """An agent of a crew."""

    role: str
    goal: str = ""
    tools: list[str] = []


class CrewTask(Model):
    """A task of a crew; `agent` is a role, or empty where a manager decides."""

    name: str
    description: str = ""
    expected_output: str = ""
    agent: str = ""


class Crew(Model):
    """What can be run, in one of its versions; `inputs` is the JSON Schema of a run's inputs."""

    name: str
    version: str
    description: str = ""
    kind: str = "crew"
    error: str | None = None
    inputs: Json = {}
    agents: list[CrewAgent] = []
    tasks: list[CrewTask] = []
    source: str = ""
    current_version: str = ""
    created_at: datetime | None = None
    definition: Json | None = None


class PutCrew(Crew):
    """A crew that was brought; `changed` is False when this was the current version already."""

    changed: bool


class CrewVersion(Model):
    """One of a crew's versions, which never change."""

    version: str
    current: bool
    created_at: datetime | None = None
    created_by: str | None = None
    created_by_email: str | None = None


class CrewDiff(Model):
    """What changed between two versions, as a unified diff; empty where nothing changed."""

    name: str
    from_: str = Field(alias="from")
    to: str
    diff: str


class Tool(Model):
    """What agents may use; `arguments` is a JSON Schema."""

    name: str
    description: str = ""
    arguments: Json = {}
    side_effects: bool = False


class Dataset(Model):
    """Uploaded data."""

    id: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str = ""
    created_at: datetime


class Session(Model):
    """A conversation with a crew."""

    id: str
    crew: str
    title: str = ""
    inputs: Json = {}
    created_by: str = ""
    turns: int = 0
    open_turns: int = 0
    created_at: datetime
    updated_at: datetime


class SessionMessage(Model):
    """One message of a conversation: the nth posted one has the number 2n - 1, its answer 2n."""

    number: int
    role: str
    content: str
    run_id: str = ""
    created_at: datetime | None = None


class PostedMessage(Model):
    """A message, the run that answers it, and the answer if there is one already."""

    message: SessionMessage
    run: Run
    answer: SessionMessage | None = None


class ForgottenMemory(Model):
    """How many records of a session's memory were deleted."""

    deleted: int


class ApiKey(Model):
    """An API key without its secret."""

    id: str
    name: str
    prefix: str = ""
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    scopes: list[str] = []
    user_id: str = ""


class CreatedApiKey(ApiKey):
    """A new API key; its secret is shown this once."""

    secret: str


class Member(Model):
    """A person or a service account of the organisation."""

    id: str
    email: str
    role: str
    name: str = ""
    service_account: bool = False
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    last_sign_in_at: datetime | None = None


class User(Model):
    """Who is asking."""

    id: str
    email: str


class Org(Model):
    """Where they belong."""

    id: str
    name: str


class Key(Model):
    """The API key that they ask with."""

    id: str
    scopes: list[str] = []


class Me(Model):
    """Who is asking, and what they may do; `key` is None for an access token."""

    user: User
    org: Org
    role: str
    key: Key | None = None
    permissions: list[str] = []


class Tokens(Model):
    """What a sign-in gives; the refresh token is good once."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105 - no password
    expires_in: int = 0


class Limits(Model):
    """How much of the mesh the organisation may use; `crews` is by name."""

    max_running: int | None
    max_queued: int
    crews: dict[str, int] = {}
    max_requests_per_minute: int | None = None


class Policy(Model):
    """What the organisation's runs may use: models, tools, hosts, approval, a run's budget."""


class Budget(Limit):
    """A budget, and what is gone of it in the current period."""

    api_key_id: str | None = None
    period: str
    period_start: datetime | None = None
    spent_tokens: int = 0
    spent_usd: float = 0.0
    reserved_tokens: int = 0
    reserved_usd: float = 0.0


class Budgets(Model):
    """All budgets of the organisation."""

    items: list[Budget]


class Secret(Model):
    """What may be known of a secret; its value is never shown."""

    name: str
    ending: str = ""
    created_by: str = ""
    created_at: datetime


class Secrets(Model):
    """All secrets of the organisation."""

    items: list[Secret]


class UsageGroup(Usage):
    """What a group of model calls consumed; what it isn't grouped by is None."""

    crew: str | None = None
    model: str | None = None
    day: str | None = None


class UsageReport(Model):
    """What the organisation's model calls consumed."""

    items: list[UsageGroup]


class Worker(Model):
    """A worker that is attached, or fell silent less than a minute ago."""

    id: str
    address: str = ""
    version: str = ""
    slots: int = 0
    free_slots: int = 0
    running: int = 0
    lease_age_seconds: float | None = None
    started_at: datetime | None = None
    last_seen_at: datetime | None = None


class Queue(Model):
    """How the organisation's runs stand now."""

    queued: int = 0
    running: int = 0
    waiting: int = 0
    oldest_queued_at: datetime | None = None


class Fleet(Page[Worker]):
    """The workers, and what waits for them."""

    queue: Queue = Queue()
    lease_seconds: float = 0.0


class AuditEntry(Model):
    """One thing that somebody did; `hash` covers `entry` and the hash before it."""

    seq: int
    hash: str
    entry: str
    at: datetime | None = None
    actor: dict[str, Any] = {}
    action: str = ""
    target: str = ""
    changes: Json | None = None


class AuditEnd(Model):
    """The newest entry there is."""

    seq: int
    hash: str


class AuditPage(Page[AuditEntry]):
    """Entries, and where the log ends."""

    head: AuditEnd | None = None


class Readiness(Model):
    """Whether requests can be served now, dependency by dependency."""

    ready: bool
    dependencies: dict[str, str] = {}


class Health(Model):
    """That the gateway answers."""


class ServerInfo(Model):
    """What the mesh's OpenAPI document says of itself."""

    info: Json = {}

    @property
    def version(self) -> str:
        """The mesh's version."""
        return str(self.info.get("version", ""))
