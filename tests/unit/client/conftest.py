"""A mesh to talk to, as the command line's tests have it."""

from tests.unit.cli.conftest import mesh, own_home

__all__ = ["mesh", "own_home"]
