"""Stands in for any of the mesh's services: listens, says that it is ready, waits for its end.

It notes what happens in files of STAND_IN_DIR, and is told there how to behave: `<name>.fails`
makes it end at once, `<name>.hangs` keeps it from being ready, `<name>.stubborn` makes it
ignore SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    ready_file = Path(os.environ["CREWMESH_READY_FILE"])
    name = ready_file.stem
    notes = Path(os.environ["STAND_IN_DIR"])
    settings = {k: v for k, v in os.environ.items() if k.startswith("CREWMESH_")}
    note(notes / "starts", {"name": name, "pid": os.getpid(), "settings": settings})
    sys.stdout.write(f"this is {name}\n")
    sys.stdout.flush()
    if (notes / f"{name}.fails").exists():
        sys.exit("something is missing: install it")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address_of(name))
    listener.listen()
    if name.startswith("worker-"):
        # As a run's process does, it leaves the worker's group.
        subprocess.Popen(["sleep", "1000"], start_new_session=True)

    def stop(*_: object) -> None:
        note(notes / "stops", name)
        if not (notes / f"{name}.stubborn").exists():
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    host, port = listener.getsockname()
    ready = {"address": f"{host}:{port}", "metrics": f"{host}:9"}
    if name == "gateway":
        ready = {"url": f"http://{host}:{port}"}
    if not (notes / f"{name}.hangs").exists():
        draft = ready_file.with_suffix(".draft")
        draft.write_text(json.dumps(ready))
        draft.replace(ready_file)
    while True:
        time.sleep(1000)


def address_of(name: str) -> tuple[str, int]:
    if name == "gateway":
        return os.environ["CREWMESH_HOST"], int(os.environ["CREWMESH_PORT"])
    setting = "CREWMESH_STORE_ADDRESS" if name == "store" else "CREWMESH_WORKER_ADDRESS"
    host, _, port = os.environ[setting].rpartition(":")
    return host, int(port)


def note(path: Path, what: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(what) + "\n")
