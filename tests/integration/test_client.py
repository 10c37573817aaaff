"""The client library against a real service, and against what is none."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from sekring.client import AsyncClient
from sekring.errors import (
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    SekringError,
    ServiceUnavailable,
)
from sekring.tokens import NewToken, Role
from sekring.wire import (
    AttemptBody,
    BatchItem,
    ClaimBody,
    HeldLease,
    OutcomeBody,
    Phase,
    PhaseBody,
    ReleaseBody,
    RenewBody,
)
from tests.gateways import sessions, wish
from tests.servers import RedisServer, free_port
from tests.serving import ServiceProcess

FAILURE = OutcomeBody(outcome="failure", detail="no route to host")


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis_process.url) as process:
        yield process


@pytest.fixture
async def client(
    process: ServiceProcess,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(process.url) as client:
        yield client


async def test_a_permit_and_its_outcome(client: AsyncClient) -> None:
    admission = await client.permit("s", AttemptBody(gateway="a", build="x/1"))
    assert admission.permitted

    verdict = await client.report(
        "s", OutcomeBody(outcome="failure", attempt_id=admission.attempt_id)
    )
    assert (verdict.counted, verdict.failures) == (True, 1)


@pytest.mark.parametrize("name", [".", "..", "a:b@c"])
async def test_every_name_of_an_instance_is_one_step_of_the_path(
    client: AsyncClient, name: str
) -> None:
    assert (await client.permit(name)).instance_id == name
    assert (await client.report(name, FAILURE)).instance_id == name


async def test_many_reports_are_answered_each_in_its_place(client: AsyncClient) -> None:
    good = BatchItem(instance_id="s", outcome="failure")
    bad = BatchItem(instance_id="no good", outcome="failure")

    first, second, third = await client.report_many([good, bad, good])

    assert (first.failures, third.failures) == (1, 2)
    assert second.error
    assert second.error.field == "instance_id"


async def test_a_lease_from_claim_to_release(client: AsyncClient, process: ServiceProcess) -> None:
    wish(process.url, ["s"])
    (lease,) = (await client.claim(ClaimBody(gateway="a", capacity=5, held=0))).leases
    held = HeldLease("s", lease.token)

    (renewed,) = (await client.renew(RenewBody(gateway="a", capacity=5, leases=[held]))).leases
    assert (renewed.held, renewed.wanted) == (True, True)
    body = PhaseBody(gateway="a", token=lease.token, phase=Phase.CONNECTING, detail="soon")
    assert await client.set_phase("s", body)
    assert sessions(process.url)["s"]["detail"] == "soon"
    assert await client.release(ReleaseBody(gateway="a", leases=[held])) == 1
    assert not await client.set_phase("s", body)


async def test_a_refusal_names_the_field(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput) as caught:
        await client.report("s", OutcomeBody(outcome="failure", code=401))

    assert caught.value.field == "protocol"
    with pytest.raises(InvalidInput):
        await client.permit("no good")


async def test_a_token_is_needed_where_there_are_tokens(redis_server: RedisServer) -> None:
    viewer, operator = (NewToken.make(str(role), role) for role in (Role.VIEWER, Role.OPERATOR))
    tokens = ",".join(f"{one.name}={one.role}:{one.hash}" for one in (viewer.entry, operator.entry))

    with ServiceProcess(redis_server.url, tokens=tokens) as service:
        async with AsyncClient(service.url) as nobody:
            with pytest.raises(NotAuthenticated):
                await nobody.permit("s")
        async with AsyncClient(service.url, viewer.token) as client:
            with pytest.raises(NotAllowed):
                await client.permit("s")
        async with AsyncClient(service.url, operator.token) as client:
            assert (await client.permit("s")).permitted


# ---------------------------------------------------------------------------- no answer


async def test_nobody_there_is_an_unavailable_service() -> None:
    async with AsyncClient(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(ServiceUnavailable, match="cannot be reached"):
            await client.permit("s")


async def test_one_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with AsyncClient(f"http://127.0.0.1:{silent.getsockname()[1]}") as client:
            began_s = time.monotonic()
            with pytest.raises(ServiceUnavailable, match=r"within 0\.3 s"):
                await client.permit("s", within_s=0.3)
            assert time.monotonic() - began_s < 5


async def test_an_answer_that_drips_is_given_up_in_time() -> None:
    """Each part of it comes soon; the deadline is for the whole."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with _server(answer, drip=True) as url, AsyncClient(url) as client:
        with pytest.raises(ServiceUnavailable, match=r"within 0\.5 s"):
            await client.permit("s", within_s=0.5)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nproxy",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
        (b"HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\nContent-Length: 53\r\n\r\n"
        b'{"type":"x","title":"y","status":503,"detail":"Away"}'),
    ],
)  # fmt: skip
async def test_what_the_service_would_not_say_is_an_unavailable_service(answer: bytes) -> None:
    async with _server(answer) as url, AsyncClient(url) as client:
        with pytest.raises(ServiceUnavailable):
            await client.permit("s", within_s=5)


async def test_a_caller_that_is_cancelled_leaves_no_broken_connection_behind(
    client: AsyncClient,
) -> None:
    for _ in range(40):
        task = asyncio.create_task(client.permit("s"))
        await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, SekringError):
            await task

    assert (await client.permit("s")).permitted


@contextlib.asynccontextmanager
async def _server(answer: bytes, *, drip: bool = False) -> AsyncIterator[str]:
    """Answer every request with these bytes; `drip`: and then a byte now and then."""
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        served.add(task)
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            while drip:
                await asyncio.sleep(0.05)
                writer.write(b" ")
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*served)
