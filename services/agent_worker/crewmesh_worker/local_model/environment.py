"""What a worker, its model server and its runs tell each other: names only."""

from __future__ import annotations

from typing import Final

MODEL: Final = "local"
URL_VARIABLE: Final = "CREWMESH_LOCAL_URL"
KEY_VARIABLE: Final = "CREWMESH_LOCAL_KEY"
# How many tokens of the prompt the model was not given.
CUT_HEADER: Final = "X-Crewmesh-Cut-Tokens"
