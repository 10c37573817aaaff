"""Whether the service can be reached, as far as the client has noticed."""

import logging
from collections.abc import Callable

from sekring.client.view import View
from sekring.errors import NotAllowed, NotAuthenticated, SekringError

__all__ = ["Reach"]

_log = logging.getLogger("sekring")


class Reach:
    """One call without an answer is the evidence that it is away: from then on none waits.

    It is back when it answers, and has been told all that was decided without it.
    """

    def __init__(self, view: View, url: str, behind: Callable[[], bool]) -> None:
        """Tell `view` of it; `behind` says whether the service has yet to be told anything."""
        self._view = view
        self._url = url
        self._behind = behind
        self.away = False
        #: Why it lets us do nothing, if that is the reason.
        self.denied: SekringError | None = None

    def missed(self, error: Exception) -> None:
        """Take note of a call that was not answered."""
        if not self.away:
            _log.warning(
                "the breaker service at %s is away; what is known and the policy decide: %s",
                self._url,
                error,
            )
        self.away = True
        self.denied = error if isinstance(error, NotAuthenticated | NotAllowed) else None
        self._view.set_alone(alone=True)

    def answered(self) -> None:
        """Take note of an answer."""
        if self.away and not self._behind():
            _log.warning("the breaker service at %s is back", self._url)
            self.away = False
            self.denied = None
            self._view.set_alone(alone=False)
