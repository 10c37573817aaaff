"""`@guarded`: a function each call of which is an attempt."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from sekring.client.attempt import Attempt
from sekring.errors import InvalidInput

__all__ = ["guarding"]

P = ParamSpec("P")
T = TypeVar("T")


def guarding(
    function: Callable[P, T], guard: Callable[[str], Attempt], by: str | None
) -> Callable[P, T]:
    """Return `function`, plain or a coroutine function, under a guard.

    `by` is the parameter that names the instance; the first one if it is not given.

    Raises:
        InvalidInput: there is no such parameter.
    """
    name_in = _reader(function, by)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401
            async with guard(name_in(args, kwargs)):
                return await function(*args, **kwargs)

        return cast("Callable[P, T]", guarded_async)

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        with guard(name_in(args, kwargs)):
            return function(*args, **kwargs)

    return guarded


def _reader(
    function: Callable[..., object], by: str | None
) -> Callable[[tuple[Any, ...], dict[str, Any]], str]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput("@guarded takes no generator; use `with guard(...)` inside it.", "by")
    signature = inspect.signature(function)
    parameters = list(signature.parameters)
    name = by if by is not None else next(iter(parameters), None)
    if name is None or name not in signature.parameters:
        raise InvalidInput(
            f"{function.__qualname__} has no parameter {by or 'at all'}: name the one that holds"
            " the instance's id, as in @guarded(by='instance_id').",
            "by",
        )

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        value = bound.arguments[name]
        if not isinstance(value, str):
            raise InvalidInput(
                f"{name} is {type(value).__name__}, no instance's id: name the parameter that holds"
                " it, as in @guarded(by='instance_id').",
                name,
            )
        return value

    return read
