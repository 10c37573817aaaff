"""Logs: structured, for a person on a terminal and as JSON elsewhere; with the trace's id."""

import logging
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict

from sekring.telemetry.spans import current

__all__ = ["configure_logging"]

LogFormat = Literal["auto", "json", "console"]


def configure_logging(level: str, form: str) -> None:
    """Send all logs, structlog's and the standard library's, to standard error.

    `level` is the least severe one that is shown; `form` is `json`, `console`, or `auto` (console
    if standard error is a terminal).
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _name_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default shows the values of variables, and with them tokens.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    finish: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    finish.append(_escape_controls if console else structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[*finish, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # They would log a webhook's whole address, and its headers.
    for library in ("httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _name_trace(_: object, __: str, event: EventDict) -> EventDict:
    """Say on behalf of which request, or other work, the line is written."""
    span = current()
    if span is not None:
        event.setdefault("trace_id", span.trace.hex_id)
        event.setdefault("span_id", span.hex_id)
    return event


def _escape_controls(_: object, __: str, event: EventDict) -> EventDict:
    """Leave nothing that moves a terminal's cursor: some values come with requests."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(
                character if character.isprintable() else ascii(character)[1:-1]
                for character in value
            )
    return event
