"""Sekring: a distributed circuit breaker for WhatsApp sessions.

For gateways: `sekring.guard`, `sekring.guarded`, `sekring.permitted` and `sekring.Sekring`
(`sekring.client`), which are imported when they are first used. The command line is `sekring`
(`sekring.cli`), the service is `sekring.http.app`, the use-cases are in `sekring.breaker`, the
transitions themselves in `lua/`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sekring.client import Open, Sekring, guard, guarded, permitted

__all__ = ["Open", "Sekring", "__version__", "guard", "guarded", "permitted"]

#: The only place where the version is written; packaging reads it from here.
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import what gateways use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sekring import client  # noqa: PLC0415 - only who uses it waits for it

    return getattr(client, name)
