"""Sekring: a distributed circuit breaker for WhatsApp sessions.

The command line is `sekring` (`sekring.cli`), the service is `sekring.http.app`, the use-cases are
in `sekring.breaker`, the transitions themselves in `lua/`.
"""

__all__ = ["__version__"]

#: The only place where the version is written; packaging reads it from here.
__version__ = "0.1.0"
