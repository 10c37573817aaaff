"""What a server process begins with: it imports and makes the app, with nothing in its way."""

import gc
from typing import TYPE_CHECKING

from sekring.http.scheduling import settle_scheduling

if TYPE_CHECKING:
    from sekring.http.hotroutes import HotRoutes

__all__ = ["from_environment"]


def from_environment() -> "HotRoutes":
    """Return the app for the environment's settings."""
    settle_scheduling()
    # Nothing of a start is garbage: looking for it takes an eighth of the time. When it has started
    # (`settle_garbage`) it is looked for again.
    gc.disable()
    from sekring.http.app import from_environment as make_app  # noqa: PLC0415 - the whole app

    return make_app()
