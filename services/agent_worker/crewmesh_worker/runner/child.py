"""A runner's process, from its fork to its end: isolates itself, then serves the worker."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import NoReturn

import psutil
import structlog
from crewai.events import event_context
from crewai.events.event_bus import crewai_event_bus

from crewmesh.v1.runner_pb2 import Execute, FromRunner, Ready, ToRunner
from crewmesh_worker import clock
from crewmesh_worker.runner import linux
from crewmesh_worker.runner.confinement import confine
from crewmesh_worker.runner.environment import run_environment
from crewmesh_worker.runner.execution import execute
from crewmesh_worker.runner.framing import Connection
from crewmesh_worker.runner.limits import limit_resources, yield_to_starting
from crewmesh_worker.runner.preload import Factories
from crewmesh_worker.runner.settings import RunnerSettings
from crewmesh_worker.runner.stream import Ask
from crewmesh_worker.runner.warm_up import warm_up_crew

log = structlog.get_logger(__name__)

_IDLE_SECONDS = 0.05


def serve(
    sock: socket.socket,
    work_dir: Path,
    zygote_pid: int,
    factories: Factories,
    settings: RunnerSettings,
) -> NoReturn:
    """Do what the worker asks, one run after the other, until it closes the socket."""
    status = 1
    try:
        _isolate(sock, zygote_pid, settings)
        # Before there is a second thread, which would go free.
        confine(settings, work_dir)
        _serve(Connection(sock, settings.max_message_bytes), factories, work_dir)
        status = 0
    except BaseException as error:
        log.error("a runner can't go on", exc_info=error)
    finally:
        # What was registered to be done at exit was registered in the zygote.
        os._exit(status)


def _serve(connection: Connection, factories: Factories, work_dir: Path) -> None:
    def detach() -> None:
        connection.close()
        sys.stdout = sys.__stdout__

    # A process that a tool forks must not speak in the runner's name.
    os.register_at_fork(after_in_child=detach)
    # A run that fails leaves pairs of CrewAI's events open: a warning of that helps nobody.
    pairs = event_context._default_config
    pairs.mismatch_behavior = pairs.empty_pop_behavior = event_context.MismatchBehavior.SILENT
    # CrewAI's own listeners (console, telemetry) are not wanted, and a run's end with it.
    # Entering a scope costs 2 ms, so a new one is entered only after a run that had some.
    listeners = contextlib.ExitStack()
    listeners.enter_context(crewai_event_bus.scoped_handlers())
    while (request := connection.receive()) is not None:
        if request.HasField("execute"):
            _end_if_late(request.execute)
            execute(request.execute, connection.send, _asker(connection), factories)
        else:
            _warm_up(work_dir)
        if crewai_event_bus._sync_handlers or crewai_event_bus._async_handlers:
            listeners.close()
            listeners.enter_context(crewai_event_bus.scoped_handlers())
        _end_children()
        connection.send(FromRunner(ready=Ready()))
        if not connection.wait(_IDLE_SECONDS):
            gc.collect()  # 2 to 5 ms, and frees what the run's cycles hold: a database, say


def _end_if_late(request: Execute) -> None:
    """End this process rather than begin a run that another worker may have by now."""
    if request.start_before_us and clock.now_us() > request.start_before_us:
        log.warning("a run came too late: its worker stood still", run_id=request.run_id)
        os._exit(1)


def _asker(connection: Connection) -> Ask:
    """Return what asks the worker something and waits for its answer."""
    one_at_a_time = threading.Lock()

    def ask(question: FromRunner) -> ToRunner:
        with one_at_a_time:
            connection.send(question)
            # Nothing else comes from the worker while a run goes on.
            reply = connection.receive()
        if reply is None:
            os._exit(1)  # the worker is gone: what this run does now must not count
        return reply

    return ask


def _isolate(sock: socket.socket, zygote_pid: int, settings: RunnerSettings) -> None:
    """Become a process group of its own that ends with the zygote and holds nothing of it."""
    os.setpgid(0, 0)  # no session of its own: the zygote's has a share of the processors
    linux.die_with_parent(zygote_pid, signal.SIGKILL)
    linux.adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    os.closerange(3, sock.fileno())
    os.closerange(sock.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    limit_resources(settings)


def _warm_up(work_dir: Path) -> None:
    """Run a crew that does nothing, then hide what that has loaded from the collector.

    That is how every runner begins.
    """
    with (
        tempfile.TemporaryDirectory(dir=work_dir) as directory,
        run_environment(Path(directory), {}),
    ):
        contextvars.copy_context().run(warm_up_crew().kickoff)
    gc.collect()
    gc.freeze()
    gc.collect()  # cheap now; from here on, "old" objects are counted from none
    yield_to_starting()


def _end_children() -> None:
    """Kill whatever process a run has left behind; as a subreaper, this one is its parent."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                for child in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
                os.wait()
