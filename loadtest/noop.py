"""A Litestar route that returns the answer to a permit and does nothing: what all is compared with.

    python -m loadtest.noop --port 8001

serves it with granian and the options of `sekring serve`. It has no authorization, no parameters,
and it does not read what it is sent.
"""

import argparse
import sys

from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from litestar import Litestar, get, post

from sekring.model import Admission, State
from sekring.settings import Settings

__all__ = ["make_app"]


def make_app() -> Litestar:
    """Return the app."""
    admission = Admission(
        instance_id="62811000000000",
        permitted=True,
        attempt_id="19ab6e44c91-5f0c2a7e",
        epoch=1_764_000_000_000,
        state=State.CLOSED,
        failures=0,
        retry_after_ms=0,
        backoff_ms=0,
    )

    @post("/noop", status_code=200)
    async def noop() -> Admission:
        return admission

    @get("/ready")
    async def ready() -> None:
        return None

    return Litestar([noop, ready], openapi_config=None, logging_config=None)


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.noop", description=__doc__)
    parser.add_argument("--port", type=int, default=8001)
    Granian(
        "loadtest.noop:make_app",
        factory=True,
        interface=Interfaces.ASGI,
        address="127.0.0.1",
        port=parser.parse_args().port,
        workers=1,
        http1_settings=HTTP1Settings(header_read_timeout=Settings().keep_alive_ms),
        log_enabled=False,
    ).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
