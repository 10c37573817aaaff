"""A batch of outcomes: each element is judged by itself and answered in its place."""

import asyncio
from collections.abc import Callable

import msgspec

from sekring.errors import SekringError
from sekring.http.problems import problem_of
from sekring.http.runtime import Runtime
from sekring.http.spans import continued
from sekring.model import Admission, Origin
from sekring.wire import BatchAnswer, BatchItem, BatchResult

__all__ = ["judge_all"]

_item = msgspec.json.Decoder(BatchItem)


class _Named(msgspec.Struct):
    instance_id: str | None = None


async def judge_all(
    runtime: Runtime, batch: list[msgspec.Raw], origin: Callable[[str | None], Origin]
) -> BatchAnswer:
    """Take the elements of a batch, those of one instance in their order; a bad one spoils none.

    `origin` returns where an element comes from, given the gateway that it names.
    """
    breaker = runtime.breaker

    async def one(raw: msgspec.Raw) -> BatchResult:
        try:
            item = _item.decode(raw)
            with continued(runtime.tracing, item.traceparent) as span:
                if item.outcome == "attempt":
                    return _begun(await breaker.register(item, origin(item.gateway)))
                verdict = await breaker.report(item.instance_id, item, origin(item.gateway))
                if span:
                    span.tell(verdict, item.kind)
        except (SekringError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            return BatchResult(instance_id=_name_in(raw), error=problem_of(error))
        return BatchResult(**{name: getattr(verdict, name) for name in verdict.__struct_fields__})

    return BatchAnswer(await asyncio.gather(*map(one, batch)))


def _begun(admission: Admission) -> BatchResult:
    return BatchResult(
        instance_id=admission.instance_id,
        permitted=admission.permitted,
        state=admission.state,
        failures=admission.failures,
        retry_after_ms=admission.retry_after_ms,
        epoch=admission.epoch,
        degraded=admission.degraded,
    )


def _name_in(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=_Named).instance_id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
