"""`python -m crewmesh_worker.projects.inside SETTINGS`: tells what projects of this environment are.

A line of its input is a request, {snapshot, entry, env_file, work_dir, answer_file,
output_file}, as JSON. Each is answered by a process of its own, forked once CrewAI is
imported: {inputs, agents, tasks} or {error} goes to the answer file, what the project prints to
the output file, and a line with the process's wait status to our output. It is confined and
limited as a runner with these settings is, and nothing that it starts outlives it.
"""

from __future__ import annotations

import contextlib
import json
import os
import py_compile
import signal
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NoReturn

from crewmesh_worker.runner import linux
from crewmesh_worker.runner.confinement import confine
from crewmesh_worker.runner.limits import limit_resources
from crewmesh_worker.runner.preload import without_grpc
from crewmesh_worker.runner.settings import RunnerSettings

_MAX_ERROR = 4000


def main() -> None:
    """Answer until there is no request left."""
    settings = RunnerSettings.model_validate_json(sys.argv[1])
    linux.adopt_orphans()
    signal.signal(signal.SIGTERM, _stop)
    with without_grpc():
        # Here, so that it is imported once for all projects.
        from crewmesh_worker.projects.inside.inspection import inspect
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _answer(json.loads(line), inspect, settings)
        _, status = os.waitpid(pid, 0)
        linux.end_children()
        _keep_byte_code(Path(json.loads(line)["answer_file"]))
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _stop(*_: Any) -> NoReturn:
    linux.end_children()
    os._exit(1)


def _answer(request: dict[str, Any], inspect: Any, settings: RunnerSettings) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    linux.die_with_parent(os.getppid(), signal.SIGKILL)
    os.setsid()
    _redirect(request["output_file"])
    limit_resources(settings)
    answer: dict[str, Any]
    try:
        confine(settings, Path(request["work_dir"]))
        answer = inspect(request)
    except BaseException as error:  # noqa: BLE001 - the answer says it
        answer = {"error": f"{type(error).__name__}: {error}"[:_MAX_ERROR]}
    answer["sources"] = [path for m in list(sys.modules.values()) if (path := _source(m))]
    Path(request["answer_file"]).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)


def _source(module: object) -> str:
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else ""


def _keep_byte_code(answer_file: Path) -> None:
    """Compile what a project imported of its environment, where it can write nothing itself.

    Else each of its runs would compile it anew.
    """
    try:
        sources = json.loads(answer_file.read_bytes())["sources"]
        paths = {Path(source).resolve() for source in sources if isinstance(source, str)}
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):
        return  # it was killed, or says what it likes: it is a project's
    environment = Path(sys.prefix).resolve()
    for path in paths:
        ours = path.suffix == ".py" and path.is_relative_to(environment)
        if ours and not Path(cache_from_source(path)).exists():
            with contextlib.suppress(OSError, py_compile.PyCompileError):
                py_compile.compile(str(path), doraise=True)


def _redirect(output_file: str) -> None:
    """Keep a project from our input and output."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(output_file, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


if __name__ == "__main__":
    main()
