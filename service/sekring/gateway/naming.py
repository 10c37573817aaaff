"""The name under which a gateway owns sessions, where none is given."""

import os
import re
import secrets
import socket

__all__ = ["own_name"]

#: Characters of the host's name that are kept.
_HOST_MAX = 64


def own_name() -> str:
    """Return a name that no other gateway has, nor had: a successor waits for its leases to end."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:_HOST_MAX] or "gateway"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"
