"""Worker processes: what holds connections dies alone, and never outlives the lease."""

import asyncio
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sekring.errors import DriverError, SettingsError
from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.connection import Workers
from sekring.gateway.workers.messages import (
    Connected,
    Ended,
    Event,
    Failed,
    KeepAlive,
    Paired,
    QrShown,
)
from sekring.gateway.workers.pool import WorkerPool
from sekring.taxonomy import Kind
from tests.workers import Playing, collect, fake, is_dead, is_gone, playing, until


def rule(instances: str, *steps: str) -> str:
    tables = ", ".join(f"{{ {step} }}" for step in steps)
    return f'[[rule]]\ninstances = "{instances}"\n[[rule.connect]]\nsteps = [{tables}]\n'


CONNECT = 'do = "connect"'
HANG = 'do = "hang"'
STAY = 'do = "stay"'
QR = 'do = "qr", code = "2@SECRETSECRETSECRETSECRET,abc=,def=,ghi=,1"'


def kinds(events: Sequence[Event]) -> list[Kind | None]:
    return [event.kind for event in events if isinstance(event, Failed)]


def detail(events: Sequence[Event]) -> str:
    (failed,) = (event for event in events if isinstance(event, Failed))
    return failed.detail


# ---------------------------------------------------------------------------- taken and used up


async def test_a_worker_makes_one_connect_and_is_replaced(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        for number in range(2):
            connection = play.connect("a", number=number)
            await until(lambda: play.log("connected")[number:], "the connection")  # noqa: B023
            await connection.stop()
            events = await collect(connection)
            assert [type(event) for event in events] == [Connected, Ended]

        first, second = play.log("connect")
        assert first.pid != second.pid
        await until(lambda: is_gone(first.pid) and is_gone(second.pid), "the workers' ends")

    assert [line.event for line in play.log()] == ["connect", "connected", "disconnect"] * 2


async def test_a_worker_takes_as_many_connects_as_it_may(tmp_path: Path) -> None:
    async with playing(tmp_path, per_worker=3) as play:
        connections = [play.connect(f"s{n}") for n in range(4)]
        await until(lambda: len(play.log("connected")) == 4, "all connections")
        pids = [line.pid for line in sorted(play.log("connect"), key=lambda line: line.instance)]
        assert pids[0] == pids[1] == pids[2] != pids[3]

        # A place that becomes free is not taken again.
        await connections[0].stop()
        play.connect("late")
        await until(lambda: len(play.log("connected")) == 5, "the fifth connection")
        assert play.log("connect")[-1].pid == pids[3]

        assert not is_gone(pids[0])
        await asyncio.gather(connections[1].stop(), connections[2].stop())
        await until(lambda: is_gone(pids[0]), "the end of the used-up worker")
        assert not is_gone(pids[3])


async def test_a_worker_that_is_not_used_up_ends_with_its_last_connection(tmp_path: Path) -> None:
    async with playing(tmp_path, per_worker=5) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        await connection.stop()
        play.connect("b")
        await until(lambda: len(play.log("connected")) == 2, "the second connection")

        first, second = play.log("connect")
        assert first.pid != second.pid
        await until(lambda: is_gone(first.pid), "the end of the first worker")


async def test_a_session_may_come_back_to_its_worker(tmp_path: Path) -> None:
    async with playing(tmp_path, per_worker=9) as play:
        play.connect("other")
        for number in range(5):
            connection = play.connect("back", number=number)
            await until(lambda: len(play.log("connected")) == number + 2, "a connection")  # noqa: B023
            await connection.stop()
        assert len({line.pid for line in play.log("connect")}) == 1

        # Its lease counts as before.
        assert [type(event) for event in await collect(play.connect("back", lease_s=1))] == [
            Connected,
            Ended,
        ]


async def test_the_end_of_a_workers_last_connection_is_the_end_of_its_process(
    tmp_path: Path,
) -> None:
    command = fake(
        "started()\nsys.stdin.readline()\n"
        'say(b\'{"event":"ended","instance_id":"a"}\\n\')\n'
        "sys.stdin.read(); time.sleep(0.5)\n"
    )
    async with playing(tmp_path, command=command) as play:
        connection = play.connect("a")
        await until(lambda: play.pool.pids, "the worker")
        (pid,) = play.pool.pids
        assert not kinds(await collect(connection))
        assert is_gone(pid)
    assert not play.log("disconnect"), "it had ended by itself"


async def test_events_of_a_session_come_in_their_order(tmp_path: Path) -> None:
    scenario = rule(
        "a",
        QR,
        'do = "pair", device = "1:2@s.whatsapp.net"',
        CONNECT,
        'do = "keep_alive", healthy = false',
        'do = "keep_alive", healthy = true',
        'do = "fail", protocol = "whatsmeow", code = 402, ban_expire = 60, detail = "banned"',
    )
    async with playing(tmp_path, scenario) as play:
        events = await collect(play.connect("a"))

        assert [type(event) for event in events] == [
            QrShown,
            Paired,
            Connected,
            KeepAlive,
            KeepAlive,
            Failed,
            Ended,
        ]
        failed = events[-2]
        assert isinstance(failed, Failed)
        assert (failed.protocol, failed.code, failed.ban_expire, failed.detail) == (
            "whatsmeow",
            402,
            60,
            "banned",
        )


async def test_a_session_is_not_connected_twice(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        connection = play.connect("a")
        with pytest.raises(RuntimeError, match="a is still connected"):
            play.connect("a")
        await connection.stop()
        play.connect("a")


async def test_a_closed_pool_makes_no_connection(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        open_ones = [play.connect(f"s{n}") for n in range(6)]
        await until(lambda: play.log("connected"), "a connection, while others still wait")
        await play.pool.close()

        for connection in [*open_ones, play.connect("late")]:
            assert not kinds(await collect(connection))
    assert len(play.log("connect")) == len(play.log("disconnect"))


async def test_the_pool_knows_the_driver_before_and_after_its_first_worker(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        workers: Workers = play.pool
        before = workers.build
        play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        assert before == workers.build
        assert before.startswith("scripted/")


async def test_a_scenario_that_cannot_be_played_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text("sead = 1")
    with pytest.raises(SettingsError, match="`sead`"):
        WorkerPool(DriverChoice(name="scripted", scenario=str(file)))


# ---------------------------------------------------------------------------------------- asked


async def test_a_session_answers_what_it_is_asked(tmp_path: Path) -> None:
    async with playing(tmp_path, rule("new", QR, STAY)) as play:
        well, new = play.connect("well"), play.connect("new")
        await until(lambda: play.log("connected"), "the connection")

        assert await well.send("62811", "a secret text")
        with pytest.raises(DriverError, match="Already paired"):
            await well.pair("62811")
        await until(lambda: len(play.log("connect")) == 2, "the new session's start")
        assert len(await new.pair("62811")) == 9
        with pytest.raises(DriverError, match="Not connected"):
            await new.send("62811", "hello")

        await well.log_out()
        assert [type(event) for event in await collect(well)] == [Connected, Ended]
        with pytest.raises(DriverError, match="no connection"):
            await well.send("62811", "hello")
    (sent,) = play.log("sent")
    assert sent.length == len("a secret text")
    assert "secret" not in play.log_path.read_text()


async def test_a_question_that_a_worker_cannot_answer_is_given_up(tmp_path: Path) -> None:
    async with playing(tmp_path, rule("*", CONNECT, HANG), ask_ms=200, stop_ms=100) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        with pytest.raises(DriverError, match=r"No answer within 0\.2 s"):
            await connection.send("62811", "hello")
        await connection.stop()


async def test_a_question_ends_with_its_connection(tmp_path: Path) -> None:
    async with playing(tmp_path, rule("*", CONNECT, HANG)) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        asked = asyncio.create_task(connection.send("62811", "hello"))
        await asyncio.sleep(0)
        os.kill(play.log("connect")[0].pid, signal.SIGKILL)
        with pytest.raises(DriverError, match="ended before it answered"):
            await asked


# ------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize(("by", "name"), [("kill", "SIGKILL"), ("abort", "SIGABRT")])
async def test_a_crash_takes_the_sessions_of_its_worker_and_no_others(
    tmp_path: Path, by: str, name: str
) -> None:
    scenario = rule("bad", CONNECT, 'do = "wait", ms = 400', f'do = "crash", by = "{by}"')
    async with playing(tmp_path, scenario, per_worker=2) as play:
        bad, beside, elsewhere = (play.connect(each) for each in ("bad", "beside", "elsewhere"))

        for connection in (bad, beside):
            events = await collect(connection)
            assert kinds(events) == [Kind.WORKER_CRASH]
            assert f"ended by {name}" in detail(events)
            assert ("panic: as the scenario says" in detail(events)) == (by == "abort")
        await until(lambda: len(play.log("connected")) == 3, "all connections")
        assert await elsewhere.send("62811", "alive")

        lost = {line.instance for line in play.log("disconnect")}
        assert lost == {"bad", "beside"}


async def test_a_session_that_failed_does_not_fail_again_by_a_crash(tmp_path: Path) -> None:
    command = fake(
        "started()\nsys.stdin.readline()\n"
        'say(b\'{"event":"failed","instance_id":"a","kind":"dns","detail":"no host"}\\n\')\n'
        "time.sleep(0.1)\nos.abort()\n"
    )
    async with playing(tmp_path, command=command) as play:
        events = await collect(play.connect("a"))
        assert kinds(events) == [Kind.DNS]


async def test_what_a_worker_printed_last_is_told_without_secrets(tmp_path: Path) -> None:
    text = "QR 2@SECRETSECRETSECRETSECRET,abc=,def=,ghi=,1 shown"
    scenario = rule("*", f'do = "print", text = "{text}"', QR, 'do = "crash"')
    async with playing(tmp_path, scenario) as play:
        events = await collect(play.connect("a"))
        assert "QR *** shown" in detail(events)
        assert "SECRET" not in detail(events)


LISTENING = """
import sys
from sekring.gateway.workers import host, scripted

class Listening(scripted.ScriptedDriver):
    def heard(self, line):
        if line == "fault":
            raise ValueError("no such word")
        return None if line == "hush" else line.upper()

scripted.make_scripted = lambda scenario, log: Listening(
    scripted.load_scenario(scenario), scripted.ScriptLog(log)
)
host.main()
"""


async def test_a_driver_hears_what_its_library_prints(tmp_path: Path) -> None:
    lines = [f'do = "print", text = "{word}"' for word in ("hello", "hush", "fault", "world")]
    scenario = rule("*", *lines, 'do = "wait", ms = 500', 'do = "crash"')
    command = (sys.executable, "-c", LISTENING)
    async with playing(tmp_path, scenario, command=command) as play:
        words = detail(await collect(play.connect("a")))
        assert "HELLO" in words
        assert "hush" not in words.lower()
        # A fault in there does not stop the listening.
        assert "ValueError: no such word" in words
        assert "WORLD" in words


# ------------------------------------------------------------------------------- what is no worker


async def test_a_supervisor_without_descriptors_fails_its_sessions_and_goes_on(
    tmp_path: Path,
) -> None:
    async with playing(tmp_path) as play:
        before = _descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = [os.open(os.devnull, os.O_RDONLY)]
        os.close(free[0])
        try:
            # Room for none to several of the descriptors that a worker takes.
            for room in range(8):
                resource.setrlimit(resource.RLIMIT_NOFILE, (free[0] + room, hard))
                events = await collect(play.connect(f"s{room}"))
                assert kinds(events) == [Kind.WORKER_CRASH]
                assert "could not be started" in detail(events)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert _descriptors() == before

        play.connect("then")
        await until(lambda: play.log("connected"), "the connection")


async def test_a_worker_that_cannot_be_started_fails_its_sessions(tmp_path: Path) -> None:
    async with playing(tmp_path, command=("/nonexistent/python",), per_worker=2) as play:
        for connection in [play.connect("a"), play.connect("b")]:
            events = await collect(connection)
            assert kinds(events) == [Kind.WORKER_CRASH]
            assert "could not be started" in detail(events)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        pytest.param("import nosuchmodule", "ModuleNotFoundError", id="ends with a traceback"),
        pytest.param("sys.exit(3)", "exit status 3", id="exits"),
        pytest.param("say(b'?\\n'); time.sleep(60)", "no event", id="begins with garbage"),
        pytest.param(
            'say(b\'{"event":"ended","instance_id":"a"}\\n\'); time.sleep(60)',
            "did not say that it has started",
            id="begins too early",
        ),
        pytest.param("time.sleep(60)", "not ready within 1 s", id="is never ready"),
        pytest.param(
            "started(); say(b'\\xff\\x00SECRET\\n'); time.sleep(60)", "no event", id="garbage"
        ),
        pytest.param(
            'started(); say(b\'{"event":"qr","code":"SECRET"}\\n\'); time.sleep(60)',
            "no event",
            id="half an event",
        ),
        pytest.param(
            "started(); say(b'SECRET' * 60_000); time.sleep(60)", "262144 bytes", id="endless line"
        ),
        pytest.param("started(); started(); time.sleep(60)", "twice", id="starts twice"),
        pytest.param("started(); os.close(fd); time.sleep(60)", "SIGKILL", id="falls silent"),
        pytest.param(
            "started()\nfor n in range(9_999):"
            ' say(b\'{"event":"keep_alive","instance_id":"a","healthy":true}\\n\')\n'
            "time.sleep(60)",
            "1000 events untaken",
            id="never stops talking",
        ),
    ],
)
async def test_a_worker_that_makes_no_sense_is_ended(tmp_path: Path, code: str, says: str) -> None:
    async with playing(tmp_path, command=fake(code), start_ms=1_000) as play:
        connection = play.connect("a")
        await until(lambda: connection.has_ended, "the end")
        events = await collect(connection)
        assert kinds(events) == [Kind.WORKER_CRASH]
        assert says in detail(events)
        assert "SECRET" not in detail(events)


async def test_a_worker_does_not_see_our_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKRING_TOKEN", "skr_secret")
    async with playing(tmp_path, command=fake("sys.exit(os.environ.get('SEKRING_TOKEN'))")) as play:
        events = await collect(play.connect("a"))
        assert "exit status 0" in detail(events)


async def test_few_workers_start_at_the_same_time(tmp_path: Path) -> None:
    async with playing(tmp_path, command=fake("time.sleep(60)"), stop_ms=100) as play:
        bound = 2 * len(os.sched_getaffinity(0))
        connections = [play.connect(f"s{n}") for n in range(bound + 5)]
        await until(lambda: len(play.pool.pids) == bound, "the first workers")
        await asyncio.sleep(0.3)
        assert len(play.pool.pids) == bound
        await asyncio.gather(*(each.stop() for each in connections))


# ----------------------------------------------------------------------------------- deadlines


@pytest.mark.parametrize("blocking", ["true", "false"])
async def test_a_dial_that_hangs_ends_with_its_worker(tmp_path: Path, blocking: str) -> None:
    scenario = rule("bad", 'do = "wait", ms = 300', f'do = "hang", blocking = {blocking}')
    async with playing(tmp_path, scenario, per_worker=2, dial_ms=1_000) as play:
        bad, beside = play.connect("bad"), play.connect("beside")

        events = await collect(bad)
        assert kinds(events) == [Kind.TIMEOUT]
        assert "within 1 s" in detail(events)
        events = await collect(beside)
        assert kinds(events) == [Kind.WORKER_CRASH]
        assert "bad took longer than 1 s for dialling" in detail(events)
        assert {line.instance for line in play.log("disconnect")} == {"bad", "beside"}


async def test_a_pairing_that_nobody_finishes_ends_with_its_worker(tmp_path: Path) -> None:
    scenario = rule("*", *[QR, 'do = "wait", ms = 400'] * 20, STAY)
    async with playing(tmp_path, scenario, dial_ms=100, pairing_ms=1_000) as play:
        events = await collect(play.connect("a"))
        # Later codes do not give more time.
        assert 2 <= len([event for event in events if isinstance(event, QrShown)]) < 20
        assert kinds(events) == [Kind.PAIRING]


async def test_a_connection_is_past_all_deadlines(tmp_path: Path) -> None:
    scenario = rule("*", QR, CONNECT, STAY)
    async with playing(tmp_path, scenario, dial_ms=300, pairing_ms=300) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        await asyncio.sleep(0.6)
        assert await connection.send("62811", "alive")


async def test_a_supervisor_that_was_frozen_reads_before_it_judges(tmp_path: Path) -> None:
    scenario = rule("*", 'do = "wait", ms = 300', CONNECT, STAY)
    async with playing(tmp_path, scenario, dial_ms=1_000) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connect"), "the dial")
        time.sleep(1.5)  # noqa: ASYNC251 - so it is when a process is stopped and continued
        await asyncio.sleep(0.2)
        await connection.stop()
        assert [type(event) for event in await collect(connection)] == [Connected, Ended]


async def test_a_failure_that_leaves_something_behind_ends_with_its_worker(tmp_path: Path) -> None:
    command = fake(
        "started()\nsys.stdin.readline()\n"
        'say(b\'{"event":"failed","instance_id":"a","kind":"dns","detail":"no host"}\\n\')\n'
        "time.sleep(60)\n"
    )
    async with playing(tmp_path, command=command, ending_ms=100) as play:
        assert kinds(await collect(play.connect("a"))) == [Kind.DNS]


@pytest.mark.parametrize("blocking", ["true", "false"])
async def test_a_connection_that_does_not_stop_ends_with_its_worker(
    tmp_path: Path, blocking: str
) -> None:
    scenario = rule("*", CONNECT, f'do = "hang", blocking = {blocking}')
    async with playing(tmp_path, scenario, stop_ms=300) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        await connection.stop()
        assert is_gone(play.log("connect")[0].pid)
        assert not kinds(await collect(connection))
    assert len(play.log("disconnect")) == 1


async def test_a_stop_goes_on_without_its_caller(tmp_path: Path) -> None:
    async with playing(tmp_path, rule("*", CONNECT, HANG), stop_ms=300) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.stop(), 0.05)
        await collect(connection)


async def test_a_worker_that_does_not_exit_is_killed(tmp_path: Path) -> None:
    command = fake(
        "started()\nsys.stdin.readline()\n"
        'say(b\'{"event":"ended","instance_id":"a"}\\n\')\n'
        "time.sleep(60)\n"
    )
    async with playing(tmp_path, command=command, stop_ms=200) as play:
        connection = play.connect("a")
        await until(lambda: play.pool.pids, "the worker")
        (pid,) = play.pool.pids
        assert not kinds(await collect(connection))
        assert is_gone(pid)


# ---------------------------------------------------------------------------- dead man's switch


async def test_a_connection_ends_with_its_lease(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        lease_until_s = time.monotonic() + 1.5
        connection = play.connect("a", lease_s=1.5)
        events = await collect(connection)

        assert [type(event) for event in events] == [Connected, Ended]
        (gone,) = play.log("disconnect")
        assert lease_until_s <= gone.at_s < lease_until_s + 1


async def test_an_extended_lease_keeps_its_connection_and_no_other(tmp_path: Path) -> None:
    async with playing(tmp_path, per_worker=2) as play:
        kept, left = play.connect("kept", lease_s=1.5), play.connect("left", lease_s=1.5)
        kept.extend(time.monotonic() + 60)
        await collect(left)
        # The end of the other's lease is of no more concern.
        await asyncio.sleep(2)
        assert await kept.send("62811", "alive")


async def test_a_lease_that_has_ended_makes_no_connection(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        assert [type(event) for event in await collect(play.connect("a", lease_s=-1))] == [Ended]
    assert not play.log()


async def test_a_blocked_worker_is_ended_by_its_own_switch(tmp_path: Path) -> None:
    async with playing(tmp_path, rule("*", CONNECT, HANG)) as play:
        connection = play.connect("a", lease_s=1)
        events = await collect(connection)
        assert "SIGKILL" in detail(events)
        assert play.log("disconnect")


async def test_a_lease_is_extended_while_the_loop_is_blocked(tmp_path: Path) -> None:
    async with playing(tmp_path, rule("*", CONNECT, HANG), stop_ms=100) as play:
        connection = play.connect("a", lease_s=1)
        await until(lambda: play.log("connected"), "the connection")
        connection.extend(time.monotonic() + 60)
        await asyncio.sleep(3)
        assert not is_gone(play.log("connect")[0].pid)
        await connection.stop()


async def test_a_frozen_worker_does_not_come_back_to_life(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        connection = play.connect("a", lease_s=1)
        await until(lambda: play.log("connected"), "the connection")
        pid = play.log("connect")[0].pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(3)
        os.kill(pid, signal.SIGCONT)
        # By the kernel's timer: before any of its threads can run.
        assert "SIGALRM" in detail(await collect(connection))


async def test_a_signal_to_the_supervisors_group_does_not_reach_a_worker(tmp_path: Path) -> None:
    async with playing(tmp_path) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connected"), "the connection")
        pid = play.log("connect")[0].pid
        assert os.getpgid(pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert await connection.send("62811", "alive")


SUPERVISOR = """
import asyncio, sys, time
from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.messages import Connect
from sekring.gateway.workers.pool import WorkerPool

async def main():
    pool = WorkerPool(
        DriverChoice(name="scripted", scenario=sys.argv[1], log=sys.argv[2]), per_worker=2
    )
    for name in ("a", "b", "c"):
        pool.connect(Connect(instance_id=name, token=1, lease_until_s=time.monotonic() + 60))
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(STAY, id="well"),
        pytest.param(HANG, id="blocked"),
        pytest.param('do = "hang", blocking = false', id="deaf"),
    ],
)
async def test_workers_end_with_a_supervisor_that_is_killed(tmp_path: Path, then: str) -> None:
    # In a worker with two connections one must not block before the other is made.
    play = Playing(tmp_path, rule("*", CONNECT, 'do = "wait", ms = 1000', then))
    scenario, log = play.driver.scenario, play.driver.log
    assert scenario
    assert log
    supervisor = subprocess.Popen(  # noqa: ASYNC220 - it blocks for no longer than a fork
        [sys.executable, "-c", SUPERVISOR, scenario, log]
    )
    try:
        await until(lambda: len(play.log("connected")) == 3, "the connections")
        await asyncio.sleep(1.2)
    finally:
        supervisor.kill()
        supervisor.wait()
    pids = {line.pid for line in play.log("connect")}
    await until(lambda: all(is_dead(pid) for pid in pids), "the workers' ends", seconds=10)
    assert {line.instance for line in play.log("disconnect")} == {"a", "b", "c"}


async def test_an_output_that_nobody_reads_does_not_end_a_worker(tmp_path: Path) -> None:
    scenario = rule("*", 'do = "wait", ms = 500', 'do = "print", text = "hello"', CONNECT, STAY)
    async with playing(tmp_path, scenario) as play:
        connection = play.connect("a")
        await until(lambda: play.log("connect"), "the worker")
        (worker,) = play.pool._workers.values()
        assert worker._process
        worker._process._pipes[1].close()
        await until(lambda: play.log("connected"), "the connection")
        assert await connection.send("62811", "alive")


# ------------------------------------------------------------------------------------ no growth


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _zombies() -> int:
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        count += fields[0] == "Z" and int(fields[1]) == os.getpid()
    return count


async def test_the_supervisor_does_not_grow(tmp_path: Path, *, full: bool) -> None:
    async def cycle(play: Playing, name: str) -> None:
        connection = play.connect(name)
        async for event in connection.events():
            if isinstance(event, Connected):
                await connection.stop()

    async def settled() -> tuple[int, int, int, int]:
        await until(lambda: not play.pool.pids, "the workers' ends")
        # The threads that wait for children end a moment after them.
        await until(lambda: threading.active_count() <= threads, "the threads' ends")
        gc.collect()
        return _descriptors(), threading.active_count(), len(asyncio.all_tasks()), _zombies()

    async with playing(tmp_path, rule("*", CONNECT, STAY)) as play:
        threads = 10**6
        await asyncio.gather(*(cycle(play, f"s{n}") for n in range(4)))
        threads = (await settled())[1]
        before = await settled()
        for _ in range(50 if full else 10):
            await asyncio.gather(*(cycle(play, f"s{n}") for n in range(4)))
        after = await settled()

    assert after == before
    assert after[3] == 0
    assert not play.pool._connections
    assert not play.pool._owners
