"""The API of the breaker service as coroutines: attempts, outcomes, reads, leases, errands."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sekring import __version__
from sekring.client.tracing import Tracing, tracing
from sekring.client.transport import Route, Transport
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
        traced_by: Tracing | None = None,
    ) -> None:
        """Prepare it; nothing is sent yet. Calls are traced by OpenTelemetry's API, or otherwise.

        `traced_by` is for a caller that has a tracing of its own.
        """
        self._within_s = within_s
        self._transport = Transport(
            url,
            token,
            connections=connections,
            agent=f"sekring-client/{__version__}",
            tracing=traced_by or tracing(__version__),
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
        route = Route.of("/v1/instances/{instance_id}/attempts", instance_id=instance_id)
        return await self._send("POST", route, Admission, body, within_s)

    async def report(
        self, instance_id: str, body: OutcomeBody, *, within_s: float | None = None
    ) -> Verdict:
        """Say how an attempt, or a live connection, ended."""
        route = Route.of("/v1/instances/{instance_id}/outcomes", instance_id=instance_id)
        return await self._send("POST", route, Verdict, body, within_s)

    async def report_many(
        self, items: Sequence[BatchItem], *, within_s: float | None = None
    ) -> list[BatchResult]:
        """Say how up to 1,000 of them ended; those of one instance are taken in their order."""
        batch = Batch([msgspec.Raw(msgspec.json.encode(item)) for item in items])
        answer = await self._send("POST", Route.of("/v1/outcomes"), BatchAnswer, batch, within_s)
        return answer.results

    # ------------------------------------------------------------------------------- reading

    async def instance(self, instance_id: str, *, within_s: float | None = None) -> Snapshot:
        """Return an instance as it stands."""
        route = Route.of("/v1/instances/{instance_id}", instance_id=instance_id)
        return await self._send("GET", route, Snapshot, None, within_s)

    async def instances(
        self, state: State, cursor: str | None = None, *, within_s: float | None = None
    ) -> InstancePage:
        """Return some of the instances in that state, and the cursor of those behind them."""
        query = f"?state={state}&limit=1000"
        query += f"&cursor={quote(cursor, safe='')}" if cursor else ""
        return await self._send(
            "GET", Route.of("/v1/instances", query), InstancePage, None, within_s
        )

    async def policy(
        self, instance_id: str | None = None, *, within_s: float | None = None
    ) -> PolicyAnswer:
        """Return the fleet's policy, or the one in force for an instance."""
        route = Route.of("/v1/policy")
        if instance_id is not None:
            route = Route.of("/v1/instances/{instance_id}/policy", instance_id=instance_id)
        return await self._send("GET", route, PolicyAnswer, None, within_s)

    async def fleet_guard(self, *, within_s: float | None = None) -> GuardAnswer:
        """Return the fleet guard."""
        return await self._send("GET", Route.of("/v1/guard"), GuardAnswer, None, within_s)

    async def refused_builds(self, *, within_s: float | None = None) -> list[str]:
        """Return the gateway builds that are refused."""
        answer = await self._send("GET", Route.of("/v1/builds"), BuildList, None, within_s)
        return [item.build for item in answer.builds]

    def events(
        self, alive_ms: int, last_id: str | None, *, within_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the stream of transitions, which proves every `alive_ms` up to when it told all."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        route = Route.of("/v1/events", f"?alive_ms={alive_ms}")
        return self._transport.stream(route, headers, within_s=within_s or self._within_s)

    # ------------------------------------------------------------------------------- leases

    async def claim(self, body: ClaimBody, *, within_s: float | None = None) -> ClaimAnswer:
        """Ask for sessions to own."""
        return await self._send("POST", Route.of("/v1/leases/claim"), ClaimAnswer, body, within_s)

    async def renew(self, body: RenewBody, *, within_s: float | None = None) -> RenewAnswer:
        """Say that this gateway lives and what it owns; each lease lasts on from the sending."""
        return await self._send("POST", Route.of("/v1/leases/renew"), RenewAnswer, body, within_s)

    async def release(self, body: ReleaseBody, *, within_s: float | None = None) -> int:
        """Give sessions back, nothing of which is left; return how many were the gateway's own."""
        answer = await self._send(
            "POST", Route.of("/v1/leases/release"), ReleaseAnswer, body, within_s
        )
        return answer.released

    async def set_phase(
        self, instance_id: str, body: PhaseBody, *, within_s: float | None = None
    ) -> bool:
        """Say where a session stands; return whether the lease is still the gateway's."""
        route = Route.of("/v1/leases/{instance_id}/phase", instance_id=instance_id)
        return (await self._send("PUT", route, PhaseAnswer, body, within_s)).held

    async def put_qr(
        self, instance_id: str, body: QrBody, *, within_s: float | None = None
    ) -> bool:
        """Show a QR code; return whether the lease is still the gateway's."""
        route = Route.of("/v1/leases/{instance_id}/qr", instance_id=instance_id)
        return (await self._send("PUT", route, PhaseAnswer, body, within_s)).held

    async def gateways(self, *, within_s: float | None = None) -> list[GatewayItem]:
        """Return the gateways that live."""
        answer = await self._send("GET", Route.of("/v1/gateways"), GatewayList, None, within_s)
        return answer.gateways

    # ------------------------------------------------------------------------------ errands

    async def errands(
        self, gateway: str, body: ErrandsBody, *, within_s: float | None = None
    ) -> list[Errand]:
        """Ask what there is to do, and wait for it as long as `body` says."""
        within_s = within_s or body.wait_ms / 1000 + _POLL_GRACE_S
        route = Route.of("/v1/gateways/{gateway}/errands", gateway=gateway)
        return (await self._send("POST", route, ErrandsAnswer, body, within_s)).errands

    async def answer_errand(
        self, errand_id: str, outcome: ErrandOutcome, *, within_s: float | None = None
    ) -> bool:
        """Say what came of an errand; return whether somebody still waited for that."""
        route = Route.of("/v1/errands/{errand_id}", errand_id=errand_id)
        return (await self._send("POST", route, OutcomeTaken, outcome, within_s)).awaited

    async def _send(
        self,
        method: str,
        route: Route,
        answer: type[T],
        body: Struct | None,
        within_s: float | None,
    ) -> T:
        within_s = within_s or self._within_s
        return await self._transport.send(method, route, answer, body, within_s=within_s)
