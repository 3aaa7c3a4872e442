"""Asks for a review, for a title, and has a task of a crew approved."""

from pathlib import Path

from crewai import Agent, Crew, Task
from crewai.flow import Flow, human_feedback, listen, start


class ReviewedFlow(Flow):
    @start()
    @human_feedback(message="Is the draft good?", emit=["approved", "rejected"])
    def draft(self) -> str:
        with Path(self.state["ledger"]).open("a") as ledger:
            ledger.write("draft\n")
        return "a draft"

    @listen("rejected")
    def give_up(self) -> str:
        return "given up"

    @listen("approved")
    def choose_title(self, review) -> str:
        title = self.ask("Which title?")
        subtitle = self.ask("Which subtitle?")
        return f"{title}: {subtitle} ({review.output})"

    @listen(choose_title)
    def publish(self, title: str) -> str:
        agent = Agent(role="Publisher", goal="Publish", backstory="Publishes.")
        task = Task(
            name="publish it",
            description="Publish it.",
            expected_output="what was published",
            agent=agent,
            human_input=True,
        )
        Crew(agents=[agent], tasks=[task]).kickoff()
        return f"published {title}"


def kickoff():
    ReviewedFlow().kickoff()
