"""Every service of every proto."""

from __future__ import annotations

import importlib
import pkgutil

from google.protobuf.descriptor import ServiceDescriptor

from crewmesh import v1


def services() -> list[ServiceDescriptor]:
    files = [
        importlib.import_module(f"crewmesh.v1.{module.name}").DESCRIPTOR
        for module in pkgutil.iter_modules(v1.__path__)
        if module.name.endswith("_pb2")
    ]
    return [service for file in files for service in file.services_by_name.values()]
