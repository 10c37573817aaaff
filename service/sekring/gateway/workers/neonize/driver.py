"""The driver's entrance: what the worker process makes once."""

from sekring.gateway.workers.driver import Tell
from sekring.gateway.workers.messages import Connect
from sekring.gateway.workers.neonize.library import Library
from sekring.gateway.workers.neonize.session import NeonizeSession
from sekring.gateway.workers.neonize.words import heard_on_stdout

__all__ = ["NeonizeDriver", "make_driver"]


class NeonizeDriver:
    """Makes sessions of neonize."""

    def __init__(self, library: Library) -> None:
        """Make them with the imported library."""
        self._library = library

    @property
    def build(self) -> str:
        """Library and version, as the breaker is told."""
        return f"neonize/{self._library.version}"

    def session(self, order: Connect, tell: Tell) -> NeonizeSession:
        """Prepare a connection; nothing is done yet."""
        return NeonizeSession(self._library, order, tell)

    def heard(self, line: str) -> str | None:
        """Return what of a line on stdout may be kept. What it says was heard otherwise as well."""
        return heard_on_stdout(line)


def make_driver() -> NeonizeDriver:
    """Import neonize: in a worker process, before its event loop runs."""
    return NeonizeDriver(Library())
