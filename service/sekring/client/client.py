"""The API of the breaker service as coroutines: attempts, outcomes, reads, leases, errands."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sekring import __version__
from sekring.client.transport import Transport
from sekring.model import Admission, Snapshot, State, Verdict
from sekring.wire import (
    AttemptBody,
    Batch,
    BatchAnswer,
    BatchItem,
    BatchResult,
    BuildList,
    ClaimAnswer,
    ClaimBody,
    Errand,
    ErrandOutcome,
    ErrandsAnswer,
    ErrandsBody,
    GatewayItem,
    GatewayList,
    GuardAnswer,
    InstancePage,
    OutcomeBody,
    OutcomeTaken,
    PhaseAnswer,
    PhaseBody,
    PolicyAnswer,
    QrBody,
    ReleaseAnswer,
    ReleaseBody,
    RenewAnswer,
    RenewBody,
)

__all__ = ["AsyncClient"]

#: How long a request may take, in seconds: what the service gives itself, and a little.
_WITHIN_S = 6.0

#: How many requests are on the way at a time; others wait, and their deadline runs.
_CONNECTIONS = 32

#: What a long poll may take longer than it was told to wait, in seconds.
_POLL_GRACE_S = 10.0

T = TypeVar("T")


class AsyncClient:
    """One service; `async with AsyncClient(url, token) as client: await client.permit(…)`.

    Every method has a deadline (`within_s`, seconds; by default the client's own), and may raise

    - `ServiceUnavailable`: no answer in time, or none that the service gives (5xx included): it is
      not known whether anything was done;
    - `InvalidInput`, `NotAuthenticated`, `NotAllowed`, `NotFound`, `Refused`: the service's own
      refusal; nothing was done.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        within_s: float = _WITHIN_S,
        connections: int = _CONNECTIONS,
    ) -> None:
        """Prepare it; nothing is sent yet."""
        self._within_s = within_s
        self._transport = Transport(
            url, token, connections=connections, agent=f"sekring-client/{__version__}"
        )

    async def __aenter__(self) -> Self:
        """Use it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        await self._transport.close()

    # ---------------------------------------------------------------- attempts and outcomes

    async def permit(
        self,
        instance_id: str,
        body: AttemptBody = AttemptBody(),  # noqa: B008 - immutable
        *,
        within_s: float | None = None,
    ) -> Admission:
        """Ask whether the instance may connect now."""
        return await self._send("POST", _of(instance_id, "attempts"), Admission, body, within_s)

    async def report(
        self, instance_id: str, body: OutcomeBody, *, within_s: float | None = None
    ) -> Verdict:
        """Say how an attempt, or a live connection, ended."""
        return await self._send("POST", _of(instance_id, "outcomes"), Verdict, body, within_s)

    async def report_many(
        self, items: Sequence[BatchItem], *, within_s: float | None = None
    ) -> list[BatchResult]:
        """Say how up to 1,000 of them ended; those of one instance are taken in their order."""
        batch = Batch([msgspec.Raw(msgspec.json.encode(item)) for item in items])
        answer = await self._send("POST", "/v1/outcomes", BatchAnswer, batch, within_s)
        return answer.results

    # ------------------------------------------------------------------------------- reading

    async def instance(self, instance_id: str, *, within_s: float | None = None) -> Snapshot:
        """Return an instance as it stands."""
        return await self._send("GET", _of(instance_id), Snapshot, None, within_s)

    async def instances(
        self, state: State, cursor: str | None = None, *, within_s: float | None = None
    ) -> InstancePage:
        """Return some of the instances in that state, and the cursor of those behind them."""
        path = f"/v1/instances?state={state}&limit=1000"
        path += f"&cursor={quote(cursor, safe='')}" if cursor else ""
        return await self._send("GET", path, InstancePage, None, within_s)

    async def policy(
        self, instance_id: str | None = None, *, within_s: float | None = None
    ) -> PolicyAnswer:
        """Return the fleet's policy, or the one in force for an instance."""
        path = "/v1/policy" if instance_id is None else _of(instance_id, "policy")
        return await self._send("GET", path, PolicyAnswer, None, within_s)

    async def fleet_guard(self, *, within_s: float | None = None) -> GuardAnswer:
        """Return the fleet guard."""
        return await self._send("GET", "/v1/guard", GuardAnswer, None, within_s)

    async def refused_builds(self, *, within_s: float | None = None) -> list[str]:
        """Return the gateway builds that are refused."""
        answer = await self._send("GET", "/v1/builds", BuildList, None, within_s)
        return [item.build for item in answer.builds]

    def events(
        self, alive_ms: int, last_id: str | None, *, within_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the stream of transitions, which proves every `alive_ms` up to when it told all."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        path = f"/v1/events?alive_ms={alive_ms}"
        return self._transport.stream(path, headers, within_s=within_s or self._within_s)

    # ------------------------------------------------------------------------------- leases

    async def claim(self, body: ClaimBody, *, within_s: float | None = None) -> ClaimAnswer:
        """Ask for sessions to own."""
        return await self._send("POST", "/v1/leases/claim", ClaimAnswer, body, within_s)

    async def renew(self, body: RenewBody, *, within_s: float | None = None) -> RenewAnswer:
        """Say that this gateway lives and what it owns; each lease lasts on from the sending."""
        return await self._send("POST", "/v1/leases/renew", RenewAnswer, body, within_s)

    async def release(self, body: ReleaseBody, *, within_s: float | None = None) -> int:
        """Give sessions back, nothing of which is left; return how many were the gateway's own."""
        answer = await self._send("POST", "/v1/leases/release", ReleaseAnswer, body, within_s)
        return answer.released

    async def set_phase(
        self, instance_id: str, body: PhaseBody, *, within_s: float | None = None
    ) -> bool:
        """Say where a session stands; return whether the lease is still the gateway's."""
        path = _lease(instance_id, "phase")
        return (await self._send("PUT", path, PhaseAnswer, body, within_s)).held

    async def put_qr(
        self, instance_id: str, body: QrBody, *, within_s: float | None = None
    ) -> bool:
        """Show a QR code; return whether the lease is still the gateway's."""
        path = _lease(instance_id, "qr")
        return (await self._send("PUT", path, PhaseAnswer, body, within_s)).held

    async def gateways(self, *, within_s: float | None = None) -> list[GatewayItem]:
        """Return the gateways that live."""
        answer = await self._send("GET", "/v1/gateways", GatewayList, None, within_s)
        return answer.gateways

    # ------------------------------------------------------------------------------ errands

    async def errands(
        self, gateway: str, body: ErrandsBody, *, within_s: float | None = None
    ) -> list[Errand]:
        """Ask what there is to do, and wait for it as long as `body` says."""
        within_s = within_s or body.wait_ms / 1000 + _POLL_GRACE_S
        path = f"/v1/gateways/{_step(gateway)}/errands"
        return (await self._send("POST", path, ErrandsAnswer, body, within_s)).errands

    async def answer_errand(
        self, errand_id: str, outcome: ErrandOutcome, *, within_s: float | None = None
    ) -> bool:
        """Say what came of an errand; return whether somebody still waited for that."""
        path = f"/v1/errands/{_step(errand_id)}"
        return (await self._send("POST", path, OutcomeTaken, outcome, within_s)).awaited

    async def _send(
        self, method: str, path: str, answer: type[T], body: Struct | None, within_s: float | None
    ) -> T:
        within_s = within_s or self._within_s
        return await self._transport.send(method, path, answer, body, within_s=within_s)


def _of(instance_id: str, what: str = "") -> str:
    return f"/v1/instances/{_step(instance_id)}" + (what and f"/{what}")


def _lease(instance_id: str, what: str) -> str:
    return f"/v1/leases/{_step(instance_id)}/{what}"


def _step(name: str) -> str:
    """Return a name as one step of a path."""
    # `.` and `..` are fine names, and other steps unless they are quoted.
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
