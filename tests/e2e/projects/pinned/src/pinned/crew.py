import json
import os
from importlib.metadata import version
from pathlib import Path

from crewai import Agent, Crew, Task
from crewai.project import CrewBase, agent, crew, task
from crewai.tools import BaseTool

RUNS = []


class Surroundings(BaseTool):
    name: str = "look_around"
    description: str = "Tells what the crew runs in."

    def _run(self) -> str:
        packages = ("crewai", "protobuf", "structlog", "psutil")
        variables = {k: v for k, v in os.environ.items() if k.startswith(("PINNED", "CREWMESH_M"))}
        facts = {name: version(name) for name in packages}
        return json.dumps(
            {
                **facts,
                **variables,
                "runs": len(RUNS),
                "cwd": [path.name for path in Path().iterdir()],
            }
        )


@CrewBase
class Pinned:
    @agent
    def looker(self) -> Agent:
        RUNS.append(1)
        return Agent(role="Looker", goal="Look", backstory="Looks.", tools=[Surroundings()])

    @task
    def look(self) -> Task:
        return Task(
            description="Tell the {what} with look_around, at most {limit}.",
            expected_output="What it says.",
            agent=self.looker(),
        )

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks)
