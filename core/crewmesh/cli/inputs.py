"""A run's inputs: from `-i key=value` and `-f key=@file`, by the crew's schema."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crewmesh.cli.errors import UsageError

Schema = Mapping[str, Any]

_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_inputs(pairs: Iterable[str], schema: Schema) -> dict[str, Any]:
    """Return `key=value` pairs as what the schema says that they are."""
    inputs: dict[str, Any] = {}
    for pair in pairs:
        key, value = _split(pair, "-i", "key=value")
        _refuse_twice(key, inputs)
        inputs[key] = _parse_value(key, value, _property(key, schema))
    return inputs


def parse_files(pairs: Iterable[str], schema: Schema) -> dict[str, Path]:
    """Return `key=@file` pairs as files that exist, for inputs that are datasets."""
    files: dict[str, Path] = {}
    for pair in pairs:
        key, value = _split(pair, "-f", "key=@file")
        _refuse_twice(key, files)
        if _property(key, schema).get("format") != "dataset":
            raise UsageError(
                f"input {key!r} takes no file", next_step=f"give it as a value: -i {key}=..."
            )
        files[key] = dataset_file(Path(value.removeprefix("@")).expanduser())
    return files


def dataset_file(path: Path) -> Path:
    """Return `path` when it can be uploaded as a dataset."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}", next_step="check the path")
    if path.suffix.lower() not in _MEDIA_TYPES:
        raise UsageError(
            f"{path} is no dataset",
            why=f"its name must end in one of {', '.join(_MEDIA_TYPES)}",
            next_step="convert it, or rename it when it is one of these",
        )
    return path


def media_type(path: Path) -> str:
    """Return the media type of a file that `dataset_file` accepted."""
    return _MEDIA_TYPES[path.suffix.lower()]


def check_complete(given: Iterable[str], schema: Schema, crew: str) -> None:
    """Raise UsageError when an input that the crew needs is not given."""
    missing = [key for key in schema.get("required", ()) if key not in set(given)]
    if not missing:
        return
    raise UsageError(
        f"crew {crew} needs {'inputs' if len(missing) > 1 else 'the input'} {', '.join(missing)}",
        details=[f"{key}: {describe(_property(key, schema))}" for key in missing],
        next_step=example(crew, missing, schema),
    )


def example(crew: str, keys: Iterable[str], schema: Schema) -> str:
    """Return a command that runs the crew with these inputs."""
    options = [_example(key, _property(key, schema)) for key in keys]
    return " ".join(["crewmesh run", crew, *options])


def describe(prop: Mapping[str, Any]) -> str:
    """Return what an input is, in a few words."""
    kind = "dataset" if prop.get("format") == "dataset" else " or ".join(_types(prop)) or "any"
    text = prop.get("description", "") or prop.get("title", "")
    choices = f" (one of {', '.join(map(str, prop['enum']))})" if "enum" in prop else ""
    return f"{kind}{choices}{', ' if text else ''}{text}"


def _split(pair: str, option: str, form: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{option} {pair} isn't {form}", next_step=f"write {option} {form}")
    return key.strip(), value


def _refuse_twice(key: str, seen: Mapping[str, Any]) -> None:
    if key in seen:
        raise UsageError(f"input {key!r} is given twice", next_step="give it once")


def _property(key: str, schema: Schema) -> Mapping[str, Any]:
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    if key in properties:
        return properties[key]
    extra = schema.get("additionalProperties", False)
    if extra:
        return extra if isinstance(extra, dict) else {}
    close = difflib.get_close_matches(key, properties, n=1)
    raise UsageError(
        f"the crew has no input {key!r}",
        why="its inputs are " + (", ".join(properties) or "none"),
        next_step=f"did you mean {close[0]}?" if close else "leave it out",
    )


def _types(prop: Mapping[str, Any]) -> Sequence[str]:
    declared = prop.get("type", ())
    return [declared] if isinstance(declared, str) else list(declared)


def _parse_value(key: str, value: str, prop: Mapping[str, Any]) -> Any:
    types = _types(prop)
    if "string" in types:
        return value
    for kind in types:
        try:
            return _PARSERS[kind](value)
        except (ValueError, KeyError):
            continue
    if not types:
        return _parse_untyped(value)
    wanted = " or ".join("JSON " + kind if kind in _JSON_TYPES else kind for kind in types)
    raise UsageError(
        f"input {key!r} must be {wanted}, and {value!r} is not",
        next_step=f"for example -i {_EXAMPLES.get(types[0], 'key=value').replace('key', key)}",
    )


def _parse_number(value: str) -> int | float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return int(value) if value.strip().lstrip("+-").isdigit() else number


def _parse_boolean(value: str) -> bool:
    return _BOOLEANS[value.strip().lower()]


def _parse_null(value: str) -> None:
    if value not in ("", "null"):
        raise ValueError(value)


def _parse_json(kind: type, value: str) -> Any:
    parsed = json.loads(value)
    if not isinstance(parsed, kind):
        raise ValueError(value)
    return parsed


def _parse_untyped(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


_JSON_TYPES = ("object", "array")
_PARSERS: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "number": _parse_number,
    "boolean": _parse_boolean,
    "null": _parse_null,
    "object": partial(_parse_json, dict),
    "array": partial(_parse_json, list),
}
_EXAMPLES = {
    "integer": "key=3",
    "number": "key=0.5",
    "boolean": "key=true",
    "object": """key='{"name": "value"}'""",
    "array": """key='["one", "two"]'""",
}


def _example(key: str, prop: Mapping[str, Any]) -> str:
    if prop.get("format") == "dataset":
        return f"-f {key}=@data.csv"
    kind = (*_types(prop), "string")[0]
    return "-i " + _EXAMPLES.get(kind, "key='...'").replace("key", key, 1)
