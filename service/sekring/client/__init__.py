"""The client library of the breaker service: what a gateway asks of it, over HTTP.

It needs httpx and msgspec, and nothing of the service beside the bodies of its API.
"""

from sekring.client.client import AsyncClient

__all__ = ["AsyncClient"]
