"""What to do instead, for what CrewAI's definitions have and ours don't."""

from __future__ import annotations

from typing import Final

_CODE = "a definition is data and runs no code of its own; a crew with code is a CrewAI project"
_FILE = "a definition reads and writes no files"
_MODEL = "the mesh chooses the model; leave it out"
_REACH = "agents reach other systems only through the mesh's tools; see `crewmesh tools ls`"
_KNOWLEDGE = "give what a run has to know as an input, or as a dataset"

PYTHON_REFERENCE: Final = f"a Python reference: {_CODE}"
CLASS_NAME: Final = "the name of a class: give its JSON Schema instead"

HINTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            *("callback", "callbacks", "step_callback", "task_callback", "condition"),
            *("before_kickoff_callbacks", "after_kickoff_callbacks", "converter_cls"),
            *("executor_class", "agent_executor", "adapted_agent", "allow_code_execution"),
        ),
        _CODE,
    ),
    **dict.fromkeys(
        ("llm", "function_calling_llm", "manager_llm", "planning_llm", "chat_llm", "max_tokens"),
        _MODEL,
    ),
    **dict.fromkeys(
        ("base_url", "api_key", "api_base", "mcps", "apps", "a2a", "from_repository"), _REACH
    ),
    **dict.fromkeys(
        ("knowledge", "knowledge_sources", "knowledge_config", "embedder", "skills"), _KNOWLEDGE
    ),
    "memory": "a memory is the whole crew's: set `memory: true` there",
    "input_files": f"{_FILE}: take the file as an input that is a dataset",
    "output_file": f"{_FILE}: the result is the run's output; tools such as write_report make "
    "artifacts",
    "output_log_file": f"{_FILE}: the run's events are its log",
    "prompt_file": f"{_FILE}: write it into the agents' and tasks' texts",
    "trained_agents_file": f"{_FILE}: write what was learnt into the agents' texts",
    "config": "write its keys beside it, one by one",
    "checkpoint": "finished tasks are kept without it",
    "max_execution_time": "it would stop nothing: limit the run with timeout_seconds",
    "max_retries": "its name is guardrail_max_retries",
    "max_reasoning_attempts": "its name is planning_config.max_attempts",
    "response_model": "use output_json or output_pydantic",
    "multimodal": "agents work with texts and datasets",
    "date_format": "dates are written as 2026-11-23; leave it out",
    "use_better_compaction": "it is always on",
    "tracing": "nothing leaves the mesh: the run's events are its trace",
    "share_crew": "nothing leaves the mesh",
    "security_config": "runs are told apart by their ids",
    "allow_crewai_trigger_context": "name what starts the run as an input, and {name} it",
    "prompt_context": "write it into the task's description",
    "system_template": "prompts are CrewAI's own",
    "prompt_template": "prompts are CrewAI's own",
    "response_template": "prompts are CrewAI's own",
    "code_execution_mode": _CODE,
    # On a task, both are taken.
    "guardrail": "give it to the agent's tasks",
    "guardrail_max_retries": "give it to the agent's tasks",
    "reasoning": "its name is planning",
    "step_timeout": "limit the run with timeout_seconds",
    "system_prompt": "prompts are CrewAI's own",
    "plan_prompt": "prompts are CrewAI's own",
    "refine_prompt": "prompts are CrewAI's own",
}


def hint(key: str) -> str:
    """Return what to do instead of this key."""
    return HINTS.get(key, "a definition takes only the keys of the reference")
