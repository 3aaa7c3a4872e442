#!/opt/s3/bin/python
"""`versitygw --port :7070 --health /_health posix /data`, by moto: a directory there is a bucket.

Objects are in memory.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from moto.server import create_backend_app
from werkzeug.serving import run_simple


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--health", required=True)
    parser.add_argument("backend", choices=["posix"])
    parser.add_argument("root", type=Path)
    options = parser.parse_args()
    s3 = create_backend_app("s3")
    buckets = [path.name for path in options.root.iterdir() if path.is_dir()]

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == options.health:
            _make_buckets(buckets, port)
            start_response("200 OK", [])
            return []
        return s3(environ, start_response)

    port = int(options.port.removeprefix(":"))
    run_simple("0.0.0.0", port, answer, threaded=True)


def _make_buckets(names: list[str], port: int) -> None:
    while names:
        bucket = Request(f"http://127.0.0.1:{port}/{names.pop()}", method="PUT")
        urlopen(bucket, timeout=5).close()


if __name__ == "__main__":
    main()
