"""`sekring policy set`: how words of a command line become the change that is sent."""

from typing import Any, get_type_hints

import pytest

from sekring.cli.assignments import fields_in_words, patch_of
from sekring.errors import InvalidInput
from sekring.policy import Backoff, FleetGuard, Policy


@pytest.mark.parametrize(
    ("words", "patch"),
    [
        (["failure_threshold=10"], {"failure_threshold": 10}),
        (["cooldown_factor=1.5"], {"cooldown_factor": 1.5}),
        (["success_clears=true"], {"success_clears": True}),
        (["window_ms=360000"], {"window_ms": 360_000}),
        (["window_ms=6m"], {"window_ms": 360_000}),
        (["backoff.cap_ms=20s"], {"backoff": {"cap_ms": 20_000}}),
        (
            ["backoff.cap_ms=5", "probes=1", "backoff.factor=3"],
            {"backoff": {"cap_ms": 5, "factor": 3}, "probes": 1},
        ),
        (["weights.dns=2", "weights.tls=0"], {"weights": {"dns": 2, "tls": 0}}),
        (['weights={"dns": 2}', "weights.tls=0"], {"weights": {"dns": 2, "tls": 0}}),
        # What is wrong with these the service says, in its own words.
        (["failure_threshold=6m"], {"failure_threshold": "6m"}),
        (["window_ms=soon"], {"window_ms": "soon"}),
        (["probes="], {"probes": ""}),
        (["probes=NaN"], {"probes": "NaN"}),
        (["colour=a=b"], {"colour": "a=b"}),
    ],
)
def test_assignments_become_a_change(words: list[str], patch: dict[str, Any]) -> None:
    assert patch_of(words) == patch


@pytest.mark.parametrize("word", ["probes", "=1", ".probes=1", "backoff.=1", "backoff..cap_ms=1"])
def test_what_is_no_assignment_is_refused(word: str) -> None:
    with pytest.raises(InvalidInput, match="is not FIELD=VALUE"):
        patch_of([word])


@pytest.mark.parametrize(
    "words",
    [
        ["probes=1", "probes=2"],
        ["backoff.cap_ms=1", "backoff.cap_ms=1"],
        ["backoff=1", "backoff.cap_ms=1"],
        ["backoff.cap_ms=1", "backoff=1"],
    ],
)
def test_a_field_is_assigned_once(words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="is assigned twice"):
        patch_of(words)


def test_nothing_to_set_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one FIELD=VALUE"):
        patch_of([])


def test_help_describes_every_field() -> None:
    described = fields_in_words()

    names = set(get_type_hints(Policy)) - {"backoff", "fleet_guard", "weights"}
    names |= {f"backoff.{name}" for name in get_type_hints(Backoff)} | {"weights.KIND"}
    names |= {f"fleet_guard.{name}" for name in get_type_hints(FleetGuard)}
    assert {line.split()[0] for line in described.splitlines() if line[2] != " "} == names
    assert "[300000, 5 min]" in described
