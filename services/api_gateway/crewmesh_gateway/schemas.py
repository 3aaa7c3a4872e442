"""The shapes of REST's JSON: what comes in is checked by them, what goes out documented."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from crewmesh_gateway.params import NAME, PRINTABLE_NAME, SESSION_ID

Status = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled", "timed_out"]
Role = Literal["owner", "admin", "developer", "operator", "viewer"]
Scope = Annotated[str, Field(pattern=r"^(\*|[a-z]+\.(\*|[a-z]+))$")]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Item = TypeVar("Item")


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StartRun(_Input):
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


class CancelRun(_Input):
    """Why a run is cancelled."""

    reason: Annotated[str, Field(max_length=500)] = ""


class RespondToRun(_Input):
    """A person's answer to a run that waits for one."""

    text: Annotated[str, Field(max_length=100_000)]
    approve: bool | None = None


class CreateApiKey(_Input):
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
        str | None, Field(description="A service account; by default it is your own key.")
    ] = None


class RefreshTokens(_Input):
    """A refresh token."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512)]


class ChangePassword(_Input):
    """The caller's new password."""

    current_password: Password
    new_password: Password


class CreateUser(_Input):
    """A new person or service account."""

    email: Annotated[str, Field(min_length=3, max_length=255, examples=["ana@example.org"])]
    name: Annotated[str, Field(max_length=100)] = ""
    role: Role
    service_account: bool = False
    password: Annotated[
        Password | None, Field(description="12 characters or more; none for service accounts.")
    ] = None


class UpdateUser(_Input):
    """What to change of a user; what is left out stays."""

    name: Annotated[str | None, Field(max_length=100)] = None
    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


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
    worker_id: str | None
    created_by: str
    usage: Usage
    tasks: Annotated[list[Task], Field(description="Filled by GET /v1/runs/{run_id} only.")]
    last_seq: Annotated[int, Field(description="Number of the newest event.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None


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
    agent: str


class Crew(BaseModel):
    """What can be run."""

    name: str
    description: str
    version: str
    inputs: Annotated[dict[str, Any], Field(description="JSON Schema of a run's inputs.")]
    agents: list[CrewAgent]
    tasks: list[CrewTask]


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


class Readiness(BaseModel):
    """Whether requests can be served now."""

    ready: bool
    dependencies: dict[str, Literal["serving", "not_serving"]]
