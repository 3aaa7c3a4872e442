"""The tool that recommends items to a user, and says why."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field

from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.recommending.trained import trained_model
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Recommends items to a user from the dataset of interactions, by what users with the same "
    "taste like. Each comes with its reasons: the items that the user liked and that count most for "
    "it, with their shares. A user that the dataset doesn't know gets what resembles `liked`, or "
    "what is popular."
)
OUTSIDE = True


class Arguments(BaseModel):
    """What the model gives."""

    user: str = Field(default="", description="The user's id as in the dataset; empty if unknown.")
    liked: list[str] = Field(
        default=[],
        max_length=100,
        description="Ids of items that the user has just liked, which the dataset needn't know.",
    )
    count: int = Field(default=10, ge=1, le=100, description="How many items to recommend.")


def run(arguments: Arguments) -> str:
    """Return JSON: user, known_user, liked_items, basis, recommendations, unknown_items, model."""
    context = current_run()
    table = next(iter(context.database.tables), "")
    if not table:
        raise ToolError("this run has no dataset: give one of interactions as the input data")
    model = trained_model(context.database, table, context.inputs)
    user = model.users.find(arguments.user) if arguments.user else None
    places = {item: model.items.find(item) for item in dict.fromkeys(arguments.liked)}
    liked = [place for place in places.values() if place is not None]
    chosen = model.recommend(user, liked, arguments.count)
    popular = sum(item["because"] == "popular" for item in chosen)
    basis = "taste" if not popular else "popularity" if popular == len(chosen) else "both"
    seen = 0 if user is None else len(model.history.row(user)[0])
    answer = {
        "user": arguments.user,
        "known_user": user is not None,
        "liked_items": seen + len(liked),
        "basis": basis,
        "recommendations": chosen,
        "unknown_items": [item for item, place in places.items() if place is None],
        "model": model.about,
    }
    context.evidence.add(answer)
    return json.dumps(answer, ensure_ascii=False)
