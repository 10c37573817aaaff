"""What can go wrong between this command and the service.

::

    SekringError
    ├── ServiceRefused    the service answered that it will not, or cannot
    └── Unreachable       there was no answer, or none that Sekring gives
"""

from http import HTTPStatus

from sekring.cli.exits import Exit
from sekring.errors import SekringError

__all__ = ["ServiceRefused", "Unreachable"]


class ServiceRefused(SekringError):
    """The service answered with an error; `str()` is its own sentence."""

    def __init__(self, message: str, *, status: int, body: bytes) -> None:
        """Keep the HTTP status, and the answer as it came."""
        super().__init__(message)
        self.status = status
        self.body = body

    @property
    def code(self) -> Exit:
        """A refusal stays one; what failed in the service itself may work later."""
        failed = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return Exit.UNREACHABLE if failed else Exit.REFUSED


class Unreachable(SekringError):
    """No answer of Sekring's; the message names the URL and what to check."""

    code = Exit.UNREACHABLE
