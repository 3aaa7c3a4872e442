"""The tools: a module here is a tool of that name; see `crewmesh_worker.tools.registry`."""
