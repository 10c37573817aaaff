"""Whether the service answers, as a gateway's claims and renewals find it."""

import structlog

from sekring.errors import SekringError

__all__ = ["Reach"]

_log = structlog.get_logger(__name__)


class Reach:
    """Says once in the log that the service is away, and once that it is back."""

    def __init__(self) -> None:
        """Begin without having heard of it."""
        self._away = False
        self._met = False

    @property
    def is_there(self) -> bool:
        """Whether it has answered the last time."""
        return self._met and not self._away

    def missed(self, what: str, error: SekringError) -> None:
        """Take note that it has not answered `what`."""
        tell = _log.debug if self._away else _log.warning
        tell("the service does not answer", what=what, error=str(error))
        self._away = True

    def answered(self) -> None:
        """Take note that it has answered."""
        if self._away:
            _log.info("the service answers again")
        self._away = False
        self._met = True
