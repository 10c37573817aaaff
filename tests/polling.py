"""Asks a server of this machine how it is, as often as one likes."""

import http.client

__all__ = ["text_of"]


def text_of(port: int, path: str, host: str = "127.0.0.1") -> str | None:
    """Return what is answered with 200; `None` for any other answer, and for none."""
    # Not httpx: each call of it reads the machine's certificates.
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if answer.status == http.client.OK else None
