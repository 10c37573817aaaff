"""`field=value` on a command line: a change to a policy, and which fields there are."""

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from sekring.cli.durations import duration, in_words
from sekring.errors import InvalidInput
from sekring.policy import Policy

__all__ = ["fields_in_words", "patch_of"]

_WIDTH = 88
_NAMES_WIDTH = 25


def patch_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the JSON of `a=1 b.c=2`; whether fields and values are right is for the service.

    Raises:
        InvalidInput: a word is no assignment, or assigns what another did.
    """
    if not words:
        raise InvalidInput("set takes at least one FIELD=VALUE, such as failure_threshold=10.")
    patch: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        *parents, field = name.split(".")
        if not equals or not field or not all(parents):
            raise InvalidInput(f"{word!r} is not FIELD=VALUE, such as failure_threshold=10.")
        place: Any = patch
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or field in place:
            raise InvalidInput(f"{name} is assigned twice.")
        place[field] = _value(field, text)
    return patch


def _value(field: str, text: str) -> object:
    """Take JSON, or a length of time where the unit is in the name; else it stays text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        pass
    if field.endswith("_ms"):
        try:
            return duration(text)
        except argparse.ArgumentTypeError:
            pass
    return text


def fields_in_words() -> str:
    """List each field with its default and what it is, for `--help`."""
    lines = []
    for name, default, meaning in _fields():
        shown = default
        if name.endswith("_ms"):
            shown = f"{default}, {in_words(int(default))}"
        lines += textwrap.wrap(
            f"{meaning} [{shown}]" if shown else meaning,
            _WIDTH,
            initial_indent=f"  {name:<{_NAMES_WIDTH}} ",
            subsequent_indent=" " * (_NAMES_WIDTH + 3),
        )
    return "\n".join(lines)


def _fields() -> Iterator[tuple[str, str, str]]:
    for name, default, meaning in _described(Policy()):
        nested = getattr(Policy(), name)
        if isinstance(nested, Struct):
            yield from (
                (f"{name}.{inner}", value, text) for inner, value, text in _described(nested)
            )
        elif name == "weights":
            yield "weights.KIND", "", meaning
        else:
            yield name, default, meaning


def _described(defaults: Struct) -> Iterator[tuple[str, str, str]]:
    for name, hint in get_type_hints(type(defaults), include_extras=True).items():
        default = getattr(defaults, name)
        shown = msgspec.json.encode(default).decode()
        described = [one.description for one in get_args(hint) if isinstance(one, Meta)]
        yield name, shown, (described[0] or "") if described else ""
