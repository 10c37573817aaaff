"""What the exporters say about a collector that is away: two lines in the log instead of many."""

import logging
from typing import Final

import structlog

__all__ = ["Chatter", "Outage"]

#: What the exporters would write at every batch.
_CHATTER: Final = "opentelemetry"

_log = structlog.get_logger(__name__)


class Chatter(logging.Handler):
    """Keeps the libraries' own lines out of the log, and the last of them for ours."""

    def __init__(self) -> None:
        """Begin to keep them."""
        super().__init__(logging.WARNING)
        self.last = ""
        self._logger = logging.getLogger(_CHATTER)
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.last = record.getMessage()

    def remove(self) -> None:
        """Let them pass again, unless another one keeps them."""
        self._logger.removeHandler(self)
        self._logger.propagate = not any(isinstance(one, Chatter) for one in self._logger.handlers)


class Outage:
    """Says once that nothing arrives at the collector, and once that it does so again."""

    def __init__(self, what: str, endpoint: str, chatter: Chatter) -> None:
        """Speak of `what` (`traces`, `metrics`) and of where it goes."""
        self._what = what
        self._endpoint = endpoint
        self._chatter = chatter
        self._failing = False

    def note(self, *, arrived: bool) -> None:
        """Take note of how an export ended."""
        if not arrived and not self._failing:
            _log.warning(
                f"no {self._what} arrive at the collector",
                endpoint=self._endpoint,
                error=self._chatter.last,
            )
        elif self._failing and arrived:
            _log.info(f"{self._what} arrive at the collector again", endpoint=self._endpoint)
        self._failing = not arrived
