"""The policy: defaults, how policies lie over each other, and what is impossible."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from sekring.errors import InvalidInput
from sekring.policy import (
    DAY_MS,
    Backoff,
    BackoffPatch,
    FleetGuard,
    FleetGuardPatch,
    Policy,
    PolicyPatch,
    apply,
    merge,
    sources,
)


def test_the_defaults_are_the_guides() -> None:
    assert apply() == Policy(
        failure_threshold=15,
        window_ms=300_000,
        cooldown_ms=600_000,
        cooldown_factor=1,
        cooldown_max_ms=DAY_MS,
        probes=0,
        probe_ttl_ms=120_000,
        backoff=Backoff(base_ms=1_000, factor=2, cap_ms=20_000, jitter=0.2),
        stable_after_ms=60_000,
        success_clears=False,
        weights={},
        min_reporters=1,
        fleet_guard=FleetGuard(
            enabled=True,
            share=0.5,
            min_instances=100,
            rate_per_s=20,
            burst=20,
            ramp_step_ms=5_000,
            ramp_factor=2,
        ),
    )


def test_a_client_that_keeps_the_default_pace_still_trips() -> None:
    policy = Policy()
    pace = policy.backoff
    waits = [
        min(pace.cap_ms, pace.base_ms * pace.factor**retry)
        for retry in range(policy.failure_threshold)
    ]
    assert sum(waits) < policy.window_ms


def test_a_patch_has_every_field_of_the_policy() -> None:
    assert PolicyPatch.__struct_fields__ == Policy.__struct_fields__
    assert BackoffPatch.__struct_fields__ == Backoff.__struct_fields__
    assert FleetGuardPatch.__struct_fields__ == FleetGuard.__struct_fields__


def test_the_last_patch_lies_on_top() -> None:
    fleet = PolicyPatch(failure_threshold=5, window_ms=60_000)
    own = PolicyPatch(failure_threshold=3)

    policy = apply(fleet, own)

    assert (policy.failure_threshold, policy.window_ms, policy.cooldown_ms) == (3, 60_000, 600_000)
    assert apply(own, fleet).failure_threshold == 5


def test_backoff_and_weights_are_merged_entry_by_entry() -> None:
    fleet = PolicyPatch(backoff=BackoffPatch(base_ms=10, cap_ms=100), weights={"dns": 2, "tls": 0})
    own = PolicyPatch(backoff=BackoffPatch(base_ms=20), weights={"dns": 3})

    assert merge(fleet, own) == {
        "backoff": {"base_ms": 20, "cap_ms": 100},
        "weights": {"dns": 3, "tls": 0},
    }
    policy = apply(fleet, own)
    assert policy.backoff == Backoff(base_ms=20, factor=2, cap_ms=100, jitter=0.2)
    assert policy.weights == {"dns": 3, "tls": 0}


def test_merging_leaves_the_patches_alone() -> None:
    fleet = PolicyPatch(weights={"dns": 2})
    merge(fleet, PolicyPatch(weights={"tls": 1}))
    assert fleet.weights == {"dns": 2}


def test_a_patch_stores_only_what_was_set() -> None:
    assert msgspec.json.encode(PolicyPatch()) == b"{}"
    assert msgspec.json.encode(PolicyPatch(probes=0)) == b'{"probes":0}'
    assert msgspec.json.decode(b"{}", type=PolicyPatch).probes is UNSET


def test_each_field_knows_where_it_comes_from() -> None:
    found = sources(PolicyPatch(probes=1, window_ms=60_000), PolicyPatch(probes=2))

    assert found["probes"] == "instance"
    assert found["window_ms"] == "global"
    assert found["cooldown_ms"] == "default"
    assert found["backoff.cap_ms"] == "default"


@pytest.mark.parametrize(
    ("patches", "field"),
    [
        pytest.param(
            [PolicyPatch(cooldown_max_ms=599_999)], "cooldown_max_ms", id="maximum below default"
        ),
        pytest.param(
            [PolicyPatch(cooldown_max_ms=700_000), PolicyPatch(cooldown_ms=800_000)],
            "cooldown_max_ms",
            id="fleet and instance together",
        ),
        pytest.param(
            [PolicyPatch(backoff=BackoffPatch(cap_ms=999))], "backoff.cap_ms", id="cap below base"
        ),
        pytest.param(
            [PolicyPatch(weights={"no_such_kind": 1})],
            "weights.no_such_kind",
            id="unknown kind",
        ),
        pytest.param(
            [PolicyPatch(weights={"banned": 1})], "weights.banned", id="a kind that never counts"
        ),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(patches: list[PolicyPatch], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        apply(*patches)
    assert caught.value.field == field
    assert field in str(caught.value)


def test_what_is_just_possible_is_taken() -> None:
    policy = apply(
        PolicyPatch(
            cooldown_max_ms=600_000, backoff=BackoffPatch(cap_ms=1_000), weights={"upstream": 0}
        )
    )
    assert policy.cooldown_max_ms == policy.cooldown_ms


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("failure_threshold", 1, 10_000),
        ("window_ms", 1_000, DAY_MS),
        ("cooldown_ms", 1, DAY_MS),
        ("cooldown_factor", 1, 100),
        ("cooldown_max_ms", 1, DAY_MS),
        ("probes", 0, 100),
        ("probe_ttl_ms", 1_000, 3_600_000),
        ("stable_after_ms", 0, DAY_MS),
        ("min_reporters", 1, 100),
        ("backoff.base_ms", 0, DAY_MS),
        ("backoff.factor", 1, 100),
        ("backoff.cap_ms", 0, DAY_MS),
        ("backoff.jitter", 0, 1),
        ("weights.dns", 0, 1_000),
        ("fleet_guard.min_instances", 1, 10_000_000),
        ("fleet_guard.rate_per_s", 1, 100_000),
        ("fleet_guard.burst", 1, 100_000),
        ("fleet_guard.ramp_step_ms", 1_000, 600_000),
    ],
)
def test_each_figure_has_its_limits(field: str, least: int, most: int) -> None:
    for value in (least, most):
        patch(field, value)
    for value in (least - 1, most + 1):
        with pytest.raises(msgspec.ValidationError):
            patch(field, value)


@pytest.mark.parametrize(
    ("field", "possible", "impossible"),
    [
        ("fleet_guard.share", [0.001, 0.5, 1], [0, -0.1, 1.001]),
        ("fleet_guard.ramp_factor", [1.001, 2, 10], [1, 0.5, 10.001]),
    ],
)
def test_a_share_is_of_something_and_a_ramp_goes_up(
    field: str, possible: list[float], impossible: list[float]
) -> None:
    for value in possible:
        patch(field, value)
    for value in impossible:
        with pytest.raises(msgspec.ValidationError):
            patch(field, value)


def test_the_guards_fields_are_merged_like_the_others() -> None:
    below = PolicyPatch(fleet_guard=FleetGuardPatch(enabled=False, rate_per_s=5))
    above = PolicyPatch(fleet_guard=FleetGuardPatch(enabled=True))

    assert apply(below, above).fleet_guard == FleetGuard(enabled=True, rate_per_s=5)
    assert sources(below, PolicyPatch())["fleet_guard.rate_per_s"] == "global"


@pytest.mark.parametrize(
    "body",
    [
        b'{"failure_treshold": 5}',
        b'{"fleet_guard": {"rate": 5}}',
        b'{"fleet_guard": true}',
        b'{"backoff": {"base": 1}}',
        b'{"failure_threshold": 1.5}',
        b'{"failure_threshold": "5"}',
        b'{"failure_threshold": null}',
        b'{"success_clears": 1}',
        b'{"weights": []}',
        b'{"cooldown_factor": NaN}',
    ],
)
def test_a_misspelt_field_or_a_wrong_type_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body, type=PolicyPatch)


def patch(field: str, value: Any) -> PolicyPatch:
    """Decode a patch of one field, as a PUT's body is."""
    outer, _, inner = field.partition(".")
    body = {outer: {inner: value} if inner else value}
    return msgspec.json.decode(msgspec.json.encode(body), type=PolicyPatch)
