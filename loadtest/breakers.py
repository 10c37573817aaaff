"""Other circuit breakers that keep their state in Redis, each told to do the same work.

A breaker of theirs is one per name; none of them opens here, whatever fails. sony/gobreaker v2 is
left out: it needs Go and Go's modules (its figures are in its own benchmark).
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

import pybreaker
import redis
from interlock import CircuitBreaker, Config
from interlock.integrations.redis import RedisStorage
from purgatory import AsyncCircuitBreakerFactory, AsyncRedisUnitOfWork

__all__ = ["INSTANCES", "PEERS", "Broken", "Peer", "names"]

#: Breakers that the calls go round.
INSTANCES = 200

#: More than ever fail.
_NEVER = 100_000_000


class Broken(Exception):
    """What a guarded call raises."""


def names() -> Iterator[str]:
    """Go round the instances."""
    return itertools.cycle([f"session-{number}" for number in range(INSTANCES)])


class Peer(Protocol):
    """A replica of a peer: its breakers on one Redis."""

    def work(self, calls: int, *, fails: bool) -> None:
        """Guard so many calls, going round the instances."""
        ...

    def fail(self, name: str, times: int) -> None:
        """Guard calls of one instance, all of which fail."""
        ...

    def known(self, name: str) -> int:
        """Return how many failures of an instance all replicas know of."""
        ...


class Pybreaker:
    """pybreaker with `CircuitRedisStorage`."""

    def __init__(self, url: str) -> None:
        """Make the breakers of the instances; two kinds of them, lest a success clears failures."""
        self._client = redis.Redis.from_url(url)
        self._breakers: dict[str, pybreaker.CircuitBreaker] = {}

    def work(self, calls: int, *, fails: bool) -> None:
        """Guard so many calls."""
        kind = "fails" if fails else "works"
        each = [self._breaker(f"{kind}-{name}") for name in itertools.islice(names(), INSTANCES)]
        for breaker in itertools.islice(itertools.cycle(each), calls):
            with contextlib.suppress(Broken):
                breaker.call(_raise if fails else _nothing)

    def fail(self, name: str, times: int) -> None:
        """Fail."""
        for _ in range(times):
            with contextlib.suppress(Broken):
                self._breaker(name).call(_raise)

    def known(self, name: str) -> int:
        """Read the counter; not by a breaker: to make one sets it to 0."""
        return int(pybreaker.CircuitRedisStorage("closed", self._client, namespace=name).counter)

    def _breaker(self, name: str) -> pybreaker.CircuitBreaker:
        if name not in self._breakers:
            storage = pybreaker.CircuitRedisStorage("closed", self._client, namespace=name)
            self._breakers[name] = pybreaker.CircuitBreaker(fail_max=_NEVER, state_storage=storage)
        return self._breakers[name]


class Purgatory:
    """purgatory; its asynchronous half: the other does not work with today's redis-py."""

    def __init__(self, url: str) -> None:
        """Connect at each piece of work: a connection belongs to its event loop."""
        self._url = url

    def work(self, calls: int, *, fails: bool) -> None:
        """Guard so many calls."""
        kind = "fails" if fails else "works"
        some = (f"{kind}-{name}" for name in itertools.islice(names(), calls))
        asyncio.run(self._guard(some, _raise if fails else _nothing))

    def fail(self, name: str, times: int) -> None:
        """Fail."""
        asyncio.run(self._guard(itertools.repeat(name, times), _raise))

    def known(self, name: str) -> int:
        """Read the counter."""
        with redis.Redis.from_url(self._url) as client:
            found = list(client.scan_iter(f"*{name}::failure_count"))
            return int(client.get(found[0]) or 0) if found else 0

    async def _guard(self, some: Iterator[str], call: Callable[[], None]) -> None:
        unit = AsyncRedisUnitOfWork(self._url)
        factory = AsyncCircuitBreakerFactory(default_threshold=_NEVER, uow=unit)
        await factory.initialize()
        for name in some:
            with contextlib.suppress(Broken):
                async with await factory.get_breaker(name):
                    call()
        await unit.contexts.redis.aclose()  # type: ignore[attr-defined] # it has no other end


class Interlock:
    """interlock-cb with `RedisStorage`: it shares states, but counts failures for itself."""

    #: By rate, of more calls than are ever made.
    _CONFIG = Config(failure_rate_threshold=1.0, minimum_number_of_calls=_NEVER)

    def __init__(self, url: str) -> None:
        """Connect."""
        self._storage = RedisStorage(redis.Redis.from_url(url))
        self._breakers: dict[str, CircuitBreaker] = {}

    def work(self, calls: int, *, fails: bool) -> None:
        """Guard so many calls."""
        each = [self._breaker(name) for name in itertools.islice(names(), INSTANCES)]
        for breaker in itertools.islice(itertools.cycle(each), calls):
            with contextlib.suppress(Broken), breaker:
                (_raise if fails else _nothing)()

    def fail(self, name: str, times: int) -> None:
        """Fail."""
        for _ in range(times):
            with contextlib.suppress(Broken), self._breaker(name):
                _raise()

    def known(self, name: str) -> int:
        """Return what this replica knows of the others' failures."""
        return self._breaker(name).snapshot().failed_calls

    def _breaker(self, name: str) -> CircuitBreaker:
        if name not in self._breakers:
            self._breakers[name] = CircuitBreaker(
                name=name, config=self._CONFIG, storage=self._storage
            )
        return self._breakers[name]


#: By their names: each call makes a replica on the Redis of the URL.
PEERS: dict[str, Callable[[str], Peer]] = {
    "pybreaker": Pybreaker,
    "purgatory": Purgatory,
    "interlock-cb": Interlock,
}


def _nothing() -> None:
    pass


def _raise() -> None:
    raise Broken
