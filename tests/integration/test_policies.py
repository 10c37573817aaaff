"""A policy is put in place of the one that was read, or not at all."""

import asyncio

import pytest

from sekring.errors import InvalidInput, Refused
from sekring.model import Origin
from sekring.policies import Policies
from sekring.policy import BackoffPatch, PolicyPatch
from sekring.preview import Preview
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.wire import PreviewAnswer
from tests.recorder import Recorder

ME = Origin(actor="me", reason="console")


class Fleet:
    """A keyspace, its policies, and previews of what fails in it."""

    def __init__(self, link: RedisLink) -> None:
        keyspace = Keyspace(partitions=4)
        self.recorder = Recorder(link, keyspace)
        self.reads = Reads(link, keyspace)
        self.policies = Policies(self.recorder.scripts, self.reads, keyspace)
        self.preview = Preview(self.recorder.records, self.reads, self.policies)


@pytest.fixture
def fleet(link: RedisLink) -> Fleet:
    return Fleet(link)


async def test_what_is_not_in_the_new_policy_is_not_set_any_more(fleet: Fleet) -> None:
    policies = fleet.policies
    first = await policies.change_fleet(
        PolicyPatch(failure_threshold=3, probes=2, backoff=BackoffPatch(cap_ms=30_000)), ME
    )
    done = await policies.replace_fleet(PolicyPatch(window_ms=60_000), first.version, ME)
    found = await policies.fleet()
    assert found == done
    assert found.patch == PolicyPatch(window_ms=60_000)
    assert found.policy.failure_threshold == 15
    assert found.version == first.version + 1
    # For every instance, wherever it is kept.
    for number in range(20):
        assert (await policies.instance(f"one-{number}")).policy == found.policy


async def test_another_version_than_the_one_that_was_read_is_left_alone(fleet: Fleet) -> None:
    policies = fleet.policies
    read = await policies.fleet()
    await policies.change_fleet(PolicyPatch(failure_threshold=3), ME)
    with pytest.raises(Refused, match="changed meanwhile"):
        await policies.replace_fleet(PolicyPatch(), read.version, ME)
    assert (await policies.fleet()).patch == PolicyPatch(failure_threshold=3)

    own = await policies.instance("one")
    await policies.change_instance("one", PolicyPatch(probes=1), ME)
    with pytest.raises(Refused, match="changed meanwhile"):
        await policies.replace_instance("one", PolicyPatch(probes=2), own.version, ME)
    with pytest.raises(Refused, match="changed meanwhile"):
        await policies.replace_instance("one", PolicyPatch(), own.version, ME)
    assert (await policies.instance("one")).patch == PolicyPatch(probes=1)


async def test_of_many_at_once_one_succeeds(fleet: Fleet) -> None:
    policies = fleet.policies
    version = (await policies.fleet()).version
    tries = [
        policies.replace_fleet(PolicyPatch(failure_threshold=n), version, ME) for n in range(1, 9)
    ]
    tries += [
        policies.replace_instance("one", PolicyPatch(failure_threshold=n), 0, ME)
        for n in range(1, 9)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)
    for some, found in (
        (results[:8], await policies.fleet()),
        (results[8:], await policies.instance("one")),
    ):
        done = [result for result in some if not isinstance(result, BaseException)]
        assert [result.patch for result in done] == [found.patch]
        assert sum(isinstance(result, Refused) for result in some) == 7


async def test_with_nothing_of_its_own_an_instance_has_no_override(fleet: Fleet) -> None:
    policies = fleet.policies
    await policies.change_fleet(PolicyPatch(probes=2), ME)
    own = await policies.change_instance("one", PolicyPatch(failure_threshold=3), ME)
    done = await policies.replace_instance("one", PolicyPatch(), own.version, ME)
    assert done == await policies.instance("one")
    assert done.version == 0
    assert done.patch == PolicyPatch()
    assert done.policy.probes == 2
    assert set(done.sources.values()) == {"default", "global"}
    assert (await fleet.reads.override("one")).version == 0


async def test_a_contradiction_is_refused_and_nothing_set(fleet: Fleet) -> None:
    policies = fleet.policies
    with pytest.raises(InvalidInput, match="cooldown_max_ms"):
        await policies.replace_fleet(PolicyPatch(cooldown_max_ms=1), 0, ME)
    await policies.change_fleet(PolicyPatch(cooldown_ms=7_200_000), ME)
    with pytest.raises(InvalidInput, match="cooldown_max_ms"):
        await policies.replace_instance("one", PolicyPatch(cooldown_max_ms=3_600_000), 0, ME)
    assert (await policies.instance("one")).patch == PolicyPatch()


async def test_what_the_fleet_has_set_later_may_contradict_an_override_and_is_readable(
    fleet: Fleet,
) -> None:
    policies = fleet.policies
    await policies.change_instance("one", PolicyPatch(cooldown_max_ms=900_000), ME)
    await policies.change_fleet(PolicyPatch(cooldown_ms=7_200_000), ME)
    found = await policies.instance("one")
    assert (found.policy.cooldown_ms, found.policy.cooldown_max_ms) == (7_200_000, 900_000)
    assert found.sources["cooldown_max_ms"] == "instance"
    assert found.sources["cooldown_ms"] == "global"


async def test_the_change_is_in_the_history(fleet: Fleet) -> None:
    await fleet.policies.replace_instance("one", PolicyPatch(probes=1), 0, ME)
    (entry,) = await fleet.reads.history("one", 10)
    assert (entry.action, entry.actor, entry.reason) == ("policy", "me", "console")


async def test_a_preview_of_a_whole_policy_takes_back_what_is_not_in_it(fleet: Fleet) -> None:
    await fleet.policies.change_fleet(PolicyPatch(failure_threshold=3, probes=2), ME)
    ago_ms = await fleet.recorder.begin(60_000)
    for serial in range(5):
        await fleet.recorder.fail("one", ago_ms + serial)

    def trips(answer: PreviewAnswer) -> tuple[int, int]:
        return answer.in_force.trips, answer.proposed.trips

    laid_over = await fleet.preview.fleet(PolicyPatch(min_reporters=1))
    assert trips(laid_over) == (1, 1)
    whole = await fleet.preview.fleet(PolicyPatch(min_reporters=1), whole=True)
    assert trips(whole) == (1, 0)
    assert whole.lost.instances == ["one"]
    # What it takes back, it changes; the record cannot tell of that.
    assert whole.not_considered == ["probes"]

    await fleet.policies.change_instance("one", PolicyPatch(failure_threshold=20), ME)
    own = await fleet.preview.instance("one", PolicyPatch(), whole=True)
    assert trips(own) == (0, 1)
