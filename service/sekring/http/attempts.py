"""`/v1`: attempts and their outcomes, what gateways call all the time."""

from typing import Annotated, Any

from litestar import Controller, Request, post
from litestar.params import Body

from sekring.http.bodies import JsonBody
from sekring.http.examples import ADMISSION, ATTEMPT, BATCH, OUTCOME, VERDICT, VERDICTS, documented
from sekring.http.judging import judge_all
from sekring.http.options import NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.http.spans import tell
from sekring.model import Admission, Verdict
from sekring.tokens import Permission
from sekring.wire import AttemptBody, Batch, BatchAnswer, OutcomeBody

__all__ = ["Attempts"]


class Attempts(Controller):
    """Ask before connecting; say how it ended."""

    path = "/v1"
    tags = ["attempts"]
    opt = {NEEDS: Permission.REPORT}

    @post(
        "/instances/{instance_id:str}/attempts",
        operation_id="askPermit",
        summary="May this instance connect now?",
        status_code=200,
        responses=documented(Admission, ADMISSION, 400, 401, 403, 503),
        dto=JsonBody[AttemptBody],
        return_dto=None,
    )
    async def ask(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[AttemptBody, Body(examples=ATTEMPT)] = AttemptBody(),  # noqa: B008,
    ) -> Admission:
        """Answer 200 whether permitted or not.

        If permitted, wait `backoff_ms`, connect, and report the outcome with the `attempt_id`.
        If not, ask again after `retry_after_ms`; `null` means that only a person can help.
        """
        origin = origin_of(request, gateway=data.gateway)
        admission = await runtime.permits.permit(
            instance_id, origin, data.build, strong=data.strong
        )
        tell(admission)
        return admission

    @post(
        "/instances/{instance_id:str}/outcomes",
        operation_id="reportOutcome",
        summary="How an attempt, or a live connection, ended",
        status_code=200,
        responses=documented(Verdict, VERDICT, 400, 401, 403, 503),
        dto=JsonBody[OutcomeBody],
        return_dto=None,
    )
    async def report(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[OutcomeBody, Body(examples=OUTCOME)],
    ) -> Verdict:
        """Count a failure, credit a success, or end a connection.

        `why` says what became of the report:

        | why | meaning |
        |---|---|
        | `counted` | a failure inside the window, counted now |
        | `duplicate` | a report of that id was counted before |
        | `late` | permitted under an older epoch; nothing changed |
        | `stale` | older than the window; nothing was counted |
        | `open` | the breaker is open: suppressed, and the cooldown is not prolonged |
        | `permanent` | logged out, locked or banned: refused until a person acts |
        | `ban` | a temporary ban: open until it ends |
        | `build` | WhatsApp refuses this build of the gateway; the instance is not blamed |
        | `conflict` | another connection replaced this one; open for 30 to 90 s |
        | `ignored` | a kind that never counts |
        | `success` | connected; credited after `stable_after_ms` |
        | `disconnected` | ended on purpose |
        """
        origin = origin_of(request, gateway=data.gateway)
        verdict = await runtime.breaker.report(instance_id, data, origin)
        tell(verdict, data.kind)
        return verdict

    @post(
        "/outcomes",
        operation_id="reportOutcomes",
        summary="A batch of up to 1,000 outcomes",
        status_code=200,
        responses=documented(BatchAnswer, VERDICTS, 400, 401, 403, 413, 503),
        dto=JsonBody[Batch],
        return_dto=None,
    )
    async def report_many(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[Batch, Body(examples=BATCH)],
    ) -> BatchAnswer:
        """Answer each element in its place; a bad one does not spoil the rest.

        Elements of one instance are taken in the order of the batch. A client that permits by its
        own view, fed by `/v1/events`, says with the outcome `attempt` that one has begun.
        """
        return await judge_all(
            runtime, data.outcomes, lambda gateway: origin_of(request, gateway=gateway)
        )
