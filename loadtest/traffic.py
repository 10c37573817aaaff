"""A bit of everything that a service lives through, without pause, from threads of this process.

Gateways ask, connect and fail; others trip instances, an operator resets them, and readers of the
event stream come and go. The instances are always the same, so that nothing has a reason to grow.
"""

import http.client
import itertools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec

from loadtest.stage import Served

__all__ = ["Traffic"]

#: Instances that come and go, and those that are tripped again and again.
_QUIET = [f"quiet-{number:04}" for number in range(400)]
_TRIPPED = [f"tripped-{number:04}" for number in range(40)]

_GATEWAYS, _READERS = 3, 5

#: How long a reader of events stays, in seconds, at least and at most.
_READS_S = (0.2, 3.0)

_PATIENCE_S = 30


class Traffic:
    """`with Traffic(service) as traffic: …`; afterwards `traffic.calls`, `traffic.errors`."""

    def __init__(self, service: Served) -> None:
        """Prepare; nothing is sent yet."""
        self.calls = 0
        #: What was not answered as it should be.
        self.errors: list[str] = []
        self._service = service
        self._ending = threading.Event()
        self._ids = itertools.count()
        work = [self._gateway] * _GATEWAYS + [self._tripper, self._operator]
        self._threads = [threading.Thread(target=self._run, args=[one]) for one in work]
        self._threads += [threading.Thread(target=self._read) for _ in range(_READERS)]

    def __enter__(self) -> Self:
        """Have every instance known, and begin."""
        caller = _Caller(self._service)
        self._fail(caller, _QUIET)
        for name in _TRIPPED:
            self._fail(caller, [name] * 15)
        caller.close()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; calls under way are waited for."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[["_Caller"], None]) -> None:
        caller = _Caller(self._service)
        while not self._ending.is_set():
            try:
                work(caller)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.errors.append(repr(error))
                caller.close()
                self._ending.wait(0.1)
            self.calls += caller.take_count()
        caller.close()

    def _gateway(self, caller: "_Caller") -> None:
        name = random.choice(_QUIET)  # noqa: S311 - a load
        admission = caller.post(f"/v1/instances/{name}/attempts", {"gateway": "gateway-1"})
        if admission["permitted"]:
            # A fifth fails, which never opens a breaker: successes come between.
            failed = random.random() < 0.2  # noqa: S311 - a load
            outcome = {"outcome": "failure", "kind": "websocket"} if failed else {}
            body = {"outcome": "success", "attempt_id": admission["attempt_id"], **outcome}
            caller.post(f"/v1/instances/{name}/outcomes", body)

    def _tripper(self, caller: "_Caller") -> None:
        self._fail(caller, [random.choice(_TRIPPED)] * 15)  # noqa: S311 - a load

    def _fail(self, caller: "_Caller", names: Sequence[str]) -> None:
        outcomes = [
            {
                "instance_id": name,
                "outcome": "failure",
                "kind": "websocket",
                "id": f"soak-{next(self._ids)}",
                "gateway": "gateway-2",
            }
            for name in names
        ]
        caller.post("/v1/outcomes", {"outcomes": outcomes})

    def _operator(self, caller: "_Caller") -> None:
        name = random.choice(_TRIPPED)  # noqa: S311 - a load
        caller.post(f"/v1/instances/{name}/reset", {"reason": "soak"})
        self._ending.wait(0.02)

    def _read(self) -> None:
        while not self._ending.is_set():
            stays_s = random.uniform(*_READS_S)  # noqa: S311 - a load
            connection = self._service.connect(_PATIENCE_S)
            try:
                connection.request("GET", "/v1/events", headers=self._service.headers)
                if (status := connection.getresponse().status) != 200:
                    self.errors.append(f"/v1/events: {status}")
                self._ending.wait(stays_s)
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(f"/v1/events: {error!r}")
                self._ending.wait(0.1)
            finally:
                connection.close()


class _Caller:
    """One keep-alive connection."""

    def __init__(self, service: Served) -> None:
        self._service = service
        self._connection = service.connect(_PATIENCE_S)
        self._count = 0

    def post(self, path: str, body: object) -> dict[str, Any]:
        """Post, and return the answer; raises `ValueError` if it is not one of success."""
        headers = self._service.headers | {"Content-Type": "application/json"}
        self._connection.request("POST", path, msgspec.json.encode(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._count += 1
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status} {content.decode(errors='replace')[:200]}")
        found: dict[str, Any] = msgspec.json.decode(content)
        return found

    def take_count(self) -> int:
        """Return how many calls there were since the last time."""
        count, self._count = self._count, 0
        return count

    def close(self) -> None:
        """Close; the next call opens again."""
        self._connection.close()
