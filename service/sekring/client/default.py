"""The process's own breaker, for whoever needs only one: `sekring.guard("id")`."""

import functools
from collections.abc import Callable
from typing import Any

from sekring.client.attempt import Attempt
from sekring.client.breaker import Sekring

__all__ = ["default", "guard", "guarded", "permitted"]


@functools.cache
def default() -> Sekring:
    """Return the one that the environment describes: SEKRING_URL and SEKRING_TOKEN."""
    return Sekring()


def guard(instance_id: str, *, wait: bool = False) -> Attempt:
    """Return an attempt, as `Sekring.guard` of the `default` does."""
    return default().guard(instance_id, wait=wait)


def guarded(
    function: Callable[..., Any] | None = None, /, *, by: str | None = None, wait: bool = False
) -> Any:  # noqa: ANN401 - a decorator, or the decorated function
    """Make each call of a function an attempt, as `Sekring.guarded` of the `default` does."""
    if function is not None:
        return default().guarded(function)
    return default().guarded(by=by, wait=wait)


def permitted(instance_id: str) -> bool:
    """Tell whether the instance might connect now, as the `default` does."""
    return default().permitted(instance_id)
