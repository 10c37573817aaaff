"""Whom an HTTP client trusts."""

import ssl

__all__ = ["trust"]


def trust(url: str) -> ssl.SSLContext | bool:
    """Return what httpx takes as `verify` for a client that asks `url` alone.

    The authorities that the machine trusts, or nobody where `url` has no TLS anyway: httpx reads
    all their certificates for each client, which takes tens of milliseconds.
    """
    if url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return True
