"""Structured logs: one JSON object a line, with the ids that are in context.

A running service logs a level more at each SIGUSR1, and a level less at each SIGUSR2.
"""

from __future__ import annotations

import logging
import logging.handlers
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import structlog

from crewmesh.common import tracing

if TYPE_CHECKING:
    # Runners log, too, and these settings bring gRPC.
    from crewmesh.common.settings import Settings
from crewmesh.common.lifecycle import fail

log = structlog.get_logger(__name__)

# Those of CREWMESH_LOG_LEVEL, the least first.
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
# Their INFO lines say per request what ours say better.
_NOISY = ("uvicorn.access", "alembic", "httpx2", "httpcore2", "urllib3", "opentelemetry")


def start_logging(service: str, settings: Settings) -> None:
    """Log as a service does that runs with these settings: to stderr, and to its file, if any."""
    configure_logging(service, settings.log_level)
    if settings.log_path is not None:
        try:
            settings.log_path.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.TimedRotatingFileHandler(
                settings.log_path,
                when="midnight",
                backupCount=settings.log_keep_days,
                encoding="utf-8",
                utc=True,
            )
        except OSError as error:
            fail(f"can't log to {settings.log_path}: {error.strerror}; see CREWMESH_LOG_PATH")
        root = logging.getLogger()
        handler.setFormatter(root.handlers[0].formatter)
        root.addHandler(handler)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, lambda *_: step_level(1))
        signal.signal(signal.SIGUSR2, lambda *_: step_level(-1))


def step_level(steps: int) -> None:
    """Log so many levels more from now on, or less: from ERROR alone to DEBUG."""
    root = logging.getLogger()
    place = _LEVELS.index(root.level) + steps
    new = _LEVELS[max(0, min(place, len(_LEVELS) - 1))]
    root.setLevel(new)
    # Said whatever the level is: who sent the signal wants to know.
    log.log(max(new, logging.WARNING), "log level changed", to=logging.getLevelName(new))


def configure_logging(service: str, level: str = "INFO", *, pretty: bool = False) -> None:
    """Send structlog's and the standard library's records to stderr in one format.

    `pretty` is for people at a terminal; otherwise each line is JSON with `at`,
    `level`, `event`, `service` and whatever `structlog.contextvars` holds: `request_id`,
    `org_id`, `run_id`; where tracing is on, `trace_id` and `span_id`, too.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _add_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _add_trace(
    _logger: Any, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    line.update(tracing.ids())
    return line
