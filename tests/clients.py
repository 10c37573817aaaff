"""What tests do with the Python client."""

import contextlib
from collections.abc import Iterator
from typing import Any

from sekring.client import Open, Sekring
from tests.servers import wait_until

__all__ = ["client_of", "fail", "refused", "refuses", "until_current"]

#: Long enough for a busy machine; what is slow is the tests' own matter.
_PATIENCE_S = 5.0


@contextlib.contextmanager
def client_of(url: str, **options: Any) -> Iterator[Sekring]:
    """Hand out a client whose view is current."""
    with Sekring(url, **{"patience": _PATIENCE_S} | options) as breaker:
        until_current(breaker)
        yield breaker


def until_current(breaker: Sekring) -> None:
    """Wait until the view can be gone by."""
    breaker.ready(30)


def fail(breaker: Sekring, instance_id: str, times: int = 1) -> None:
    """Let so many attempts fail under the guard."""
    for _ in range(times):
        with contextlib.suppress(ConnectionRefusedError), breaker.guard(instance_id):
            raise ConnectionRefusedError("nobody listens")


def refused(breaker: Sekring, instance_id: str) -> Open | None:
    """Try to enter a guard; return what it raises, if it does."""
    try:
        with breaker.guard(instance_id):
            return None
    except Open as error:
        return error


def refuses(breaker: Sekring, instance_id: str) -> None:
    """Wait until the client refuses the instance."""
    wait_until(lambda: not breaker.permitted(instance_id), f"{instance_id} to be refused")
