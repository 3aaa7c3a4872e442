"""The shapes of REST's JSON: what comes in is checked by them, what goes out documented."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from crewmesh_gateway.params import (
    CREW_VERSION,
    MEANINGS,
    MODEL,
    NAME,
    PRINTABLE_NAME,
    SESSION_ID,
)

Status = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled", "timed_out"]
WebhookStatus = Literal["waiting", "due", "delivered", "failed"]
Role = Literal["owner", "admin", "developer", "operator", "viewer"]
Scope = Annotated[str, Field(pattern=r"^(\*|[a-z]+\.(\*|[a-z]+))$")]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Item = TypeVar("Item")


class Input(BaseModel):
    """A request's body: nothing that it doesn't name, and no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class BudgetLimit(Input):
    """What may be spent; at least one of the two."""

    max_tokens: Annotated[int | None, Field(ge=1, le=10**15)] = None
    max_usd: Annotated[float | None, Field(ge=0.000001, le=10**9)] = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_tokens is None and self.max_usd is None:
            raise ValueError("give max_tokens, max_usd or both")
        return self


WebhookUrl = Annotated[str, Field(min_length=1, max_length=2000)]


class Webhook(Input):
    """Where a run is posted when it has ended."""

    url: WebhookUrl
    secret: Annotated[
        str,
        Field(
            max_length=500,
            description="Signs what is posted (Standard Webhooks); without one it isn't signed.",
        ),
    ] = ""


class StartRun(Input):
    """What to run. What is left out takes the mesh's defaults."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "crew": "data-analyst",
                    "inputs": {"dataset": "sales.csv", "question": "Which region grew most?"},
                }
            ]
        }
    )

    crew: Annotated[str, Field(pattern=NAME, description="A crew's name; see GET /v1/crews.")]
    inputs: Annotated[
        dict[str, Any], Field(description="What the crew's inputs schema asks for.")
    ] = {}
    session_id: Annotated[str | None, Field(pattern=SESSION_ID)] = None
    priority: Annotated[
        int | None, Field(ge=-100, le=100, description="Higher runs first; default 0.")
    ] = None
    timeout_seconds: Annotated[
        int | None, Field(ge=1, le=86_400, description="Wall-clock limit of one attempt.")
    ] = None
    max_attempts: Annotated[int | None, Field(ge=1, le=20)] = None
    models: Annotated[
        list[Annotated[str, Field(pattern=MODEL)]],
        Field(
            max_length=20,
            description="Instead of the crew's own: the first, and in order those to go on with "
            "when one fails for good.",
            examples=[["openai/gpt-5-mini", "offline"]],
        ),
    ] = []
    budget: BudgetLimit | None = None
    webhook: Annotated[
        Webhook | WebhookUrl | None,
        Field(
            description="The run's JSON is posted there when it has ended: a URL, or with a secret."
        ),
    ] = None

    def webhook_or_none(self) -> Webhook | None:
        """Return the webhook, however it was given."""
        return Webhook(url=self.webhook) if isinstance(self.webhook, str) else self.webhook


class CancelRun(Input):
    """Why a run is cancelled."""

    reason: Annotated[str, Field(max_length=500)] = ""


class RespondToRun(Input):
    """A person's answer to a run that waits for one."""

    text: Annotated[str, Field(max_length=100_000)]
    approve: bool | None = None
    question: Annotated[
        int | None,
        Field(
            ge=1,
            le=2**63 - 1,
            description="`seq` of the `input.requested` that this answers. With it, the answer "
            "reaches no later question, and may be sent again.",
        ),
    ] = None


class RollBackCrew(Input):
    """Which of a crew's versions to go back (or forward) to."""

    version: Annotated[int | str, Field(examples=[1])]

    @field_validator("version")
    @classmethod
    def _is_version(cls, version: int | str) -> int | str:
        if not re.fullmatch(CREW_VERSION, str(version)):
            raise ValueError(MEANINGS[CREW_VERSION])
        return version


class CreateSession(Input):
    """A conversation with a crew."""

    crew: Annotated[
        str, Field(pattern=NAME, description="One with an input of the format session-message.")
    ]
    title: Annotated[str, Field(max_length=200)] = ""
    inputs: Annotated[
        dict[str, Any], Field(description="What every run gets besides message and history.")
    ] = {}


class PostMessage(Input):
    """What a person says."""

    content: Annotated[str, Field(min_length=1, max_length=100_000)]
    timeout_seconds: Annotated[
        int | None, Field(ge=1, le=86_400, description="Wall-clock limit of one attempt.")
    ] = None


class CreateApiKey(Input):
    """A new API key of the caller's."""

    name: Annotated[str, Field(pattern=PRINTABLE_NAME, examples=["continuous integration"])]
    scopes: Annotated[
        list[Scope],
        Field(
            max_length=50,
            examples=[["runs.*", "crews.read"]],
            description="Permissions, as `runs.read` or `runs.*`; none: all of your role.",
        ),
    ] = []
    expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = None
    user_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="A service account; by default it is your own key.",
        ),
    ] = None


class RefreshTokens(Input):
    """A refresh token."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512)]


class ChangePassword(Input):
    """The caller's new password."""

    current_password: Password
    new_password: Password


class CreateUser(Input):
    """A new person or service account."""

    email: Annotated[str, Field(min_length=3, max_length=255, examples=["ana@example.org"])]
    name: Annotated[str, Field(max_length=100)] = ""
    role: Role
    service_account: bool = False
    password: Annotated[
        Password | None, Field(description="12 characters or more; none for service accounts.")
    ] = None


class UpdateUser(Input):
    """What to change of a user; what is left out stays."""

    name: Annotated[str | None, Field(max_length=100)] = None
    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


_AtMost = Annotated[int, Field(ge=1, le=1_000_000)]


class SetLimits(Input):
    """All limits of an organisation, which replace those that there are."""

    max_running: Annotated[
        _AtMost | None,
        Field(description="Runs that may be running at once; null for no limit."),
    ]
    max_queued: Annotated[
        _AtMost,
        Field(description="Runs that may wait in the queue; one more is refused with 429."),
    ]
    crews: Annotated[
        dict[Annotated[str, Field(pattern=NAME)], _AtMost],
        Field(
            max_length=1000,
            description="Runs of single crews that may be running at once, by the crew's name.",
            examples=[{"data-analyst": 4}],
        ),
    ]
    max_requests_per_minute: Annotated[
        _AtMost | None,
        Field(
            description="Requests of each API key and each person signed in; null where only the "
            "mesh's own limit holds, which this can't raise."
        ),
    ] = None


class Fault(BaseModel):
    """One fault in the input."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: Annotated[str, Field(description="What happened, for people.")]
    code: Annotated[str, Field(description="What happened, stable and for programs.")]
    request_id: str
    errors: list[Fault] = []


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: Annotated[str | None, Field(description="null on the last page.")]


class RunError(BaseModel):
    """Why a run did not succeed."""

    code: Annotated[str, Field(examples=["crew_error"])]
    message: str


class Usage(BaseModel):
    """What a run's model calls consumed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    model_calls: int
    cost_usd: Annotated[float, Field(description="Of the calls whose price is known.")]
    unpriced_calls: Annotated[
        int, Field(description="Calls whose price isn't known; their cost is missing.")
    ]


class Limit(BaseModel):
    """What may be spent."""

    max_tokens: int | None
    max_usd: float | None


class WebhookState(BaseModel):
    """How a run's webhook stands."""

    url: str
    status: Annotated[
        WebhookStatus,
        Field(description="waiting for the run's end, due (again), delivered, or given up."),
    ]
    tries: int
    last_status: Annotated[int | None, Field(description="HTTP status of the last answer.")]
    last_error: str | None
    next_try_at: datetime | None
    delivered_at: datetime | None


class Task(BaseModel):
    """One of a run's tasks."""

    name: str
    agent: str
    status: Literal["pending", "running", "completed", "failed"]
    output: str | None
    started_at: datetime | None
    finished_at: datetime | None


class Run(BaseModel):
    """One execution of a crew."""

    id: str
    crew: str
    crew_version: str
    status: Status
    inputs: dict[str, Any]
    output: Annotated[str | None, Field(description="The final answer, once it succeeded.")]
    output_partial: Annotated[
        str | None,
        Field(description="What a run had finished that ended for want of budget, as Markdown."),
    ]
    output_json: Annotated[Any, Field(description="The answer as data, where the crew has one.")]
    error: RunError | None
    attempt: int
    max_attempts: int
    failures: Annotated[
        int, Field(description="Attempts that failed through no fault of the crew.")
    ]
    priority: int
    timeout_seconds: int
    session_id: str | None
    turn: Annotated[
        int | None, Field(description="Which of its session's messages it answers, from 1.")
    ]
    worker_id: str | None
    created_by: str
    models: Annotated[list[str], Field(description="Those that it was started with.")]
    budget: Limit | None
    usage: Usage
    tasks: Annotated[list[Task], Field(description="Filled by GET /v1/runs/{run_id} only.")]
    retry_of: Annotated[str | None, Field(description="The run that it repeats.")]
    last_seq: Annotated[int, Field(description="Number of the newest event.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    webhook: Annotated[
        WebhookState | None, Field(description="Filled by GET /v1/runs/{run_id} only.")
    ]


class RunEvent(BaseModel):
    """One entry of a run's log."""

    seq: Annotated[int, Field(description="1, 2, 3, ... without a gap.")]
    run_id: str
    at: datetime
    attempt: int
    type: Annotated[str, Field(examples=["task.completed"])]
    task: str | None
    agent: str | None
    payload: dict[str, Any]


class Session(BaseModel):
    """A conversation with a crew."""

    id: str
    crew: str
    title: str
    inputs: dict[str, Any]
    created_by: str
    turns: Annotated[int, Field(description="Messages posted so far.")]
    open_turns: Annotated[int, Field(description="Of those, how many are not answered yet.")]
    created_at: datetime
    updated_at: datetime


class SessionMessage(BaseModel):
    """One message of a conversation."""

    number: Annotated[
        int, Field(description="The nth posted message is 2n - 1, and its answer 2n.")
    ]
    role: Annotated[
        Literal["user", "assistant", "system"],
        Field(description="system: why a message got no answer."),
    ]
    content: str
    run_id: Annotated[str, Field(description="The run that answers, or answered.")]
    created_at: datetime


class PostedMessage(BaseModel):
    """A message, the run that answers it, and the answer if there is one already."""

    message: SessionMessage
    run: Run
    answer: SessionMessage | None


class MessagePage(BaseModel):
    """A part of a conversation."""

    items: list[SessionMessage]
    next_cursor: Annotated[str | None, Field(description="null on the last page.")]


class ForgottenMemory(BaseModel):
    """What was deleted of a session's memory."""

    deleted: Annotated[int, Field(description="How many records there were.")]


class CrewAgent(BaseModel):
    """An agent of a crew."""

    role: str
    goal: str
    tools: list[str]


class CrewTask(BaseModel):
    """A task of a crew."""

    name: str
    description: str
    expected_output: str
    agent: Annotated[str, Field(description="Its agent's role; empty where a manager decides.")]


class Crew(BaseModel):
    """What can be run, in one of its versions."""

    name: str
    description: str
    version: Annotated[
        str, Field(description="1, 2, 3, ... for an uploaded crew; else its content's hash.")
    ]
    kind: Literal["crew", "flow"]
    error: Annotated[str | None, Field(description="Why it can't be run; null when it can be.")]
    inputs: Annotated[dict[str, Any], Field(description="JSON Schema of a run's inputs.")]
    agents: list[CrewAgent]
    tasks: list[CrewTask]
    source: Annotated[
        Literal["built_in", "mounted", "uploaded", "project"],
        Field(description="With Crewmesh, with its workers, from you, or a CrewAI project."),
    ]
    current_version: Annotated[
        str, Field(description="The one that a run gets that is started now.")
    ]
    created_at: Annotated[datetime | None, Field(description="When this version was made.")]
    definition: Annotated[
        dict[str, Any] | None, Field(description="The whole of it; null in lists.")
    ]


class PutCrew(Crew):
    """A crew that was brought."""

    changed: Annotated[bool, Field(description="False when this was the current version already.")]


class CrewVersion(BaseModel):
    """One of a crew's versions, which never change."""

    version: str
    current: bool
    created_at: datetime | None
    created_by: Annotated[str | None, Field(description="A user's id.")]
    created_by_email: Annotated[str | None, Field(description="null once they are removed.")]


class CrewDiff(BaseModel):
    """What changed between two versions."""

    name: str
    from_: Annotated[str, Field(alias="from")]
    to: str
    diff: Annotated[str, Field(description="A unified diff; empty where nothing changed.")]


class Tool(BaseModel):
    """What agents may use."""

    name: str
    description: str
    arguments: Annotated[dict[str, Any], Field(description="JSON Schema of its arguments.")]
    side_effects: Annotated[
        bool, Field(description="A call changes something outside; the same is made once.")
    ]


class Dataset(BaseModel):
    """Uploaded data."""

    id: str
    name: str
    media_type: Literal["text/csv", "application/x-ndjson", "application/vnd.apache.parquet"]
    size_bytes: int
    sha256: str
    created_at: datetime


class Artifact(BaseModel):
    """A file that a run made."""

    id: str
    run_id: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: datetime
    url: str


class ApiKey(BaseModel):
    """An API key without its secret."""

    id: str
    name: str
    prefix: Annotated[str, Field(description="The key's first characters.")]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    scopes: list[str]
    user_id: str


class CreatedApiKey(ApiKey):
    """A new API key."""

    secret: Annotated[str, Field(description="Shown this once.")]


class Tokens(BaseModel):
    """What a sign-in gives."""

    access_token: Annotated[str, Field(description="For the header Authorization: Bearer ...")]
    refresh_token: Annotated[str, Field(description="Good once, for newer tokens.")]
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Field(description="Seconds that the access token is valid.")]


class Member(BaseModel):
    """A user of the organisation."""

    id: str
    email: str
    name: str
    role: Role
    service_account: bool
    created_at: datetime
    disabled_at: datetime | None
    last_sign_in_at: datetime | None


class Limits(BaseModel):
    """How much of the mesh an organisation may use at once."""

    max_running: Annotated[int | None, Field(description="null where there is no limit.")]
    max_queued: int
    crews: Annotated[dict[str, int], Field(description="By the crew's name.")]
    max_requests_per_minute: Annotated[
        int | None,
        Field(description="Of each API key and each person; null: as the mesh's own limit."),
    ]


class AuditEntry(BaseModel):
    """One thing that somebody did."""

    seq: Annotated[int, Field(description="1, 2, 3, ... in each organisation.")]
    at: datetime
    actor: Annotated[
        dict[str, str],
        Field(description="The user, their role, key and request; or who was at the database."),
    ]
    action: Annotated[str, Field(examples=["user.changed", "secret.deleted"])]
    target: str
    changes: Annotated[
        dict[str, Any],
        Field(description="Of a change, old and new; of what is secret, that it changed."),
    ]
    entry: Annotated[str, Field(description="The text that the hash covers.")]
    hash: Annotated[str, Field(description="SHA-256 of the hash before it and `entry`, in hex.")]


class AuditEnd(BaseModel):
    """The newest entry there is."""

    seq: int
    hash: str


class AuditPage(Page[AuditEntry]):
    """Entries, and where the log ends."""

    head: AuditEnd | None


class User(BaseModel):
    """A person or a program."""

    id: str
    email: str


class Org(BaseModel):
    """An organisation."""

    id: str
    name: str


class Key(BaseModel):
    """The API key of this request."""

    id: str
    scopes: list[str]


class Me(BaseModel):
    """Who is asking."""

    user: User
    org: Org
    role: Role
    key: Annotated[Key | None, Field(description="null for an access token.")]
    permissions: Annotated[
        list[str], Field(description="What this credential permits; see reference/permissions.md.")
    ]


class Readiness(BaseModel):
    """Whether requests can be served now."""

    ready: bool
    dependencies: dict[str, Literal["serving", "not_serving"]]
