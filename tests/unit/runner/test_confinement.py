"""Which files are the worker's secrets."""

from __future__ import annotations

from pathlib import Path

from crewmesh_worker.runner.confinement import secret_files


def test_mounted_secrets_are_known_by_their_settings() -> None:
    environment = {
        "CREWMESH_MESH_SECRET_FILE": "/run/secrets/mesh-secret",
        "OPENAI_API_KEY_FILE": "/run/secrets/openai",
        "CREWMESH_DATABASE_URL_FILE": "/etc/crewmesh/database-url",
        "CREWMESH_SECRETS_KEY_FILE": "",
        # Of an embedded mesh.
        "CREWMESH_S3_SECRET_KEY_FILE": "/home/ana/.crewmesh/key",
        "CREWMESH_READY_FILE": "/run/crewmesh/ready",
        "CREWMESH_MESH_SECRET": "/run/secrets/value",
    }
    assert secret_files(environment) == [
        Path("/etc/crewmesh/database-url"),
        Path("/run/secrets/mesh-secret"),
        Path("/run/secrets/openai"),
    ]
