"""Who chooses a run's models, and whose choice goes before whose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh_worker.crews.definition import CrewDefinition, parse_definition
from crewmesh_worker.projects.project import Project
from crewmesh_worker.runs.choice import choose_models


def definition(crew: Any = None, agent: Any = None) -> CrewDefinition:
    one = {"role": "R", "goal": "g", "backstory": "b"}
    body: dict[str, Any] = {
        "agents": {"one": one if agent is None else {**one, "model": agent}},
        "tasks": [{"name": "t", "description": "d", "expected_output": "e", "agent": "one"}],
    }
    if crew is not None:
        body["model"] = crew
    return parse_definition({"name": "c", "description": "d", "version": "1", "crew": body})


@pytest.mark.parametrize(
    ("run", "agent", "crew", "tenant", "models", "of_agent"),
    [
        ([], None, None, [], ("mesh",), []),
        ([], None, None, ["tenant"], ("tenant",), []),
        ([], None, "crew", ["tenant"], ("crew",), []),
        ([], None, ["a", "b"], ["tenant"], ("a", "b"), []),
        ([], "agent", "crew", ["tenant"], ("crew",), ["agent"]),
        (["run", "next"], "agent", "crew", ["tenant"], ("run", "next"), []),
    ],
)
def test_the_choice_nearest_to_the_call_holds(
    run: list[str],
    agent: Any,
    crew: Any,
    tenant: list[str],
    models: tuple[str, ...],
    of_agent: list[str],
) -> None:
    choice = choose_models(definition(crew, agent), run, tenant, ["mesh"])
    assert choice.models == models
    assert isinstance(choice.definition, CrewDefinition)
    assert choice.definition.crew.agents["one"].models == of_agent
    assert set(choice.all) == {*models, *of_agent}


@pytest.mark.parametrize(
    ("run", "of_projects", "tenant", "models", "exchanges_all", "known"),
    [
        ([], "", [], ("mesh",), False, ()),
        ([], "", ["tenant"], ("tenant",), False, ()),
        ([], "projects", ["tenant"], ("projects",), True, ("projects",)),
        (["run"], "projects", ["tenant"], ("run",), True, ("run",)),
    ],
)
def test_a_projects_own_models_are_exchanged_where_somebody_has_chosen(
    run: list[str],
    of_projects: str,
    tenant: list[str],
    models: tuple[str, ...],
    exchanges_all: bool,
    known: tuple[str, ...],
) -> None:
    path = Path()
    project = Project("mine", "0+1", "crew", "Mine.", path, path, path, {})
    choice = choose_models(project, run, tenant, ["mesh"], of_projects)
    assert (choice.models, choice.exchanges_all, choice.all) == (models, exchanges_all, known)


@pytest.mark.parametrize("wrong", ["", [], "with space", ["ok", 5], "/x", "x" * 201])
def test_what_is_no_models_name_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        definition(crew=wrong)
    assert all(v.field.startswith("crew.model") for v in refused.value.violations)
