"""The API of the breaker service as coroutines: attempts, outcomes, leases, errands."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sekring import __version__
from sekring.client.transport import Transport
from sekring.model import Admission, Verdict
from sekring.wire import (
    AttemptBody,
    Batch,
    BatchAnswer,
    BatchItem,
    BatchResult,
    ClaimAnswer,
    ClaimBody,
    Errand,
    ErrandOutcome,
    ErrandsAnswer,
    ErrandsBody,
    GatewayItem,
    GatewayList,
    OutcomeBody,
    OutcomeTaken,
    PhaseAnswer,
    PhaseBody,
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


def _of(instance_id: str, what: str) -> str:
    return f"/v1/instances/{_step(instance_id)}/{what}"


def _lease(instance_id: str, what: str) -> str:
    return f"/v1/leases/{_step(instance_id)}/{what}"


def _step(name: str) -> str:
    """Return a name as one step of a path."""
    # `.` and `..` are fine names, and other steps unless they are quoted.
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
