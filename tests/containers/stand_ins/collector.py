"""Takes traces where the collector's configuration says, and tells at /spans what has come."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml
from aiohttp import web

from tests.e2e.collector import Collector


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    configuration = yaml.safe_load(parser.parse_args().config.read_text(encoding="utf-8"))
    endpoint = configuration["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    host, _, port = endpoint.rpartition(":")
    collector = Collector()

    async def spans(_: web.Request) -> web.Response:
        return web.json_response(
            [[span.service, span.name, span.trace_id] for span in collector.spans]
        )

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", collector.take)
    app.router.add_get("/spans", spans)
    web.run_app(app, host=host, port=int(port), print=None)


if __name__ == "__main__":
    main()
