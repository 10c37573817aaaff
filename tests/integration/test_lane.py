"""The way to one node: one round trip a tick, deadlines, evidence of its loss, and URLs."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sekring.errors import StoreUnavailable
from sekring.model import Verdict
from sekring.store.contract import PermitRequest, ReportRequest, SnapshotRequest
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect
from tests.servers import SERVICE_LOGIN, RedisServer, free_port


def a_failure(instance_id: str, report_id: str) -> ReportRequest:
    return ReportRequest(
        instance_id=instance_id, id=report_id, outcome="failure", effect=Effect.COUNT, kind="dns"
    )


KEY = Keyspace().policies(0)


async def available(link: RedisLink, key: str, *, wanted: bool = True) -> None:
    """Wait until `key` is available, or is not."""
    deadline = time.monotonic() + 20
    while link.available(key) is not wanted:
        assert time.monotonic() < deadline, f"waited 20 s for available({key}) to be {wanted}"
        await asyncio.sleep(0.01)


def reads_from_clients(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("stats")["total_reads_processed"])


async def test_calls_of_one_tick_share_one_round_trip(
    redis_server: RedisServer, scripts: Scripts
) -> None:
    await scripts.permit(PermitRequest(instance_id="warm-up"))
    await scripts.report(a_failure("warm-up", "r"))
    before = reads_from_clients(redis_server)
    answers = await asyncio.gather(
        *(scripts.permit(PermitRequest(instance_id=f"i{n}")) for n in range(20)),
        *(scripts.report(a_failure(f"i{n}", "r")) for n in range(20)),
    )
    # Redis reads at most 16 KiB at once, and the client that counts is read as well.
    assert reads_from_clients(redis_server) - before < 10
    assert len(answers) == 40


async def test_calls_reach_redis_in_the_order_in_which_they_were_made(scripts: Scripts) -> None:
    verdicts = await asyncio.gather(*(scripts.report(a_failure("a", f"r{n}")) for n in range(700)))
    assert [v.failures for v in verdicts[:15]] == list(range(1, 16))
    assert [v.tripped for v in verdicts].index(True) == 14


async def pile_up(
    server: RedisServer, scripts: Scripts, heaps: Sequence[Sequence[ReportRequest]]
) -> list[asyncio.Future[list[Verdict]]]:
    """Freeze the server and report heap after heap: two are on their way then, others wait."""
    server.signal(signal.SIGSTOP)
    reported = []
    for heap in heaps:
        reported.append(asyncio.gather(*map(scripts.report, heap)))
        await asyncio.sleep(0.01)
    return reported


async def test_calls_keep_their_order_over_the_turns_that_are_under_way(
    redis_server: RedisServer, keyspace: Keyspace
) -> None:
    link = RedisLink(redis_server.url, timeout_ms=10_000)
    scripts = Scripts(link, keyspace)
    await scripts.report(a_failure("a", "r0"))
    heaps = [[a_failure("a", f"r{heap}-{n}") for n in range(40)] for heap in range(5)]
    reported = await pile_up(redis_server, scripts, heaps)
    redis_server.signal(signal.SIGCONT)
    verdicts = [verdict for heap in reported for verdict in await heap]
    assert [verdict.failures for verdict in verdicts[:14]] == list(range(2, 16))
    assert [verdict.tripped for verdict in verdicts].index(True) == 13
    await link.close()


async def test_a_line_that_breaks_loses_no_call_of_its_turns(
    redis_server: RedisServer, keyspace: Keyspace
) -> None:
    link = RedisLink(redis_server.url, timeout_ms=10_000)
    scripts = Scripts(link, keyspace)
    await scripts.report(a_failure("a", "r0"))
    heaps = [[a_failure(f"b{heap}", f"r{n}") for n in range(12)] for heap in range(3)]
    reported = await pile_up(redis_server, scripts, heaps)
    with redis_server.client() as client:
        redis_server.signal(signal.SIGCONT)
        client.client_kill_filter(_type="normal", skipme=True)
    for heap in reported:
        # Run twice perhaps, counted once, in their order.
        assert [verdict.failures for verdict in await heap] == list(range(1, 13))
    await link.close()


async def test_a_flushed_script_cache_heals_itself(
    redis_server: RedisServer, scripts: Scripts
) -> None:
    await scripts.report(a_failure("a", "r1"))
    with redis_server.client() as client:
        client.function_flush()
    verdicts = await asyncio.gather(*(scripts.report(a_failure("a", f"r{n}")) for n in (2, 3)))
    assert [v.failures for v in verdicts] == [2, 3]


async def test_a_restarted_server_is_found_again(tmp_path: Path, keyspace: Keyspace) -> None:
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    link = RedisLink(server.url, timeout_ms=2_000)
    scripts = Scripts(link, keyspace)
    with server:
        await scripts.report(a_failure("a", "r1"))
    with pytest.raises(StoreUnavailable):
        await scripts.report(a_failure("a", "r2"))
    with server:
        await available(link, KEY)
        verdict = await scripts.report(a_failure("a", "r3"))
        assert verdict.failures == 2
        await link.close()


async def test_a_call_to_a_frozen_server_ends_at_its_deadline_and_no_answer_is_mixed_up(
    tmp_path: Path, keyspace: Keyspace
) -> None:
    with RedisServer(tmp_path) as server:
        link = RedisLink(server.url, timeout_ms=1_000)
        scripts = Scripts(link, keyspace)
        await scripts.report(a_failure("a", "r1"))
        server.signal(signal.SIGSTOP)
        failed = await asyncio.gather(
            *(scripts.report(a_failure("a", f"late-{n}")) for n in range(10)),
            return_exceptions=True,
        )
        assert all(isinstance(error, StoreUnavailable) for error in failed)
        server.signal(signal.SIGCONT)
        await available(link, KEY)
        for n in range(20):
            name = f"other-{n}"
            reading, verdict = await asyncio.gather(
                scripts.snapshot(SnapshotRequest(instance_id=name)),
                scripts.report(a_failure(name, "r")),
            )
            assert reading.snapshot.instance_id == verdict.instance_id == name
        await link.close()


async def test_one_broken_connection_is_no_evidence(
    redis_server: RedisServer, link: RedisLink, scripts: Scripts
) -> None:
    for n in range(1, 9):
        with redis_server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert (await scripts.report(a_failure("a", f"r{n}"))).failures == n
        assert link.available(KEY)


async def test_one_missed_deadline_is_no_evidence(tmp_path: Path, keyspace: Keyspace) -> None:
    with RedisServer(tmp_path) as server:
        link = RedisLink(server.url, timeout_ms=500)
        scripts = Scripts(link, keyspace)
        await scripts.report(a_failure("a", "r1"))
        server.signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match="did not answer within 500 ms"):
            await scripts.report(a_failure("a", "r2"))
        server.signal(signal.SIGCONT)
        assert link.available(KEY)
        # Sent twice perhaps, counted once.
        assert (await scripts.report(a_failure("a", "r3"))).failures in {2, 3}
        await link.close()


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_lost_server_is_known_to_be_lost_until_it_is_back(
    tmp_path: Path, keyspace: Keyspace, fault: signal.Signals
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    link = RedisLink(server.url, timeout_ms=500)
    changes: list[bool] = []
    link.on_availability(lambda: changes.append(link.available(KEY)))
    scripts = Scripts(link, keyspace)
    await scripts.permit(PermitRequest(instance_id="a"))
    if fault is signal.SIGKILL:
        server.kill()
    else:
        server.signal(fault)
    waiting = [
        asyncio.create_task(scripts.permit(PermitRequest(instance_id=f"i{n}"))) for n in range(50)
    ]
    for task in waiting:
        with pytest.raises(StoreUnavailable):
            await task
    assert changes == [False]
    before_s = time.monotonic()
    for _ in range(50):
        with pytest.raises(StoreUnavailable, match="Redis cannot be reached"):
            await scripts.permit(PermitRequest(instance_id="b"))
    # One that waited would have taken half a second.
    assert time.monotonic() - before_s < 0.5
    server.revive()
    await available(link, KEY)
    assert changes == [False, True]
    assert (await scripts.permit(PermitRequest(instance_id="c"))).permitted
    await link.close()
    server.stop()


async def test_a_server_that_serves_only_reads_is_waited_for_and_then_given_up(
    tmp_path: Path, keyspace: Keyspace
) -> None:
    with RedisServer(tmp_path / "a") as server, RedisServer(tmp_path / "b") as other:
        link = RedisLink(server.url, timeout_ms=300)
        scripts = Scripts(link, keyspace)
        await scripts.report(a_failure("a", "r1"))
        with server.client() as client:
            client.replicaof("127.0.0.1", str(other.port))
            with pytest.raises(StoreUnavailable):
                await scripts.report(a_failure("a", "r2"))
            await available(link, KEY, wanted=False)
            with pytest.raises(StoreUnavailable, match=r"Redis (takes no calls|cannot be reached)"):
                await scripts.report(a_failure("a", "r3"))
            client.replicaof("NO", "ONE")
        await available(link, KEY)
        waited = asyncio.gather(*(scripts.report(a_failure("b", f"r{n}")) for n in range(20)))
        assert [verdict.failures for verdict in await waited][:15] == list(range(1, 16))
        await link.close()


async def test_calls_wait_for_a_short_interruption_in_their_order(
    tmp_path: Path, keyspace: Keyspace
) -> None:
    with RedisServer(tmp_path / "a") as server, RedisServer(tmp_path / "b") as other:
        link = RedisLink(server.url, timeout_ms=5_000)
        scripts = Scripts(link, keyspace)
        await scripts.report(a_failure("b", "warm-up"))
        with server.client() as client:
            client.replicaof("127.0.0.1", str(other.port))
            early = [asyncio.create_task(scripts.report(a_failure("a", f"e{n}"))) for n in range(5)]
            await asyncio.sleep(0.1)
            late = [asyncio.create_task(scripts.report(a_failure("a", f"l{n}"))) for n in range(5)]
            await asyncio.sleep(0.1)
            client.replicaof("NO", "ONE")
        verdicts = await asyncio.gather(*early, *late)
        assert [verdict.failures for verdict in verdicts] == list(range(1, 11))
        await link.close()


async def test_a_caller_that_gives_up_does_not_disturb_the_others(scripts: Scripts) -> None:
    given_up = asyncio.create_task(scripts.report(a_failure("a", "given-up")))
    kept = asyncio.create_task(scripts.report(a_failure("b", "kept")))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await kept).counted
    assert (await scripts.report(a_failure("c", "after"))).counted


async def test_nobody_listening_is_said_in_a_sentence(keyspace: Keyspace) -> None:
    link = RedisLink(f"redis://127.0.0.1:{free_port()}", timeout_ms=500)
    with pytest.raises(StoreUnavailable, match="Redis cannot be reached"):
        await Scripts(link, keyspace).permit(PermitRequest(instance_id="a"))
    await link.close()


async def test_a_refusal_by_redis_itself_is_said(tmp_path: Path, keyspace: Keyspace) -> None:
    with RedisServer(tmp_path, "--maxmemory", "1") as server:
        link = RedisLink(server.url, timeout_ms=2_000)
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await Scripts(link, keyspace).report(a_failure("a", "r"))
        await link.close()


async def test_unix_sockets(tmp_path: Path, keyspace: Keyspace) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, "--unixsocket", str(path)):
        link = RedisLink(f"unix://{SERVICE_LOGIN}{path}", timeout_ms=2_000)
        assert (await Scripts(link, keyspace).permit(PermitRequest(instance_id="a"))).permitted
        await link.close()


async def test_passwords_and_database_numbers(tmp_path: Path, keyspace: Keyspace) -> None:
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            client.config_set("requirepass", "s3cret")
        right = RedisLink(f"redis://:s3cret@127.0.0.1:{server.port}/1", timeout_ms=2_000)
        assert (await Scripts(right, keyspace).permit(PermitRequest(instance_id="a"))).permitted
        await right.close()
        wrong = RedisLink(f"redis://:no@127.0.0.1:{server.port}", timeout_ms=2_000)
        with pytest.raises(StoreUnavailable, match=r"(?i)password"):
            await Scripts(wrong, keyspace).permit(PermitRequest(instance_id="a"))
        await wrong.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, its key beside it."""
    certificate = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate


async def test_tls(tmp_path: Path, keyspace: Keyspace, certificate: Path) -> None:
    """Debian's redis-server has TLS; the wheel's Valkey has not."""
    debian = shutil.which("redis-server")
    if debian is None:
        pytest.skip("redis-server is missing")
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate)]
    options += ["--tls-key-file", str(certificate.with_suffix(".key")), "--tls-auth-clients", "no"]
    with RedisServer(tmp_path / "data", *options, binary=debian):
        url = f"rediss://127.0.0.1:{port}"
        trusted = RedisLink(f"{url}?ssl_ca_certs={certificate}", timeout_ms=2_000)
        assert (await Scripts(trusted, keyspace).permit(PermitRequest(instance_id="a"))).permitted
        await trusted.close()
        distrusted = RedisLink(url, timeout_ms=2_000)
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await Scripts(distrusted, keyspace).permit(PermitRequest(instance_id="a"))
        await distrusted.close()
