"""The mesh's names, for the shell's completion: asked quickly, and silent where that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import typer

from crewmesh.cli.commands.common import call

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

# Who presses Tab waits for so long, and gets what has come by then.
_SECONDS: Final = 2.0
_MOST: Final = 200

# What may stand there, and what the shells that can show it tell of it.
Offer = tuple[str, str]
Complete = Callable[[typer.Context, str], list[Offer]]


def _completing(ask: Callable[[AsyncClient, typer.Context], AsyncIterator[Offer]]) -> Complete:
    """Return what Typer calls for completion: those of the offers that go on as was begun."""

    def complete(context: typer.Context, incomplete: str) -> list[Offer]:
        found: list[Offer] = []

        async def collect(client: AsyncClient) -> None:
            async for word, told in ask(client, context):
                if word.startswith(incomplete):
                    found.append((word, " ".join(told.split())))
                if len(found) == _MOST:
                    return

        async def in_time(client: AsyncClient) -> None:
            import asyncio

            await asyncio.wait_for(collect(client), _SECONDS)

        try:
            call(context.params.get("data_dir"), in_time)
        except Exception:  # noqa: BLE001 - whatever it is, the line that is being typed is no place for it
            return found
        return found

    return complete


async def _crews(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    async for crew in client.crews.iterate():
        yield crew.name, crew.description


async def _versions(client: AsyncClient, context: typer.Context) -> AsyncIterator[Offer]:
    page = await client.crews.versions(context.params["name"], limit=_MOST)
    for version in page.items:
        yield version.version, version.created_by_email or ""


async def _runs(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    for run in (await client.runs.list(limit=_MOST)).items:
        yield run.id, f"{run.crew}, {run.status}"


async def _artifacts(client: AsyncClient, context: typer.Context) -> AsyncIterator[Offer]:
    for artifact in (await client.runs.artifacts(context.params["run"])).items:
        yield artifact.name, artifact.media_type


async def _datasets(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    async for dataset in client.datasets.iterate():
        yield dataset.name, dataset.media_type


async def _dataset_ids(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    async for dataset in client.datasets.iterate():
        yield dataset.id, dataset.name


async def _sessions(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    async for session in client.sessions.iterate():
        yield session.id, session.title or session.crew


async def _tools(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    for tool in (await client.tools.list()).items:
        yield tool.name, tool.description


async def _keys(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    for key in (await client.api_keys.list()).items:
        if key.revoked_at is None:
            yield key.id, key.name


async def _users(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    async for user in client.users.iterate():
        yield user.email, user.name


async def _secrets(client: AsyncClient, _: typer.Context) -> AsyncIterator[Offer]:
    for secret in (await client.secrets.list()).items:
        yield secret.name, f"ends in {secret.ending}"


def statuses(incomplete: str) -> list[str]:
    """Return the states of runs that go on as was begun."""
    from crewmesh.common.run_json import STATUS_NUMBERS

    return [status for status in STATUS_NUMBERS if status.startswith(incomplete)]


crews = _completing(_crews)
versions = _completing(_versions)
runs = _completing(_runs)
artifacts = _completing(_artifacts)
datasets = _completing(_datasets)
dataset_ids = _completing(_dataset_ids)
sessions = _completing(_sessions)
tools = _completing(_tools)
keys = _completing(_keys)
users = _completing(_users)
secrets = _completing(_secrets)
