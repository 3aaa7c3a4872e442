"""What is done to a mesh: a table of faults, and a seeded plan of when which one strikes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import psutil

from tests.chaos.console import say
from tests.chaos.mesh import LEASE_SECONDS, Mesh
from tests.chaos.pace import Pace
from tests.chaos.part import Part

# A fault returns what it did, once that is over, or raises SkippedError.
Fault = Callable[[Mesh, random.Random], Awaitable[str]]
# Returns some processes of a zygote's family.
Find = Callable[[psutil.Process], list[psutil.Process]]

# However slow the machine.
_READY_SECONDS = 300.0
_LINK_SECONDS = (0.5, 2 * LEASE_SECONDS)


def _runners_of(zygote: psutil.Process) -> list[psutil.Process]:
    return zygote.children()


def _itself(zygote: psutil.Process) -> list[psutil.Process]:
    return [zygote]


class SkippedError(Exception):
    """The fault can't be done here, for the reason given."""


def kill(kind: str, number: signal.Signals = signal.SIGKILL) -> Fault:
    """Return the fault that ends a part with a signal and lets it come back."""

    async def strike(mesh: Mesh, rng: random.Random) -> str:
        part = rng.choice(mesh.parts_of(kind))
        async with _ready(part):
            part.signal(number)
        return f"{number.name} to {part.name}"

    return strike


def freeze(kind: str) -> Fault:
    """Return the fault that stops a part for longer than a lease; then it goes on as before."""

    async def strike(mesh: Mesh, rng: random.Random) -> str:
        part = rng.choice(mesh.parts_of(kind))
        seconds = LEASE_SECONDS + rng.uniform(0.5, 3.0)
        async with _ready(part):
            part.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            part.signal(signal.SIGCONT)
        return f"{part.name} frozen for {seconds:.1f} s"

    return strike


async def kill_runner(mesh: Mesh, rng: random.Random) -> str:
    """Kill one of a worker's runners, which most likely runs something."""
    part = rng.choice(mesh.parts_of("worker"))
    async with _ready(part):
        (await _find_one(part, rng, _runners_of)).kill()
    return f"a runner of {part.name}"


async def kill_zygote(mesh: Mesh, rng: random.Random) -> str:
    """Kill the parent of a worker's runners, and so all of them."""
    part = rng.choice(mesh.parts_of("worker"))
    async with _ready(part):
        (await _find_one(part, rng, _itself)).kill()
    return f"the zygote of {part.name}"


def freeze_below(find: Find, what: str) -> Fault:
    """Return the fault that stops a process below a worker for longer than a lease."""

    async def strike(mesh: Mesh, rng: random.Random) -> str:
        part = rng.choice(mesh.parts_of("worker"))
        seconds = LEASE_SECONDS + rng.uniform(0.5, 3.0)
        async with _ready(part):
            process = await _find_one(part, rng, find)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
            await asyncio.sleep(seconds)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        return f"{what} of {part.name} frozen for {seconds:.1f} s"

    return strike


async def starve_runner(mesh: Mesh, rng: random.Random) -> str:
    """Have the next task that begins take memory until it is killed for it."""
    mesh.hunger.touch()
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while mesh.hunger.exists():  # noqa: ASYNC110 - a runner removes it
                await asyncio.sleep(0.05)
    except TimeoutError:
        mesh.hunger.unlink(missing_ok=True)
        raise SkippedError("no task began") from None
    return "a runner that had taken 128 MB"


async def fill_disk(mesh: Mesh, rng: random.Random) -> str:
    """Leave Postgres no room for some seconds; where it gives up, it comes back afterwards."""
    if mesh.disk.why_not:
        raise SkippedError(mesh.disk.why_not)
    (part,) = mesh.parts_of("postgres")
    seconds = rng.uniform(1.0, 4.0)
    async with _ready(part):
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.to_thread(mesh.disk.fill)
            await asyncio.sleep(0.1)
        mesh.disk.empty()
    return f"the disk of {part.name} full for {seconds:.1f} s"


def cut(near: str, far: str) -> Fault:
    """Return the fault that resets the connections of a link."""

    async def strike(mesh: Mesh, rng: random.Random) -> str:
        link = rng.choice(mesh.links_between(near, far))
        link.cut()
        return link.name

    return strike


def refuse(near: str, far: str) -> Fault:
    """Return the fault that resets a link's connections and refuses others for a while."""

    async def strike(mesh: Mesh, rng: random.Random) -> str:
        link = rng.choice(mesh.links_between(near, far))
        seconds = rng.uniform(*_LINK_SECONDS)
        async with link.lock:
            link.refuse()
            await asyncio.sleep(seconds)
            await link.open()
        return f"{link.name} for {seconds:.1f} s"

    return strike


def hold(near: str, far: str) -> Fault:
    """Return the fault that makes a link a black hole for a while.

    What it held is delivered late, or never: half of the times the link is cut then.
    """

    async def strike(mesh: Mesh, rng: random.Random) -> str:
        link = rng.choice(mesh.links_between(near, far))
        seconds, late = rng.uniform(*_LINK_SECONDS), rng.random() < 0.5
        async with link.lock:
            link.hold()
            await asyncio.sleep(seconds)
            if not late:
                link.cut()
            link.release()
        return f"{link.name} for {seconds:.1f} s, then {'delivered' if late else 'cut'}"

    return strike


FAULTS: dict[str, Fault] = {
    "worker killed": kill("worker"),
    "worker asked to end": kill("worker", signal.SIGTERM),
    "worker frozen for longer than a lease": freeze("worker"),
    "runner killed": kill_runner,
    "runner out of memory": starve_runner,
    "runner frozen for longer than a lease": freeze_below(_runners_of, "a runner"),
    "zygote killed": kill_zygote,
    "zygote frozen for longer than a lease": freeze_below(_itself, "the zygote"),
    "gateway killed": kill("gateway"),
    "gateway asked to end": kill("gateway", signal.SIGTERM),
    "store killed": kill("store"),
    "store asked to end": kill("store", signal.SIGTERM),
    "store frozen for longer than a lease": freeze("store"),
    "Postgres killed": kill("postgres"),
    "Postgres shut down at once": kill("postgres", signal.SIGQUIT),
    "Postgres' disk full": fill_disk,
    **{
        f"{near} to {far}: {how}": fault(near, far)
        for near, far in (
            ("gateway", "worker"),
            ("gateway", "store"),
            ("worker", "store"),
            ("store", "postgres"),
            ("client", "gateway"),
            ("client", "worker"),
        )
        for how, fault in (("cut", cut), ("refused", refuse), ("black hole", hold))
    },
}


@dataclass(frozen=True)
class Planned:
    """A fault that is due at a moment of the pace's time."""

    at: float
    name: str
    seed: str


def plan(seed: int, count: int, seconds_between: float, pick: Sequence[str]) -> list[Planned]:
    """Return `count` faults, each of the picked ones as often as any other, in a random order."""
    rng = random.Random(f"{seed}/faults")
    queue: list[str] = []
    while len(queue) < count:
        queue += rng.sample(pick, len(pick))
    planned, at = [], seconds_between
    for number, name in enumerate(queue[:count]):
        planned.append(Planned(at, name, f"{seed}/{number}/{name}"))
        at += rng.uniform(0.5, 1.5) * seconds_between
    return planned


class Injector:
    """Carries out a plan, and counts."""

    def __init__(self, mesh: Mesh, pace: Pace) -> None:
        self._pace = pace
        self.done: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self.mesh = mesh

    async def run(self, planned: Sequence[Planned]) -> None:
        """Begin each fault when it is due; return when all are over."""
        async with asyncio.TaskGroup() as group:
            for fault in planned:
                await self._pace.until(fault.at)
                group.create_task(self._strike(fault))

    async def _strike(self, fault: Planned) -> None:
        with self._pace.fault():
            await self._carry_out(fault)

    async def _carry_out(self, fault: Planned) -> None:
        try:
            what = await FAULTS[fault.name](self.mesh, random.Random(fault.seed))
        except SkippedError as error:
            self.skipped[fault.name] = str(error)
            what = f"skipped: {error}"
        else:
            self.done[fault.name] += 1
        say(f"{fault.at:7.1f} s  {fault.name}: {what}")


@contextlib.asynccontextmanager
async def _ready(part: Part) -> AsyncIterator[None]:
    """Hold a part that is ready, and wait until it is again."""
    async with part.lock, asyncio.timeout(_READY_SECONDS):
        await part.ready.wait()
        yield
        await part.ready.wait()


async def _find_one(worker: Part, rng: random.Random, find: Find) -> psutil.Process:
    """Choose a process below a worker's zygote, as soon as there is one."""
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(worker.pid).children():
                if "crewmesh_worker.runner.zygote" in child.cmdline() and (found := find(child)):
                    return rng.choice(sorted(found, key=lambda process: process.pid))
        await asyncio.sleep(0.05)
