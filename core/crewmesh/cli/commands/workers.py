"""`crewmesh workers`: the fleet, and what waits for it."""

from __future__ import annotations

from crewmesh.cli.commands.common import DataDirOption, JsonOption, fetch
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import ago, duration


def workers(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show the attached workers, and your organisation's queue."""
    fleet = fetch(data_dir, lambda client: client.mesh.workers())
    if as_json:
        print_json(fleet)
        return
    rows = [
        [
            worker["id"],
            worker["version"],
            f"{worker['slots'] - worker['free_slots']} of {worker['slots']}",
            str(worker["running"]),
            "" if worker["lease_age_seconds"] is None else duration(worker["lease_age_seconds"]),
            ago(worker["last_seen_at"]),
        ]
        for worker in fleet["items"]
    ]
    if rows:
        print_table(["WORKER", "VERSION", "SLOTS USED", "YOURS", "LEASE AGE", "SEEN"], rows)
    else:
        say("No workers. Runs wait until one comes: `crewmesh doctor` looks for what is wrong.")
    queue = fleet["queue"]
    say(f"\n{queue['queued']} queued, {queue['running']} running, {queue['waiting']} waiting")
