"""`crewmesh budgets`: what an organisation and its keys may spend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.errors import CliError, UsageError

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(
    no_args_is_help=True, help="See, set and remove budgets of your organisation and its keys."
)

_PERIODS = ("day", "month", "total")
# What a budget is, without what is gone of it.
_SET = ("api_key_id", "period", "max_tokens", "max_usd")
_NONE = "none"

PeriodArgument = Annotated[
    str, typer.Argument(metavar="PERIOD", help="day or month (in UTC), or total.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Of runs that this API key starts; by default of all of your organisation's.",
        show_default=False,
        autocompletion=completion.keys,
    ),
]


@app.command("ls")
def list_budgets(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """List budgets, with what is gone of each in its period."""
    _print(fetch(data_dir, lambda client: client.budgets.list()), as_json)


@app.command("set")
def set_budget(
    period: PeriodArgument,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="N", min=1, help="Tokens.", show_default=False),
    ] = None,
    max_usd: Annotated[
        float | None,
        typer.Option("--max-usd", metavar="USD", help="US dollars.", show_default=False),
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Set the budget of a period, instead of an earlier one; others stay as they are."""
    _check_period(period)
    if max_tokens is None and max_usd is None:
        raise UsageError(
            "nothing to set", next_step="name a limit: --max-tokens, --max-usd or both"
        )
    if max_usd is not None and not 0 < max_usd < math.inf:
        raise UsageError(
            f"--max-usd {max_usd:g} is no budget", next_step="give an amount above 0, such as 2.50"
        )
    budget = dict(zip(_SET, (key, period, max_tokens, max_usd), strict=True))

    async def act(client: AsyncClient) -> dict[str, Any]:
        kept = [item for item in await _budgets(client) if not _is_of(item, period, key)]
        return (await client.budgets.set([*kept, budget])).raw

    _print(call(data_dir, act), as_json)


@app.command("rm")
def remove_budget(
    period: PeriodArgument,
    key: KeyOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Remove the budget of a period."""
    _check_period(period)

    async def act(client: AsyncClient) -> dict[str, Any]:
        budgets = await _budgets(client)
        kept = [item for item in budgets if not _is_of(item, period, key)]
        if len(kept) == len(budgets):
            whose = f"the key {key}" if key else "the organisation"
            raise CliError(
                f"{whose} has no budget for {period}",
                next_step="see those that there are with: crewmesh budgets ls",
            )
        return (await client.budgets.set(kept)).raw

    _print(call(data_dir, act), as_json)


async def _budgets(client: AsyncClient) -> list[dict[str, Any]]:
    items = (await client.budgets.list()).items
    return [{name: getattr(item, name) for name in _SET} for item in items]


def _is_of(budget: dict[str, Any], period: str, key: str | None) -> bool:
    return bool(budget["period"] == period and budget["api_key_id"] == key)


def _check_period(period: str) -> None:
    if period not in _PERIODS:
        raise UsageError(
            f"{period!r} is no period of a budget", next_step=f"name one of {', '.join(_PERIODS)}"
        )


def _print(budgets: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(budgets)
        return
    if not budgets["items"]:
        say("No budgets. Set one with: crewmesh budgets set month --max-usd 100")
        return
    rows = [_row(budget) for budget in budgets["items"]]
    print_table(["OF", "PERIOD", "TOKENS", "GONE", "USD", "GONE"], rows)


def _row(budget: dict[str, Any]) -> list[str]:
    tokens, usd = budget["max_tokens"], budget["max_usd"]
    return [
        "all" if budget["api_key_id"] is None else f"key {budget['api_key_id']}",
        budget["period"],
        _NONE if tokens is None else f"{tokens:,}",
        f"{budget['spent_tokens'] + budget['reserved_tokens']:,}",
        _NONE if usd is None else f"{usd:,.2f}",
        f"{budget['spent_usd'] + budget['reserved_usd']:,.4f}",
    ]
