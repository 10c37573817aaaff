"""Options that a route declares (Litestar's `opt`), and how they are read for a request."""

import math
from typing import Any, Final

from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

__all__ = ["DEADLINE_S", "GUIDE", "NEEDS", "NO_DEADLINE", "PAGE", "WAITING_S", "option_of"]

#: The permission that a route needs; `None` for everybody. An operator's, if it says nothing.
NEEDS: Final = "needs"

#: Whether it is one of the guide's: errors in the guide's form, a token as `access_token`.
GUIDE: Final = "guide"

#: Whether browsers get pages from it, for errors too.
PAGE: Final = "page"

#: Its deadline in seconds, where it may take longer than the others.
DEADLINE_S: Final = "deadline_s"

#: As its deadline: it lasts for as long as the client listens.
NO_DEADLINE: Final = math.inf


#: As its deadline: it waits for what a gateway does, and ends that by itself
#: (`SEKRING_QR_WAIT_MS`, at most two minutes).
WAITING_S: Final = 150


def option_of(scope: Scope, name: str) -> Any:  # noqa: ANN401
    """Return the option of the route that a request goes to; `None` before it is known."""
    handler: BaseRouteHandler | None = scope.get("route_handler")
    return None if handler is None else handler.opt.get(name)
