from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.responses import Response

from crewmesh.common import errors
from crewmesh.common.errors import CrewmeshError, Violation
from crewmesh_gateway.problems import problem_of_error
from crewmesh_gateway.schemas import Problem


def answer(error: CrewmeshError, method: str = "POST") -> tuple[Response, dict[str, Any]]:
    scope = {"type": "http", "method": method, "crewmesh.request_id": "r1"}
    response = problem_of_error(error, scope)
    content: dict[str, Any] = json.loads(bytes(response.body))
    Problem.model_validate(content)
    return response, content


@pytest.mark.parametrize(
    ("error", "status", "code", "detail_is_told"),
    [
        (errors.InvalidInputError("why"), 422, "invalid_input", True),
        (errors.NotFoundError("why", reason="RUN_NOT_FOUND"), 404, "run_not_found", True),
        (errors.ConflictError("why"), 409, "conflict", True),
        (errors.StateError("why", reason="RUN_NOT_WAITING"), 409, "run_not_waiting", True),
        (errors.UnauthenticatedError("why"), 401, "invalid_credentials", True),
        (errors.ForbiddenError("why"), 403, "forbidden", True),
        (errors.ExhaustedError("why"), 429, "exhausted", True),
        (errors.UnavailableError("why"), 503, "unavailable", False),
        (errors.DeadlineError("why"), 504, "deadline_exceeded", False),
        (errors.CrewmeshError("why"), 500, "internal", False),
    ],
)
def test_each_error_has_one_problem(
    error: CrewmeshError, status: int, code: str, detail_is_told: bool
) -> None:
    response, content = answer(error)

    assert response.status_code == content["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert content["code"] == code
    assert content["request_id"] == "r1"
    assert (content["detail"] == "why") is detail_is_told
    assert ("www-authenticate" in response.headers) is (status == 401)
    assert ("retry-after" in response.headers) is (status in (429, 503))


@pytest.mark.parametrize(("seconds", "told"), [(None, "1"), (0.0, "1"), (0.2, "1"), (2.1, "3")])
def test_retry_after_is_in_whole_seconds_and_never_0(seconds: float | None, told: str) -> None:
    response, _ = answer(errors.ExhaustedError("why", retry_after_seconds=seconds))

    assert response.headers["retry-after"] == told


def test_faults_are_placed_where_the_client_put_them() -> None:
    faults = [Violation("inputs.question", "required"), Violation("page_token", "unknown")]
    _, posted = answer(errors.InvalidInputError("why", violations=faults[:1]), "POST")
    _, listed = answer(errors.InvalidInputError("why", violations=faults[1:]), "GET")

    assert posted["errors"] == [{"loc": ["body", "inputs", "question"], "msg": "required"}]
    assert listed["errors"] == [{"loc": ["query", "cursor"], "msg": "unknown"}]
