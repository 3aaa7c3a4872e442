"""What is printed and saved once a run has ended, and the exit status that it gives."""

from __future__ import annotations

from pathlib import Path

from crewmesh.cli.console import print_error, print_markdown, stderr, tell
from crewmesh.cli.errors import CliError, ExitStatus
from crewmesh.cli.live.state import RunState
from crewmesh.cli.text import file_name, plural
from crewmesh.client import AsyncClient

_EXIT_STATUSES = {
    "succeeded": ExitStatus.OK,
    "failed": ExitStatus.FAILED,
    "cancelled": ExitStatus.CANCELLED,
    "timed_out": ExitStatus.TIMED_OUT,
}
_NEXT_STEPS = {
    "cancelled": "run it again when you want its answer",
    "timed_out": "give it more time with `crewmesh run --timeout SECONDS`",
    "input_timed_out": "start it again with `crewmesh runs retry RUN`, and answer it in time",
}


async def finish(
    client: AsyncClient, state: RunState, *, save_dir: Path | None, as_json: bool
) -> ExitStatus:
    """Print an ended run's answer or error, save its files, and return the exit status."""
    if not as_json:
        await print_outcome(client, state)
    if state.status == "succeeded" and save_dir is not None:
        for path in await save_files(client, state, save_dir):
            tell(f"saved {path}")
    elif state.artifacts and not as_json:
        _tell_artifacts(client, state)
    return exit_status(state)


def exit_status(state: RunState) -> ExitStatus:
    """Return the exit status that tells how a run ended."""
    return _EXIT_STATUSES[state.status]


async def print_outcome(client: AsyncClient, state: RunState) -> None:
    """Print an ended run's answer on stdout, or its error on stderr."""
    if state.status == "succeeded":
        _print_answer(await _full_answer(client, state))
    else:
        _print_failure(state)


async def save_files(client: AsyncClient, state: RunState, save_dir: Path) -> list[Path]:
    """Write the answer and every artifact into `save_dir`; return the files."""
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
        paths = [save_dir / "answer.md"]
        paths[0].write_text(await _full_answer(client, state) + "\n", encoding="utf-8")
        for artifact in state.artifacts:
            path = _free_name(save_dir / file_name(str(artifact["name"])), paths)
            await client.artifacts.save(str(artifact["id"]), path)
            paths.append(path)
    except OSError as error:
        raise CliError(
            f"the run's files can't be saved to {save_dir}",
            why=str(error),
            next_step=f"see the run again with `crewmesh runs show {state.run_id}`",
        ) from None
    return paths


async def _full_answer(client: AsyncClient, state: RunState) -> str:
    # An event's text may have been cut; the run's own has not.
    return (await client.runs.get(state.run_id)).output or ""


def _print_answer(answer: str) -> None:
    console = stderr()
    if console.is_terminal:
        console.print()
    print_markdown(answer)


def _tell_artifacts(client: AsyncClient, state: RunState) -> None:
    tell(f"\n{plural(len(state.artifacts), 'artifact')} (`--save DIR` saves them):")
    for artifact in state.artifacts:
        tell(f"  {file_name(str(artifact['name']))}  {client.url}/v1/artifacts/{artifact['id']}")


def _print_failure(state: RunState) -> None:
    print_error(
        CliError(
            f"run {state.run_id} {state.status.replace('_', ' ')}",
            why=": ".join(part for part in (state.error_code, state.error) if part),
            next_step=_NEXT_STEPS.get(state.error_code)
            or _NEXT_STEPS.get(state.status)
            or f"`crewmesh runs show {state.run_id}` has what it did",
        )
    )


def _free_name(path: Path, taken: list[Path]) -> Path:
    candidate, number = path, 1
    while candidate in taken:
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
