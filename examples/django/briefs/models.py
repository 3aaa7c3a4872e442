"""What is kept here of a run."""

from __future__ import annotations

import uuid

from django.db import models

from briefs import crewmesh

FINAL = ("succeeded", "failed", "cancelled", "timed_out")


class Brief(models.Model):
    """A brief that somebody has asked for, and the run that writes it."""

    topic = models.CharField(max_length=200)
    # Made with the form: a form that is sent twice asks for one run.
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    run_id = models.CharField(max_length=36, blank=True)
    status = models.CharField(max_length=20, default="new")
    text = models.TextField(blank=True)
    asked_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """The newest come first."""

        ordering = ("-asked_at",)

    def __str__(self) -> str:
        return self.topic

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    async def start(self) -> None:
        """Have the run started, and note its id."""
        run = await crewmesh.start_run("hello", {"topic": self.topic}, f"brief-{self.key}")
        self.run_id, self.status = run["id"], run["status"]
        await self.asave()

    async def refresh(self) -> None:
        """Take over how the run stands."""
        if self.run_id and not self.is_final:
            run = await crewmesh.get_run(self.run_id)
            error = run.get("error") or {}
            self.status = run["status"]
            self.text = run["output"] or error.get("message", "")
            await self.asave()
