"""`crewmesh audit`: who did what, and whether the record of it is whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import (
    CursorOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    call,
    fetch,
    tell_next_page,
)
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import ago

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient
    from crewmesh.common.audit_chain import ChainVerifier

app = typer.Typer(no_args_is_help=True, help="See who did what, and check that nothing is missing.")

_PAGE = 200


@app.command("ls")
def list_entries(
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="In the order in which it was done.")
    ] = False,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List what was done, newest first."""
    order = "asc" if oldest_first else "desc"
    page = fetch(
        data_dir, lambda client: client.audit.list(order=order, limit=limit, cursor=cursor)
    )
    if as_json:
        print_json(page)
        return
    rows = [
        [str(e["seq"]), ago(e["at"]), _who(e["actor"]), e["action"], e["target"], _what(e)]
        for e in page["items"]
    ]
    print_table(["NO.", "WHEN", "WHO", "WHAT", "OF", "CHANGES"], rows)
    tell_next_page(page, "crewmesh audit ls" + (" --oldest-first" if oldest_first else ""))


@app.command("verify")
def verify(
    noted: Annotated[
        str | None,
        typer.Option(
            "--noted",
            metavar="SEQ:HASH",
            help="What an earlier verify said: the log must still have that entry.",
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Read the whole log and find entries that were changed or are missing; exit status 1 if any."""
    known = _parse(noted)

    async def act(client: AsyncClient) -> ChainVerifier:
        return await _verify(client, known)

    chain = call(data_dir, act)
    if as_json:
        faults = [{"seq": fault.seq, "what": fault.what} for fault in chain.faults]
        print_json({"entries": chain.seq, "hash": chain.hash.hex(), "faults": faults})
    elif chain.faults:
        for fault in chain.faults:
            say(f"entry {fault.seq}: {fault.what}")
    else:
        say(f"All {chain.seq:,} entries are there, as they were written.")
        say(f"To show later that these haven't changed, note this elsewhere: {_noted(chain)}")
    if chain.faults:
        raise typer.Exit(1)


async def _verify(client: AsyncClient, known: tuple[int, bytes] | None) -> ChainVerifier:
    from crewmesh.common.audit_chain import ChainVerifier, Entry, Fault

    chain = ChainVerifier()
    cursor: str | None = None
    end: Entry | None = None
    while True:
        page = (await client.audit.list(limit=_PAGE, order="asc", cursor=cursor)).raw
        if end is None and page["head"] is not None:
            end = Entry(page["head"]["seq"], "", bytes.fromhex(page["head"]["hash"]))
        for item in page["items"]:
            # Written since the end was read: the next verify's.
            if end is not None and item["seq"] > end.seq:
                break
            chain.check([Entry(item["seq"], item["entry"], bytes.fromhex(item["hash"]))])
            if known is not None and known[0] == item["seq"] and known[1] != chain.hash:
                chain.faults.append(Fault(item["seq"], "it has another hash than was noted"))
        cursor = page["next_cursor"]
        if cursor is None or (end is not None and int(cursor) >= end.seq):
            chain.finish(end, known)
            return chain


def _parse(noted: str | None) -> tuple[int, bytes] | None:
    from crewmesh.cli.errors import UsageError

    if noted is None:
        return None
    matched = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", noted)
    if matched is None:
        raise UsageError(f"{noted!r} is no SEQ:HASH", next_step="copy it from an earlier verify")
    return int(matched[1]), bytes.fromhex(matched[2])


def _noted(chain: ChainVerifier) -> str:
    return f"{chain.seq}:{chain.hash.hex()}"


def _who(actor: dict[str, Any]) -> str:
    return str(actor.get("email") or actor.get("user_id") or actor.get("login") or "")


def _what(entry: dict[str, Any]) -> str:
    text = ", ".join(
        f"{name}: {change[0]} → {change[1]}"
        if isinstance(change, list) and entry["action"].endswith(".changed")
        else f"{name}: {change}"
        for name, change in (entry["changes"] or {}).items()
        if not name.endswith("_id")
    )
    return text if len(text) <= 60 else text[:59] + "…"
