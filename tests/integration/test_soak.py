"""Nothing grows while a service is used: memory, descriptors, keys, queues."""

import pytest

from loadtest import soak


def test_nothing_grows(*, full: bool) -> None:
    """An hour with `--full`; else a minute and a half."""
    found = soak.measure(3_600 if full else 90)

    assert found.errors == []
    assert found.calls > 1_000
    if found.grown:
        pytest.fail(f"grows: { ({name: found.courses[name] for name in found.grown}) }")
