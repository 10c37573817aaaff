"""Steady load of permits and reports over some replicas, every call of it recorded.

It runs on an event loop in a thread of its own: a test starts it, does harm meanwhile, and looks at
the recording afterwards.
"""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from tests.httpwire import Connection, raw_request
from tests.recording import Call, Kind, Recording

__all__ = ["Load"]

#: After so many seconds an answer counts as none.
_PATIENCE_S = 20

#: A client that comes late, because answers do, catches up so much (s) and drops the rest of its
#: turns: a recovered service is not to be met by a wave of our making.
_CATCH_UP_S = 0.1

#: Between one instance's trip and the next one's, in seconds.
_TRIP_PAUSE_S = 0.3

#: Between one try to reset an instance and the next one, in seconds.
_RESET_PAUSE_S = 0.5


class Load:
    """`with Load(ports, instances) as load: …`, then `load.recording`.

    Permits and reports (failures of the kind `websocket`, each with an id of its own) take turns;
    replicas and instances go round. With `reads`, instances are looked at as well. With `trips`,
    each of these instances is tripped by one report of the kind `worker_crash` (the policy's
    weights must make that enough), and every second one is then reset, by another replica, until a
    reset is acknowledged or the load ends.
    """

    def __init__(
        self,
        ports: Sequence[int],
        instances: Sequence[str],
        *,
        trips: Sequence[str] = (),
        reads: bool = False,
        token: str | None = None,
        per_second: float = 120,
        clients: int = 32,
    ) -> None:
        """Prepare `clients` that make `per_second` calls together; nothing is sent yet."""
        self._ports = ports
        self._instances = instances
        self._trips = trips
        self._turn_of = (Kind.PERMIT, Kind.REPORT, Kind.READ)[: 3 if reads else 2]
        self._token = token
        self._pause_s = 1 / per_second
        self._clients = clients
        self._calls: list[Call] = []
        self._ending = False
        self._next_s = 0.0
        self._turns = itertools.count()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    @property
    def recording(self) -> Recording:
        """Every call that has ended so far."""
        return Recording(tuple(self._calls))

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; calls under way are waited for."""
        self._ending = True
        self._thread.join()
        if self._broken and error is None:
            raise self._broken

    def _run(self) -> None:
        try:
            asyncio.run(self._load())
        except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
            self._broken = error

    async def _load(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())
            group.create_task(self._operator())

    async def _client(self) -> None:
        with self._caller() as caller:
            while await self._its_turn():
                turn, place = divmod(next(self._turns), len(self._ports))
                turn, kind = divmod(turn, len(self._turn_of))
                name = self._instances[turn % len(self._instances)]
                port = self._ports[place]
                match self._turn_of[kind]:
                    case Kind.PERMIT:
                        await caller.permit(port, name)
                    case Kind.REPORT:
                        await caller.report(Kind.REPORT, port, name, "websocket")
                    case _:
                        await caller.read(port, name)

    async def _its_turn(self) -> bool:
        """Wait for the next moment of the schedule, which all clients share."""
        now = time.monotonic()
        self._next_s = max(self._next_s + self._pause_s, now - _CATCH_UP_S)
        await asyncio.sleep(max(0, self._next_s - now))
        return not self._ending

    async def _operator(self) -> None:
        with self._caller() as caller:
            async with asyncio.TaskGroup() as group:
                for number, name in enumerate(self._trips):
                    ports = self._from(number)
                    await caller.report(Kind.TRIP, next(ports), name, "worker_crash")
                    if number % 2 == 1:
                        group.create_task(self._reset(ports, name))
                    await asyncio.sleep(_TRIP_PAUSE_S)
                    if self._ending:
                        return

    async def _reset(self, ports: Iterator[int], name: str) -> None:
        with self._caller() as caller:
            for port in ports:
                done = await caller.reset(port, name)
                if done.acknowledged or self._ending:
                    return
                await asyncio.sleep(_RESET_PAUSE_S)

    def _caller(self) -> "_Caller":
        return _Caller(self._calls, self._token)

    def _from(self, place: int) -> Iterator[int]:
        ports = itertools.cycle(self._ports)
        return itertools.islice(ports, place % len(self._ports), None)


class _Caller:
    """One gateway or operator: calls, and writes down how it went."""

    _serial = itertools.count()

    def __init__(self, calls: list[Call], token: str | None) -> None:
        self._calls = calls
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._connections: dict[int, Connection] = {}

    async def permit(self, port: int, name: str) -> Call:
        return await self._call(Kind.PERMIT, port, name, f"/v1/instances/{name}/attempts", {})

    async def report(self, kind: Kind, port: int, name: str, failure: str) -> Call:
        report_id = f"{name}-{next(self._serial)}"
        body = {"outcome": "failure", "kind": failure, "id": report_id, "gateway": f"at-{port}"}
        return await self._call(kind, port, name, f"/v1/instances/{name}/outcomes", body)

    async def reset(self, port: int, name: str) -> Call:
        return await self._call(Kind.RESET, port, name, f"/v1/instances/{name}/reset", {})

    async def read(self, port: int, name: str) -> Call:
        return await self._call(Kind.READ, port, name, f"/v1/instances/{name}", None)

    async def _call(self, kind: Kind, port: int, name: str, path: str, body: Any) -> Call:
        if body is None:
            request = raw_request("GET", path, None, self._headers)
        else:
            request = raw_request("POST", path, json.dumps(body).encode(), self._headers)
        status, answer, error = None, {}, ""
        started = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if port not in self._connections:
                    self._connections[port] = await Connection.open(port)
                found = await self._connections[port].ask(request)
            status, answer = found.status, found.json
        except (OSError, EOFError, TimeoutError, ValueError) as broken:
            error = type(broken).__name__
            self._drop(port)
        ended = time.monotonic()
        report_id = (body or {}).get("id")
        call = Call(kind, name, report_id, port, started, ended, status, answer, error)
        self._calls.append(call)
        return call

    def _drop(self, port: int) -> None:
        if connection := self._connections.pop(port, None):
            connection.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for port in list(self._connections):
            self._drop(port)
