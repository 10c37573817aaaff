"""The client library of the breaker service.

`Sekring` is what gateways use: guards, a view in memory, reports in batches. `AsyncClient` is the
HTTP API, call by call, and `Client` the same for threads. It needs httpx and msgspec, and nothing
of the service beside the bodies of its API and the breaker in plain Python. Errors are those of
`sekring.errors`: a guard raises `Open`, and `InvalidInput` for a name that no instance can have.
"""

from sekring.client.attempt import Attempt
from sekring.client.breaker import Sekring
from sekring.client.client import AsyncClient
from sekring.client.default import default, guard, guarded, permitted
from sekring.client.options import Options
from sekring.client.sync import Client
from sekring.errors import Open

__all__ = [
    "AsyncClient",
    "Attempt",
    "Client",
    "Open",
    "Options",
    "Sekring",
    "default",
    "guard",
    "guarded",
    "permitted",
]
