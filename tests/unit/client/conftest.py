"""A mesh to talk to, as the command line's tests have it."""

from tests.unit.cli.conftest import fake_server, mesh, own_home

__all__ = ["fake_server", "mesh", "own_home"]
