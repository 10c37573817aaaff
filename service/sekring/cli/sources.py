"""Each value of a policy, and where it comes from."""

from collections.abc import Iterator

import msgspec

from sekring.cli.durations import in_words
from sekring.policy import flat
from sekring.wire import PolicyAnswer

__all__ = ["rows"]


def rows(answer: PolicyAnswer) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, value, the value in words, and its source."""
    for name, value in flat(answer.policy).items():
        source = answer.sources.get(name, "default")
        if name == "weights":
            yield name, "none", "each kind counts 1", source
        else:
            yield name, msgspec.json.encode(value).decode(), _words(name, value), source


def _words(name: str, value: object) -> str:
    return in_words(value) if name.endswith("_ms") and isinstance(value, int) else ""
