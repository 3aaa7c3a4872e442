"""`crewmesh usage`: what model calls consumed, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call
from crewmesh.cli.console import print_json, print_table, say

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

_GROUPS = ("day", "crew", "model")


def usage(
    by: Annotated[
        str, typer.Option("--by", metavar="NAMES", help="Any of crew, model and day, with commas.")
    ] = "crew,model",
    after: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="From then on, such as 2026-11-01T00:00:00Z.",
            show_default=False,
        ),
    ] = None,
    before: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Before then.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show what your organisation's model calls consumed and cost."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        report = client.mesh.usage(group_by=by.split(","), after=after, before=before)
        return (await report).raw

    answer = call(data_dir, act)
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        say("No model calls in that time.")
        return
    groups = [name for name in _GROUPS if name in by.split(",")]
    rows = [[*(item[name] for name in groups), *_figures(item)] for item in answer["items"]]
    print_table([*(name.upper() for name in groups), "CALLS", "TOKENS", "COST"], rows)


def _figures(item: dict[str, Any]) -> list[str]:
    cost = f"${item['cost_usd']:.4f}"
    if item["unpriced_calls"]:
        cost += f" + {item['unpriced_calls']} calls of unknown price"
    return [f"{item['model_calls']:,}", f"{item['total_tokens']:,}", cost]
