"""`python -m crewmesh_worker.projects.inside HIDDEN_FILE...`: tells what projects of this environment are.

A line of its input is a request, {snapshot, entry, env_file, work_dir, answer_file,
output_file}, as JSON. Each is answered by a process of its own, forked once CrewAI is
imported: {inputs, agents, tasks} or {error} goes to the answer file, what the project prints to
the output file, and a line with the process's wait status to our output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from crewmesh_worker.runner import confinement, linux
from crewmesh_worker.runner.preload import without_grpc

_MAX_ERROR = 4000


def main() -> None:
    """Answer until there is no request left."""
    with without_grpc():
        # Here, so that it is imported once for all projects.
        from crewmesh_worker.projects.inside.inspection import inspect
    ruleset = confinement.make_ruleset([Path(path) for path in sys.argv[1:]])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            if ruleset is not None:
                confinement.enter(ruleset)
            _answer(json.loads(line), inspect)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _answer(request: dict[str, Any], inspect: Any) -> NoReturn:
    linux.die_with_parent(os.getppid(), signal.SIGKILL)
    _redirect(request["output_file"])
    answer: dict[str, Any]
    try:
        answer = inspect(request)
    except BaseException as error:  # noqa: BLE001 - the answer says it
        answer = {"error": f"{type(error).__name__}: {error}"[:_MAX_ERROR]}
    Path(request["answer_file"]).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # whatever the project has started goes with it


def _redirect(output_file: str) -> None:
    """Keep a project from our input and output."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(output_file, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


if __name__ == "__main__":
    main()
