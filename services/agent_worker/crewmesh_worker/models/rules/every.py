"""Every rule of the offline model, by the tool that it is about."""

from __future__ import annotations

from crewmesh_worker.models.rules.analysis import DATA_RULES
from crewmesh_worker.models.rules.assistant import ASSISTANT_RULES
from crewmesh_worker.models.rules.planner import Rule
from crewmesh_worker.models.rules.recommending import RECOMMENDING_RULES
from crewmesh_worker.models.rules.research import RESEARCH_RULES
from crewmesh_worker.models.rules.triage import TRIAGE_RULES

RULES: dict[str, Rule] = {
    **DATA_RULES,
    **ASSISTANT_RULES,
    **RESEARCH_RULES,
    **RECOMMENDING_RULES,
    **TRIAGE_RULES,
}
