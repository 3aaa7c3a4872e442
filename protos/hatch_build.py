"""Generates the Python stubs when the package is built or installed."""

from pathlib import Path
from typing import Any

import grpc_tools
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PACKAGES = ("crewmesh/v1", "externalscaler")


class GenerateStubs(BuildHookInterface):
    """Runs protoc over every *.proto, beside the files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate, then tell hatch that the ignored files belong to the wheel."""
        root = Path(self.root)
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        sources = sorted(
            str(path) for package in _PACKAGES for path in root.glob(f"{package}/*.proto")
        )
        status = protoc.main(
            [
                "protoc",
                f"-I{root}",
                f"-I{well_known}",
                f"--python_out={root}",
                f"--grpc_python_out={root}",
                f"--mypy_out={root}",
                f"--mypy_grpc_out={root}",
                *sources,
            ]
        )
        if status != 0:
            raise RuntimeError("protoc failed; its messages are above")
        build_data["artifacts"] += [
            f"{package}/*_pb2*.{kind}" for package in _PACKAGES for kind in ("py", "pyi")
        ]
