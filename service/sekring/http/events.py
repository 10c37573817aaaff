"""`/v1/events`: every transition, as it happens."""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Annotated

import msgspec
import structlog
from litestar import Controller, get
from litestar.params import Parameter

from sekring.cursor import Cursor
from sekring.errors import InvalidInput
from sekring.feed import Feed, Gap
from sekring.http.examples import EVENTS, documented
from sekring.http.options import DEADLINE_S, NEEDS, NO_DEADLINE
from sekring.http.runtime import Runtime
from sekring.http.sse import EventStream, comment, frame
from sekring.model import Filter, State
from sekring.store.streams import Event
from sekring.subscription import Message, Subscription
from sekring.tokens import Permission
from sekring.wire import AliveNotice, FeedName, GapNotice

__all__ = ["Events"]

#: How long a client waits before it comes back, in ms.
_RETRY_MS = 2_000

_MEDIA_TYPE = "text/event-stream"

_log = structlog.get_logger(__name__)


class Events(Controller):
    """The live feed."""

    path = "/v1/events"
    tags = ["events"]
    opt = {NEEDS: Permission.READ, DEADLINE_S: NO_DEADLINE}

    @get(
        operation_id="streamEvents",
        summary="Transitions as they happen (Server-Sent Events)",
        media_type=_MEDIA_TYPE,
        responses=documented(str, EVENTS, 400, 401, 403, 503, media_type=_MEDIA_TYPE),
    )
    async def stream(
        self,
        *,
        runtime: Runtime,
        instances: Annotated[
            list[FeedName] | None,
            Parameter(
                query="instance_id",
                max_items=100,
                description="Only those of this instance; `*` stands for the events of the whole "
                "fleet. May be repeated.",
            ),
        ] = None,
        states: Annotated[
            list[State] | None,
            Parameter(
                query="state",
                max_items=len(State),
                description="Only those that lead to this state. May be repeated.",
            ),
        ] = None,
        resumed: Annotated[
            str | None,
            Parameter(header="Last-Event-ID", description="Where the client was cut off."),
        ] = None,
        asked: Annotated[
            str | None,
            Parameter(query="last_event_id", description="The same, for clients without headers."),
        ] = None,
        alive_ms: Annotated[
            int | None,
            Parameter(
                ge=100,
                le=600_000,
                description="Send an event `alive` so often, which says up to when all is told: "
                "for who goes by what he has seen. Without it, comments only.",
            ),
        ] = None,
    ) -> EventStream:
        """Stay connected, and come back with the last `id` when the connection ends.

        With that `id`, every transition since comes once, whichever replica answers; without one,
        those from now on. Transitions of one instance are in order, others nearly. An event `gap`
        says that Redis no longer holds all that there was. Comments, with an `id` at times, are
        sent while nothing happens. An event `alive`, for who asked for it, says that everything
        that happened until `proven_ms` was sent; its times are by the replica's own clock, only
        differences tell something. With another `keyspace`, everything is another.
        """
        cursor = _cursor(runtime.feed, "Last-Event-ID", resumed)
        cursor = cursor or _cursor(runtime.feed, "last_event_id", asked)
        wanted = Filter(frozenset(instances or ()), frozenset(states or ()))
        subscription = Subscription(runtime.feed, wanted, cursor)
        since_ms = round(time.monotonic() * 1000)
        heartbeat_ms = alive_ms or runtime.settings.events_heartbeat_ms

        def alive() -> bytes:
            return b"" if alive_ms is None else _alive(runtime.keyspace_id, since_ms, subscription)

        frames = _frames(runtime, subscription, heartbeat_ms / 1000, alive)
        return EventStream(frames, subscription.ended)


def _cursor(feed: Feed, field: str, text: str | None) -> Cursor | None:
    if not text:
        return None
    try:
        return Cursor.decode(text, feed.streams.partitions)
    except ValueError:
        raise InvalidInput(
            f"{field} is not an id that this stream gave: leave it out to begin with what happens "
            "from now on, or read GET /v1/instances/ID/history for what has happened.",
            field,
        ) from None


async def _frames(
    runtime: Runtime, subscription: Subscription, heartbeat_s: float, alive: Callable[[], bytes]
) -> AsyncGenerator[bytes, None]:
    yield comment("transitions of Sekring's circuit breakers", retry_ms=_RETRY_MS)
    feed, streams = runtime.feed, runtime.instruments.event_streams
    if feed.closing:
        return
    streams[()] += 1
    try:
        async with subscription.open():
            _log.debug("event stream opened", listeners=feed.listeners)
            heartbeat_due_s = time.monotonic() + heartbeat_s
            while True:
                message = await subscription.next(max(0.0, heartbeat_due_s - time.monotonic()))
                if subscription.ended.is_set():
                    return
                if message is not None:
                    yield _frame(message)
                # Also where there is always something to tell: who waits for proof gets it.
                if message is None or time.monotonic() >= heartbeat_due_s:
                    heartbeat_due_s = time.monotonic() + heartbeat_s
                    yield _heartbeat(subscription) + alive()
    finally:
        streams[()] -= 1
        _log.debug("event stream ended", listeners=feed.listeners)


def _heartbeat(subscription: Subscription) -> bytes:
    return comment("heartbeat") + frame(None, None, subscription.cursor())


def _alive(keyspace: str | None, since_ms: int, subscription: Subscription) -> bytes:
    proof = subscription.proof()
    if keyspace is None or proof is None:
        return b""
    notice = AliveNotice(
        keyspace=keyspace,
        since_ms=since_ms,
        sent_ms=round(time.monotonic() * 1000),
        proven_ms=int(proof.at_s * 1000),
        redis_ms=proof.redis_ms,
    )
    return frame("alive", msgspec.json.encode(notice), None)


def _frame(message: Message) -> bytes:
    match message.content:
        case Event(transition=transition):
            return frame("transition", msgspec.json.encode(transition), message.cursor)
        case Gap() as gap:
            notice = GapNotice(
                partition=gap.partition,
                after_ms=gap.after.ms,
                until_ms=gap.until.ms,
                lost=gap.lost,
            )
            return frame("gap", msgspec.json.encode(notice), message.cursor)
        case None:
            return frame(None, None, message.cursor)
